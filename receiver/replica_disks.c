// SPDX-License-Identifier: GPL-2.0-or-later
/* The disks of a replica: the target and the have bitmap of each slot. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "receiver/replica_internal.h"

static void say_of_target(const struct replica *replica, const struct replica_disk *disk)
{
	const struct target_info *info = target_info(disk->target);

	if (info->size_bytes > disk->size_bytes)
		log_info("%s: the target of disk %u is larger (%" PRIu64
			 " bytes) than the disk (%" PRIu64 "); the rest stays as it is",
			 replica->machine->name, disk->slot, info->size_bytes, disk->size_bytes);
	if (!info->can_flush)
		log_warning(
			"%s: the target of disk %u cannot flush: what it acknowledges is only as "
			"durable as it makes it",
			replica->machine->name, disk->slot);
}

static int open_disk(struct replica *replica, struct replica_disk *disk, struct fault *fault)
{
	const struct receiver_options *options = machines_options(replica->machines);
	struct machine *machine = replica->machine;
	struct machine_slot *slot = &machine->slots[disk->slot];
	char name[PKI_NAME_MAX + 16];
	const struct target_info *info;
	int error;

	snprintf(name, sizeof(name), "%s-disk%u", machine->name, disk->slot);
	error = target_open(disk->uri, options->storage_folder, name, disk->size_bytes,
			    &disk->target, fault);
	if (error)
		return fault_prefix(fault, "target of disk %u (%s)", disk->slot, slot->path);
	say_of_target(replica, disk);
	error = replica_trust(replica, disk, fault);
	if (!error)
		error = replica_begin_use(replica, disk, fault);
	if (error)
		return error;
	info = target_info(disk->target);
	os_mutex_lock(&machine->lock);
	snprintf(slot->target_text, sizeof(slot->target_text), "%s", info->text);
	snprintf(slot->target_path, sizeof(slot->target_path), "%s", info->path);
	slot->can_flush = info->can_flush;
	os_mutex_unlock(&machine->lock);
	return 0;
}

/* Those of the session that is beginning, or was last. Since the receiver started there may have been none:
 * all, then. */
static void choose_disks(struct replica *replica, bool *ret_is_wanted)
{
	struct machine *machine = replica->machine;
	bool has_present = false;

	os_mutex_lock(&machine->lock);
	replica->disk_count = machine->slot_count;
	for (unsigned int i = 0; i < machine->slot_count; i++)
		has_present |= machine->slots[i].is_present;
	for (unsigned int i = 0; i < machine->slot_count; i++) {
		struct replica_disk *disk = &replica->disks[i];

		disk->slot = i;
		disk->size_bytes = machine->slots[i].size_bytes;
		snprintf(disk->uri, sizeof(disk->uri), "%s", machine->slots[i].target);
		ret_is_wanted[i] = machine->slots[i].is_present || !has_present;
	}
	os_mutex_unlock(&machine->lock);
}

int replica_open_disks(struct replica *replica, struct fault *fault)
{
	bool is_wanted[WIRE_DISKS_MAX] = {false};
	int error = 0;

	choose_disks(replica, is_wanted);
	for (unsigned int i = 0; !error && i < replica->disk_count; i++)
		if (is_wanted[i])
			error = open_disk(replica, &replica->disks[i], fault);
	return error;
}

void replica_close_disk(struct replica *replica, struct replica_disk *disk)
{
	if (disk->target)
		replica_end_use(replica, disk);
	target_close(disk->target);
	have_close(disk->have);
	disk->target = NULL;
	disk->have = NULL;
}

bool replica_disk_is_new(const struct replica_disk *disk)
{
	return have_count_bytes(disk->have) == 0;
}
