// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Making the targets what they were at a checkpoint: the blocks that have undo records from there on are put back,
 * by writes that are protected like any other. Done again after a crash it ends in the same bytes; what it
 * left behind is recorded as of "before-rollback", whatever the crash.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "receiver/replica_internal.h"
#include "receiver/write_group.h"

struct rollback {
	struct replica *replica;
	struct target_channel *channels[WIRE_DISKS_MAX];
	struct write_group *group;
	struct history_reader *reader;
	uint8_t *room; /* WRITE_GROUP_BYTES_MAX: of what is in the group */
	uint32_t used;
	uint64_t bytes;
};

static int protect(void *context, const struct history_extent *extents, unsigned int count,
		   struct fault *fault)
{
	/* No checkpoint is dropped for room here: it might be the one that is gone back to. */
	return history_protect(replica_history(context), extents, count, fault);
}

static int open_all(struct rollback *rollback, uint64_t number, struct fault *fault)
{
	struct replica *replica = rollback->replica;
	struct write_group_setup setup = {
		.disks = replica->disks,
		.disk_count = replica->disk_count,
		.channels = rollback->channels,
		.protect = protect,
		.context = replica,
	};
	char path[REPLICA_PATH_LENGTH];
	int error;

	machine_path(replica->machines, replica->machine, "rollback.map", path, sizeof(path));
	rollback->room = malloc(WRITE_GROUP_BYTES_MAX);
	if (!rollback->room)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	error = replica_channels_open(replica, rollback->channels, fault);
	if (!error)
		error = write_group_new(&setup, &rollback->group, fault);
	if (!error)
		error = history_reader_open(replica->history, number, path, &rollback->reader,
					    fault);
	return error;
}

static void close_all(struct rollback *rollback)
{
	struct replica *replica = rollback->replica;
	char path[REPLICA_PATH_LENGTH];

	if (rollback->reader)
		history_reader_close(rollback->reader);
	machine_path(replica->machines, replica->machine, "rollback.map", path, sizeof(path));
	(void)unlink(path);
	replica_channels_close(rollback->channels, TARGET_STALL_NS);
	write_group_free(rollback->group);
	free(rollback->room);
}

static int put_back(struct rollback *rollback, unsigned int slot, uint64_t offset, uint64_t length,
		    struct fault *fault)
{
	int error = 0;

	while (!error && length > 0) {
		uint32_t piece = length < WIRE_RECORD_DATA_MAX ? (uint32_t)length
							       : WIRE_RECORD_DATA_MAX;
		uint8_t *to;

		if (!write_group_has_room(rollback->group, piece)) {
			error = write_group_apply(rollback->group, fault);
			rollback->used = 0;
			if (error)
				break;
		}
		to = rollback->room + rollback->used;
		error = history_reader_read(rollback->reader, slot, to, offset, piece, fault);
		if (!error)
			write_group_add(rollback->group, slot, offset, piece, to);
		rollback->used += piece;
		rollback->bytes += piece;
		offset += piece;
		length -= piece;
	}
	return error;
}

static int put_back_disk(struct rollback *rollback, unsigned int slot, struct fault *fault)
{
	uint64_t size_bytes = rollback->replica->disks[slot].size_bytes;
	uint64_t offset = 0, length;
	int error = 0;

	while (!error && history_reader_next_changed(rollback->reader, slot, &offset, &length)) {
		/* The last block of a disk may be short. */
		if (length > size_bytes - offset)
			length = size_bytes - offset;
		error = put_back(rollback, slot, offset, length, fault);
		offset += length;
	}
	if (!error)
		error = write_group_apply(rollback->group, fault);
	rollback->used = 0;
	return error;
}

/* A disk that is not open cannot be put back; the others alone would be no state that the machine was ever in. */
static int check_unchanged(const struct rollback *rollback, unsigned int slot, struct fault *fault)
{
	uint64_t offset = 0, length;

	if (!history_reader_next_changed(rollback->reader, slot, &offset, &length))
		return 0;
	return fault_set(fault, FAULT_STOP, EBUSY,
			 "disk %u has changed since that checkpoint and is not open here: end the "
			 "machine's views, then try again",
			 slot);
}

int replica_restore(struct replica *replica, uint64_t number, struct fault *fault)
{
	struct rollback rollback = {.replica = replica};
	int error = replica_drain(replica, TARGET_STALL_NS, fault);

	if (!error)
		error = open_all(&rollback, number, fault);
	for (unsigned int i = 0; !error && i < replica->disk_count; i++)
		if (!rollback.channels[i])
			error = check_unchanged(&rollback, i, fault);
	for (unsigned int i = 0; !error && i < replica->disk_count; i++)
		if (rollback.channels[i])
			error = put_back_disk(&rollback, i, fault);
	if (!error)
		error = replica_channels_flush(replica, rollback.channels, fault);
	close_all(&rollback);
	if (!error)
		log_info("%s: the replica is as it was at checkpoint #%llu; %llu MiB were put back",
			 replica->machine->name, (unsigned long long)number,
			 (unsigned long long)(rollback.bytes >> 20));
	return error;
}

int replica_mark_undo(struct replica *replica, struct fault *fault)
{
	struct history_point last;
	struct journal_place end;
	uint64_t number;
	int error = replica_drain(replica, TARGET_STALL_NS, fault);

	if (error)
		return error;
	/* One of an earlier rollback goes; a checkpoint that got this name elsewhere only gives it up. */
	if (!history_find(replica->history, REPLICA_UNDO_LABEL, &last, NULL))
		error = last.flags & HISTORY_MIXED
				? history_drop_point(replica->history, last.number, fault)
				: history_label(replica->history, last.number, "", fault);
	if (error)
		return error;
	replica_stream_end(replica, &end, &number);
	number++;
	/* Between two marks, or while it is being built: to be undone to, and never to be started from (I8). */
	error = history_mark(replica->history, number, os_realtime_ns(), HISTORY_MIXED, fault);
	if (!error)
		error = history_confirm(replica->history, number, fault);
	if (!error)
		error = history_label(replica->history, number, REPLICA_UNDO_LABEL, fault);
	return error;
}
