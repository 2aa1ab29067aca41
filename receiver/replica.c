// SPDX-License-Identifier: GPL-2.0-or-later
/* Who holds a machine's replica; its disks opened by the first and closed by the last. See replica.h. */
#include "receiver/replica.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "receiver/replica_internal.h"

bool replica_is_given_up(const struct replica *replica)
{
	const struct replica_user *opener = replica->opener;

	return opener && opener->has_left && opener->has_left(opener->context);
}

unsigned int replica_disk_count(const struct replica *replica)
{
	return replica->disk_count;
}

struct replica_disk *replica_disk(struct replica *replica, unsigned int slot)
{
	return &replica->disks[slot];
}

static void replica_close(struct replica *replica)
{
	if (!replica)
		return;
	for (unsigned int i = 0; i < replica->disk_count; i++)
		replica_close_disk(replica, &replica->disks[i]);
	free(replica);
}

static int replica_open(struct machines *machines, struct machine *machine,
			const struct replica_user *user, struct replica **ret_replica,
			struct fault *fault)
{
	struct replica *replica = calloc(1, sizeof(*replica));
	int error;

	if (!replica)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	replica->machines = machines;
	replica->machine = machine;
	replica->opener = user;
	error = replica_open_disks(replica, fault);
	replica->opener = NULL;
	if (error) {
		replica_close(replica);
		return error;
	}
	*ret_replica = replica;
	return 0;
}

/* Is what somebody else opened what the machine's slots say now? The lock is held. */
static int check_open(const struct machine *machine, struct fault *fault)
{
	const struct replica *replica = machine->replica;

	for (unsigned int i = 0; i < machine->slot_count; i++) {
		const struct machine_slot *slot = &machine->slots[i];
		const struct replica_disk *disk = &replica->disks[i];

		if (slot->is_present &&
		    (i >= replica->disk_count || !disk->target ||
		     disk->size_bytes != slot->size_bytes || strcmp(disk->uri, slot->target) != 0))
			return fault_set(fault, FAULT_RETRY, EBUSY,
					 "the disks of %s have changed, and its replica is open as "
					 "they were: end its views first",
					 machine->name);
	}
	return 0;
}

int replica_hold_as(struct machines *machines, struct machine *machine,
		    const struct replica_user *user, struct replica **ret_replica,
		    struct fault *fault)
{
	struct replica *replica = NULL;
	int error = 0;

	os_mutex_lock(&machine->lock);
	while (machine->is_replica_changing)
		os_cond_wait(&machine->changed, &machine->lock);
	if (machine->replica) {
		error = check_open(machine, fault);
		if (!error) {
			*ret_replica = machine->replica;
			machine->replica->holds++;
		}
		os_mutex_unlock(&machine->lock);
		return error;
	}
	machine->is_replica_changing = true;
	os_mutex_unlock(&machine->lock);
	error = replica_open(machines, machine, user, &replica, fault);
	os_mutex_lock(&machine->lock);
	machine->is_replica_changing = false;
	machine->replica = replica;
	if (replica)
		replica->holds = 1;
	os_cond_broadcast(&machine->changed);
	os_mutex_unlock(&machine->lock);
	if (!error)
		*ret_replica = replica;
	return error;
}

int replica_hold(struct machines *machines, struct machine *machine, struct replica **ret_replica,
		 struct fault *fault)
{
	return replica_hold_as(machines, machine, NULL, ret_replica, fault);
}

void replica_release(struct replica *replica)
{
	struct machine *machine;

	if (!replica)
		return;
	machine = replica->machine;
	os_mutex_lock(&machine->lock);
	if (--replica->holds > 0) {
		os_mutex_unlock(&machine->lock);
		return;
	}
	machine->replica = NULL;
	machine->is_replica_changing = true;
	os_mutex_unlock(&machine->lock);
	replica_close(replica);
	os_mutex_lock(&machine->lock);
	machine->is_replica_changing = false;
	os_cond_broadcast(&machine->changed);
	os_mutex_unlock(&machine->lock);
}
