// SPDX-License-Identifier: GPL-2.0-or-later
/* Groups of writes; see write_group.h. */
#include "receiver/write_group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ZERO_PIECE_BYTES (64ull * 1024 * 1024)

struct write {
	unsigned int slot;
	unsigned int number; /* in the stream's order */
	uint64_t offset;
	uint32_t length;
	const uint8_t *data; /* NULL: zeroes */
};

/* A request's context: whose it is. */
struct lane {
	struct write_group *group;
	unsigned int slot;
	bool is_touched; /* something may be under way */
};

struct write_group {
	struct write_group_setup setup;
	struct lane lanes[WIRE_DISKS_MAX];
	struct write writes[WRITE_GROUP_MAX];
	struct history_extent runs[WRITE_GROUP_MAX];
	unsigned int run_ends[WRITE_GROUP_MAX]; /* index behind a run's last write */
	unsigned int count, run_count;
	uint32_t bytes;
	uint8_t *staging; /* WRITE_GROUP_BYTES_MAX: runs of several writes are painted here */
	int error;	  /* positive: the first that a request ended with */
	unsigned int error_slot;
};

int write_group_new(const struct write_group_setup *setup, struct write_group **ret_group,
		    struct fault *fault)
{
	struct write_group *group = calloc(1, sizeof(*group));

	if (group)
		group->staging = malloc(WRITE_GROUP_BYTES_MAX);
	if (!group || !group->staging) {
		free(group);
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	}
	group->setup = *setup;
	for (unsigned int i = 0; i < WIRE_DISKS_MAX; i++)
		group->lanes[i] = (struct lane){.group = group, .slot = i};
	*ret_group = group;
	return 0;
}

void write_group_free(struct write_group *group)
{
	if (!group)
		return;
	free(group->staging);
	free(group);
}

bool write_group_is_empty(const struct write_group *group)
{
	return group->count == 0;
}

bool write_group_has_room(const struct write_group *group, uint32_t length)
{
	return group->count < WRITE_GROUP_MAX && length <= WRITE_GROUP_BYTES_MAX - group->bytes;
}

void write_group_add(struct write_group *group, unsigned int slot, uint64_t offset, uint32_t length,
		     const void *data)
{
	group->writes[group->count] = (struct write){
		.slot = slot,
		.number = group->count,
		.offset = offset,
		.length = length,
		.data = data,
	};
	group->count++;
	group->bytes += length;
}

static int by_place(const void *a, const void *b)
{
	const struct write *left = a, *right = b;

	if (left->slot != right->slot)
		return left->slot < right->slot ? -1 : 1;
	if (left->offset != right->offset)
		return left->offset < right->offset ? -1 : 1;
	return left->number < right->number ? -1 : 1;
}

static int by_number(const void *a, const void *b)
{
	const struct write *left = a, *right = b;

	return left->number < right->number ? -1 : 1;
}

/* A run: writes that overlap or adjoin. */
static void find_runs(struct write_group *group)
{
	struct history_extent *run = NULL;

	qsort(group->writes, group->count, sizeof(group->writes[0]), by_place);
	group->run_count = 0;
	for (unsigned int i = 0; i < group->count; i++) {
		const struct write *write = &group->writes[i];
		uint64_t end = write->offset + write->length;

		if (!run || run->disk != write->slot || write->offset > run->offset + run->length) {
			run = &group->runs[group->run_count++];
			*run = (struct history_extent){
				.disk = write->slot,
				.offset = write->offset,
				.length = write->length,
			};
		} else if (end > run->offset + run->length) {
			run->length = end - run->offset;
		}
		group->run_ends[group->run_count - 1] = i + 1;
	}
}

static void note_error(struct write_group *group, unsigned int slot, int error)
{
	if (group->error)
		return;
	group->error = error;
	group->error_slot = slot;
}

static void on_written(void *context, int error)
{
	const struct lane *lane = context;

	if (error)
		note_error(lane->group, lane->slot, error);
}

static int group_fault(const struct write_group *group, struct fault *fault)
{
	const char *text = target_channel_error(group->setup.channels[group->error_slot]);

	return fault_set(fault, FAULT_RETRY, group->error, "target of disk %u: %s",
			 group->error_slot, text && text[0] ? text : strerror(group->error));
}

static void write_range(struct write_group *group, unsigned int slot, uint64_t offset,
			uint64_t length, const void *data)
{
	struct target_channel *channel = group->setup.channels[slot];
	struct lane *lane = &group->lanes[slot];
	int error;

	lane->is_touched = true;
	have_mark(group->setup.disks[slot].have, offset, length);
	if (data)
		error = target_channel_write(channel, data, offset, (uint32_t)length, on_written,
					     lane);
	else
		error = target_channel_zero(channel, offset, length, on_written, lane);
	if (error)
		note_error(group, slot, -error);
}

static int await_all(struct write_group *group, struct fault *fault)
{
	for (unsigned int i = 0; i < group->setup.disk_count; i++) {
		int error;

		if (!group->lanes[i].is_touched)
			continue;
		error = target_channel_drain(group->setup.channels[i], TARGET_STALL_NS);
		if (error)
			note_error(group, i, -error);
		group->lanes[i].is_touched = false;
	}
	return group->error ? group_fault(group, fault) : 0;
}

/* The run's bytes as the last writers left them, at `to`. */
static void paint(struct write *writes, unsigned int count, const struct history_extent *run,
		  uint8_t *to)
{
	bool overlaps = false;

	for (unsigned int i = 1; i < count && !overlaps; i++)
		overlaps = writes[i].offset < writes[i - 1].offset + writes[i - 1].length;
	if (overlaps)
		qsort(writes, count, sizeof(*writes), by_number);
	for (unsigned int i = 0; i < count; i++) {
		uint8_t *at = to + (writes[i].offset - run->offset);

		if (writes[i].data)
			memcpy(at, writes[i].data, writes[i].length);
		else
			memset(at, 0, writes[i].length);
	}
}

static bool is_all_zero(const struct write *writes, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (writes[i].data)
			return false;
	return true;
}

static void write_runs(struct write_group *group)
{
	uint8_t *staging = group->staging;
	unsigned int first = 0;

	for (unsigned int i = 0; i < group->run_count && !group->error; i++) {
		const struct history_extent *run = &group->runs[i];
		struct write *writes = &group->writes[first];
		unsigned int count = group->run_ends[i] - first;
		const uint8_t *data = writes[0].data;

		if (is_all_zero(writes, count)) {
			data = NULL;
		} else if (count > 1) {
			/* Runs are no longer than the sum of their writes: there is room. */
			data = staging;
			paint(writes, count, run, staging);
			staging += run->length;
		}
		write_range(group, run->disk, run->offset, run->length, data);
		first = group->run_ends[i];
	}
}

static int protect(struct write_group *group, const struct history_extent *extents,
		   unsigned int count, struct fault *fault)
{
	return group->setup.protect(group->setup.context, extents, count, fault);
}

int write_group_apply(struct write_group *group, struct fault *fault)
{
	int error;

	if (group->count == 0)
		return 0;
	find_runs(group);
	error = protect(group, group->runs, group->run_count, fault);
	if (error)
		return error;
	write_runs(group);
	error = await_all(group, fault);
	group->count = 0;
	group->bytes = 0;
	return error;
}

int write_group_zero(struct write_group *group, unsigned int slot, uint64_t offset, uint64_t length,
		     struct fault *fault)
{
	int error = 0;

	while (!error && length > 0) {
		struct history_extent piece = {
			.disk = slot,
			.offset = offset,
			.length = length < ZERO_PIECE_BYTES ? length : ZERO_PIECE_BYTES,
		};

		error = protect(group, &piece, 1, fault);
		if (!error) {
			write_range(group, slot, piece.offset, piece.length, NULL);
			error = await_all(group, fault);
		}
		offset += piece.length;
		length -= piece.length;
	}
	return error;
}
