// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Targets on NBD servers that are not ours: a durable mark, diskN.in-use beside the have bitmap, from before
 * the first write until all writes have ended. Found at the next open it means that the receiver was killed,
 * or a connection lost, with writes under way. The server may still execute them, and cannot be asked
 * (target_nbd.c): it is given time, and the replica another id, so that the agent compares all of it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "receiver/replica_internal.h"

#define LATE_WRITES_NS (10 * NS_PER_S)
#define LOOK_NS	       (50 * NS_PER_MS)

/* A storage that stands still answers no flush: so the time that late writes get begins when it moves. */
static int flush_once(struct replica_disk *disk, struct fault *fault)
{
	struct target_channel *channel;
	int error = target_channel_open(disk->target, &channel, fault);

	if (error)
		return error;
	error = target_channel_flush(channel, TARGET_STALL_NS);
	if (error)
		fault_set(fault, FAULT_RETRY, -error, "flushing the target failed: %s",
			  target_channel_error(channel));
	target_channel_close(channel);
	return error;
}

static int await_late_writes(struct replica *replica, struct replica_disk *disk,
			     struct fault *fault)
{
	uint64_t deadline_ns;
	int error;

	log_warning("%s: %s was left with writes under way: waits %d s for their end, then the "
		    "whole disk %u is compared",
		    replica->machine->name, target_info(disk->target)->text,
		    (int)(LATE_WRITES_NS / NS_PER_S), disk->slot);
	error = flush_once(disk, fault);
	deadline_ns = os_monotonic_ns() + LATE_WRITES_NS;
	while (!error && os_monotonic_ns() < deadline_ns) {
		os_sleep_ns(LOOK_NS);
		if (replica_is_given_up(replica))
			error = fault_set(fault, FAULT_RETRY, ECONNRESET,
					  "whoever opened the replica has left");
	}
	return error;
}

int replica_begin_use(struct replica *replica, struct replica_disk *disk, struct fault *fault)
{
	const struct target_info *info = target_info(disk->target);
	char path[REPLICA_PATH_LENGTH];
	int error;

	if (!info->is_foreign)
		return 0;
	replica_disk_path(replica, disk, "in-use", path);
	if (!os_file_exists(path)) {
		error = os_file_write_atomic(path, info->text, strlen(info->text), 0600);
		if (error)
			return fault_set(fault, FAULT_STOP, -error, "cannot write %s: %s", path,
					 strerror(-error));
	} else {
		error = await_late_writes(replica, disk, fault);
		if (error)
			return error;
		replica->is_stream_broken = true;
		error = have_renew(disk->have);
		if (error)
			return fault_set(fault, FAULT_STOP, -error,
					 "cannot store what the replica has: %s", strerror(-error));
	}
	disk->is_marked_in_use = true;
	return 0;
}

void replica_end_use(struct replica *replica, const struct replica_disk *disk)
{
	char path[REPLICA_PATH_LENGTH], folder[REPLICA_PATH_LENGTH];

	if (!disk->is_marked_in_use)
		return;
	if (!target_is_clean(disk->target)) {
		log_warning("%s: writes to the target of disk %u were cut off",
			    replica->machine->name, disk->slot);
		return;
	}
	replica_disk_path(replica, disk, "in-use", path);
	machine_path(replica->machines, replica->machine, "", folder, sizeof(folder));
	/* A mark that stays, or comes back after a power cut, costs a comparison and nothing else. */
	if (unlink(path) == 0)
		(void)os_folder_sync(folder);
}
