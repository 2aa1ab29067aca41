/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The scan tracker: no help from the kernel. It knows nothing, so every block may have been written at
 * any time: each take lists all of them, and each pass compares digests with the receiver.
 */
#include "agent/tracker.h"

#include <errno.h>
#include <stdlib.h>

struct scan_disk {
	uint32_t block_bytes;
	struct bitmap todo;
	struct tracker_disk_memory memory;
};

struct tracker_scan {
	struct tracker tracker;
	unsigned int count;
	struct scan_disk disks[TRACKER_DISKS_MAX];
};

static struct scan_disk *disk_of(struct tracker *tracker, unsigned int disk)
{
	return &((struct tracker_scan *)tracker)->disks[disk];
}

static uint32_t scan_block_bytes(struct tracker *tracker, unsigned int disk)
{
	return disk_of(tracker, disk)->block_bytes;
}

static void scan_bitmaps(struct tracker *tracker, unsigned int disk, struct bitmap *ret_dirty,
			 struct bitmap *ret_todo)
{
	*ret_todo = disk_of(tracker, disk)->todo;
	*ret_dirty = (struct bitmap){.words = NULL, .bits = ret_todo->bits};
}

static struct tracker_disk_memory *scan_memory(struct tracker *tracker, unsigned int disk)
{
	return &disk_of(tracker, disk)->memory;
}

static int scan_take(struct tracker *tracker, unsigned int disk, struct fault *fault)
{
	struct bitmap *todo = &disk_of(tracker, disk)->todo;

	(void)fault;
	bitmap_set(todo, 0, todo->bits);
	return 0;
}

static int scan_poll(struct tracker *tracker, unsigned int disk,
		     struct tracker_disk_state *ret_state, struct fault *fault)
{
	(void)fault;
	*ret_state = (struct tracker_disk_state){
		.is_continuous = false,
		.why = "writes are not tracked here (scan): every block has to be compared",
		.dirty_blocks = disk_of(tracker, disk)->todo.bits,
	};
	return 0;
}

static void scan_clear_suspect(struct tracker *tracker, unsigned int disk)
{
	(void)tracker;
	(void)disk;
}

static uint64_t scan_memory_bytes(struct tracker *tracker)
{
	(void)tracker;
	return 0; /* none of the kernel's */
}

static uint64_t scan_missed_runs(struct tracker *tracker)
{
	(void)tracker;
	return 0;
}

static void scan_close(struct tracker *tracker)
{
	struct tracker_scan *scan = (struct tracker_scan *)tracker;

	if (!scan)
		return;
	for (unsigned int i = 0; i < scan->count; i++)
		free(scan->disks[i].todo.words);
	free(scan);
}

static const struct tracker_ops scan_ops = {
	.kind = TRACKER_SCAN,
	.name = "scan",
	.block_bytes = scan_block_bytes,
	.bitmaps = scan_bitmaps,
	.memory = scan_memory,
	.take = scan_take,
	.poll = scan_poll,
	.clear_suspect = scan_clear_suspect,
	.memory_bytes = scan_memory_bytes,
	.missed_runs = scan_missed_runs,
	.close = scan_close,
	.remove = scan_close,
};

static int open_disk(struct scan_disk *disk, uint64_t size_bytes, uint32_t block_bytes)
{
	uint64_t bits = bitmap_blocks(size_bytes, block_bytes);

	if (bits == 0)
		return -EINVAL;
	disk->block_bytes = block_bytes;
	disk->todo.bits = bits;
	disk->todo.words = calloc(bitmap_words(bits), sizeof(uint64_t));
	return disk->todo.words ? 0 : -ENOMEM;
}

int tracker_scan_open(const struct tracker_options *options, const struct tracked_disk *disks,
		      unsigned int count, struct tracker **ret_tracker, struct fault *fault)
{
	uint32_t block_bytes[TRACKER_DISKS_MAX];
	struct tracker_scan *scan;
	int r;

	if (count == 0 || count > TRACKER_DISKS_MAX)
		return fault_set(fault, FAULT_STOP, EINVAL, "%u disks to track: it must be 1 to %u",
				 count, TRACKER_DISKS_MAX);
	r = tracker_choose_blocks(disks, count, options->bitmap_bytes, block_bytes, fault);
	if (r < 0)
		return r;
	scan = calloc(1, sizeof(*scan));
	if (!scan)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	scan->tracker.ops = &scan_ops;
	scan->count = count;
	for (unsigned int i = 0; i < count; i++) {
		r = open_disk(&scan->disks[i], disks[i].size_bytes, block_bytes[i]);
		if (r < 0) {
			scan_close(&scan->tracker);
			return fault_set(fault, FAULT_STOP, -r, "no bitmap for %s of %llu bytes",
					 disks[i].path, (unsigned long long)disks[i].size_bytes);
		}
	}
	*ret_tracker = &scan->tracker;
	return 0;
}
