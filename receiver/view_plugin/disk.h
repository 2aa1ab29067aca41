/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk as it was at a checkpoint: the target where it was not overwritten since, the receiver for the
 * rest. Thread-safe.
 */
#ifndef BLKFERRY_RECEIVER_VIEW_PLUGIN_DISK_H
#define BLKFERRY_RECEIVER_VIEW_PLUGIN_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"

struct view_disk;

struct view_disk_setup {
	const char *socket_path; /* of the receiver, for this view */
	const char
		*target; /* as source_open takes it; NULL: the receiver is asked for everything */
	const char *map_path; /* history_reader_open's; may be NULL without target */
	uint64_t map_offset;  /* where this disk's bits begin in it: a multiple of 4096 */
	unsigned int number;  /* of the disk, in requests to the receiver */
	uint64_t size_bytes;
};

int view_disk_open(const struct view_disk_setup *setup, struct view_disk **ret_disk,
		   struct fault *fault);
void view_disk_close(struct view_disk *disk);
/* The range lies in the disk. 0, or -errno. */
int view_disk_read(struct view_disk *disk, void *data, uint64_t offset, uint32_t length,
		   struct fault *fault);
bool view_disk_knows_holes(const struct view_disk *disk);
/* Is it certain that there are zeroes at offset? *ret_length: as far as this is so, or is not, at most limit
 * (not 0). */
bool view_disk_is_zero(const struct view_disk *disk, uint64_t offset, uint64_t limit,
		       uint64_t *ret_length);
/* link_lifeline */
int view_disk_lifeline(const struct view_disk *disk);

#endif
