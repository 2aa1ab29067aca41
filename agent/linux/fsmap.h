/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Behind fsmap_clear_free and swap_ranges: the parts without system calls, for tests. */
#ifndef BLKFERRY_AGENT_LINUX_FSMAP_H
#define BLKFERRY_AGENT_LINUX_FSMAP_H

#include <stdbool.h>
#include <linux/fsmap.h>

#include "agent/linux/dm_mapping.h"
#include "agent/platform.h"
#include "common/bitmap.h"

/* Collects free ranges of the disk, in any order, and clears the bits that lie wholly in them.
 * Neighbours are joined, so that a block may be free by two of them. */
struct free_clearer {
	const struct mapping *mapping;
	struct bitmap *blocks;
	uint32_t block_bytes;
	uint64_t start, end; /* the range at hand, on the disk; empty when equal */
	uint64_t free_bytes; /* so far */
};

/* Takes records of the file system on device (as FS_IOC_GETFSMAP gives them) into account; what is not
 * plainly free space of that device is passed over. */
void fsmap_take_records(struct free_clearer *clearer, uint64_t device, const struct fsmap *records,
			unsigned int count);
void fsmap_take_end(struct free_clearer *clearer);

/* Sorts ranges, joins neighbours and drops the shortest when there are more than most. Returns how
 * many are left. */
unsigned int swap_merge_ranges(struct swap_range *ranges, unsigned int count, unsigned int most);

#endif
