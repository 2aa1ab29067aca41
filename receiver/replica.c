// SPDX-License-Identifier: GPL-2.0-or-later
/* Who holds a machine's replica; its disks opened by the first and closed by the last. See replica.h. */
#include "receiver/replica.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "receiver/replica_internal.h"

#define RECOVER_LOOK_NS (200 * NS_PER_MS)
#define MAP_NS		(60 * NS_PER_S)

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

struct history *replica_history(struct replica *replica)
{
	return replica->history;
}

void replica_set_failed(struct replica *replica, const struct fault *fault)
{
	os_mutex_lock(&replica->lock);
	replica->failure = *fault;
	replica->has_failed = true;
	os_cond_broadcast(&replica->changed);
	os_mutex_unlock(&replica->lock);
}

static struct replica *replica_new(struct machines *machines, struct machine *machine)
{
	struct replica *replica = calloc(1, sizeof(*replica));

	if (!replica)
		return NULL;
	replica->machines = machines;
	replica->machine = machine;
	replica->queue_last = &replica->queue_first;
	replica->is_building = true; /* until a confirmed mark says otherwise */
	for (unsigned int i = 0; i < WIRE_DISKS_MAX; i++)
		replica->read_fds[i] = -1;
	os_mutex_init(&replica->read_lock);
	os_mutex_init(&replica->lock);
	os_cond_init(&replica->changed);
	os_mutex_init(&replica->listener_lock);
	return replica;
}

static void replica_close(struct replica *replica)
{
	if (!replica)
		return;
	replica_close_storage(replica);
	for (unsigned int i = 0; i < replica->disk_count; i++)
		replica_close_disk(replica, &replica->disks[i]);
	replica_free_batches(replica);
	os_mutex_fini(&replica->listener_lock);
	os_cond_fini(&replica->changed);
	os_mutex_fini(&replica->lock);
	os_mutex_fini(&replica->read_lock);
	free(replica);
}

/* The applier brings what the journal holds to the targets: waits for it. */
static int recover(struct replica *replica, struct fault *fault)
{
	int error;

	if (replica->is_recovering)
		log_info("%s: applies what its journal holds", replica->machine->name);
	do {
		error = replica_drain(replica, RECOVER_LOOK_NS, fault);
		if (error == -ETIMEDOUT && replica_is_given_up(replica))
			return fault_set(fault, FAULT_RETRY, ECONNRESET,
					 "whoever opened the replica has left");
	} while (error == -ETIMEDOUT);
	return error;
}

/* Damage that only the applier found: once more, without what it could not read. */
static int recover_or_repair(struct replica *replica, struct fault *fault)
{
	char why[FAULT_TEXT_MAX];
	int error = recover(replica, fault);

	if (error != -EPROTO && error != -EBADMSG)
		return error;
	snprintf(why, sizeof(why), "%s", fault->text);
	replica_close_storage(replica);
	error = replica_repair(replica, why, fault);
	replica->is_stopping = replica->has_failed = false;
	if (!error)
		error = replica_open_journal(replica, fault);
	if (!error)
		error = replica_open_storage(replica, fault);
	return error ? error : recover(replica, fault);
}

static int replica_open(struct machines *machines, struct machine *machine,
			const struct replica_user *user, struct replica **ret_replica,
			struct fault *fault)
{
	struct replica *replica = replica_new(machines, machine);
	int error;

	if (!replica)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	replica->opener = user;
	replica_choose_disks(replica);
	error = replica_open_journal(replica, fault);
	if (!error)
		error = replica_open_disks(replica, fault);
	if (!error)
		error = replica_open_storage(replica, fault);
	if (!error)
		error = recover_or_repair(replica, fault);
	if (!error)
		error = replica_load_points(replica, fault);
	if (!error && replica->is_stream_broken)
		error = replica_empty_journal(replica, fault);
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

	if (replica->has_failed)
		return fault_set(fault, FAULT_RETRY, EBUSY,
				 "the replica of %s has failed, and is still in use: end its views",
				 machine->name);
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

/* Views have kept it open while its journal broke: they stay, and the journal is opened anew. Nobody else has a use
 * for it. */
static int mend(struct replica *replica, const struct replica_user *user, struct fault *fault)
{
	struct fault why = {0};
	int error;

	replica->opener = user;
	error = replica_reopen_journal(replica, &why);
	if (!error)
		error = recover(replica, &why);
	if (!error && replica->is_stream_broken)
		error = replica_empty_journal(replica, &why);
	replica->opener = NULL;
	if (!error)
		return 0;
	replica_set_failed(replica, &why);
	if (fault)
		*fault = why;
	return error;
}

/* A hold on what is open already. The lock is held, and given up. */
static int share(struct machine *machine, const struct replica_user *user,
		 struct replica **ret_replica, struct fault *fault)
{
	struct replica *replica = machine->replica;
	int error = check_open(machine, fault);
	/* None: it was to begin anew, and could not. */
	bool has_to_mend = !error && user && user->is_session &&
			   (!replica->journal || journal_is_broken(replica->journal));

	replica->holds += error ? 0 : 1;
	machine->is_replica_changing = has_to_mend;
	os_mutex_unlock(&machine->lock);
	if (has_to_mend) {
		error = mend(replica, user, fault);
		os_mutex_lock(&machine->lock);
		machine->is_replica_changing = false;
		os_cond_broadcast(&machine->changed);
		os_mutex_unlock(&machine->lock);
		if (error)
			replica_release(replica);
	}
	if (!error)
		*ret_replica = replica;
	return error;
}

int replica_hold_as(struct machines *machines, struct machine *machine,
		    const struct replica_user *user, struct replica **ret_replica,
		    struct fault *fault)
{
	struct replica *replica = NULL;
	int error;

	os_mutex_lock(&machine->lock);
	while (machine->is_replica_changing)
		os_cond_wait(&machine->changed, &machine->lock);
	if (machine->state == MACHINE_COMPLETED && !(user && user->is_before_start)) {
		/* Its disks are a running machine's, or of one that is being started. */
		os_mutex_unlock(&machine->lock);
		return fault_set(fault, FAULT_STOP, EALREADY,
				 "%s was cut over: its replica is the machine now", machine->name);
	}
	if (machine->replica)
		return share(machine, user, ret_replica, fault);
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

void replica_listen(struct replica *replica, const struct replica_listener *listener)
{
	bool has_failed;

	os_mutex_lock(&replica->listener_lock);
	replica->listener = listener ? *listener : (struct replica_listener){0};
	os_mutex_lock(&replica->lock);
	has_failed = replica->has_failed;
	os_mutex_unlock(&replica->lock);
	/* A failure of before would be told to nobody. */
	if (has_failed && replica->listener.failed)
		replica->listener.failed(replica->listener.context, &replica->failure);
	os_mutex_unlock(&replica->listener_lock);
}

void replica_tell_failure(struct replica *replica, const struct fault *fault)
{
	os_mutex_lock(&replica->listener_lock);
	if (replica->listener.failed)
		replica->listener.failed(replica->listener.context, fault);
	os_mutex_unlock(&replica->listener_lock);
}

static bool is_mapped(const struct replica *replica, const unsigned int *slots, unsigned int count)
{
	return replica->stream_disks == count &&
	       memcmp(replica->stream_slots, slots, count * sizeof(*slots)) == 0;
}

int replica_stream_map(struct replica *replica, const unsigned int *slots, unsigned int count,
		       struct fault *fault)
{
	struct machine *machine = replica->machine;
	int error;

	if (is_mapped(replica, slots, count))
		return 0;
	/* Batches name disks by their place in the list: those of the old list must not be read again. */
	error = replica_drain(replica, MAP_NS, fault);
	if (error)
		return error;
	if (replica->stream_disks > 0)
		error = replica_empty_journal(replica, fault);
	if (error)
		return error;
	os_mutex_lock(&replica->lock);
	replica->stream_disks = count;
	for (unsigned int i = 0; i < count; i++) {
		replica->stream_slots[i] = slots[i];
		replica->stream_bytes[i] = replica->disks[slots[i]].size_bytes;
	}
	os_mutex_unlock(&replica->lock);
	os_mutex_lock(&machine->lock);
	for (unsigned int i = 0; i < machine->slot_count; i++)
		machine->slots[i].stream_disk = -1;
	for (unsigned int i = 0; i < count; i++)
		machine->slots[slots[i]].stream_disk = (int)i;
	os_mutex_unlock(&machine->lock);
	return 0;
}
