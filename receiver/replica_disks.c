// SPDX-License-Identifier: GPL-2.0-or-later
/* The disks of a replica: the target and the have bitmap of each slot. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/os_file.h"
#include "receiver/replica_internal.h"

void replica_disk_path(const struct replica *replica, const struct replica_disk *disk,
		       const char *suffix, char ret_path[REPLICA_PATH_LENGTH])
{
	char file[32];

	snprintf(file, sizeof(file), "disk%u.%s", disk->slot, suffix);
	machine_path(replica->machines, replica->machine, file, ret_path, REPLICA_PATH_LENGTH);
}

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

static void map_disk(struct replica *replica, const struct replica_disk *disk,
		     unsigned int stream_disk)
{
	replica->stream_slots[stream_disk] = disk->slot;
	replica->stream_bytes[stream_disk] = disk->size_bytes;
	if (replica->stream_disks <= stream_disk)
		replica->stream_disks = stream_disk + 1;
}

/* Those of the session that is beginning, or was last. Since the receiver started there may have been none:
 * all, then. */
void replica_choose_disks(struct replica *replica)
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
		disk->is_wanted = machine->slots[i].is_present || !has_present;
		if (machine->slots[i].stream_disk >= 0)
			map_disk(replica, disk, (unsigned int)machine->slots[i].stream_disk);
	}
	os_mutex_unlock(&machine->lock);
}

/* A disk that had a stream and has no have bitmap any more begins anew (session_open.c, or a person). */
static int check_begun(struct replica *replica, const struct replica_disk *disk,
		       struct fault *fault)
{
	char path[REPLICA_PATH_LENGTH];

	replica_disk_path(replica, disk, "have", path);
	return os_file_exists(path)
		       ? 0
		       : replica_begin_anew(replica, "one of its disks begins anew", fault);
}

int replica_open_disks(struct replica *replica, struct fault *fault)
{
	int error = 0;

	/* The journal may hold records of disks that are not there any more. */
	for (unsigned int i = 0; !error && i < replica->stream_disks; i++) {
		struct replica_disk *disk = &replica->disks[replica->stream_slots[i]];

		disk->is_wanted |= replica->is_recovering;
		error = check_begun(replica, disk, fault);
	}
	for (unsigned int i = 0; !error && i < replica->disk_count; i++)
		if (replica->disks[i].is_wanted)
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
