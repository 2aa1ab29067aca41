/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the bytes of a device lie on one disk: through partitions and dm-linear. Ranges that lie on another
 * disk, or that something else than a plain shift maps (crypt, thin, mirror, md), are not in it.
 */
#ifndef BLKFERRY_AGENT_LINUX_DM_MAPPING_H
#define BLKFERRY_AGENT_LINUX_DM_MAPPING_H

#include "agent/linux/disks_tree.h"
#include "agent/linux/dm.h"

struct mapping_segment {
	uint64_t start_bytes, length_bytes; /* on the device */
	uint64_t disk_bytes;		    /* where on the disk */
};

struct mapping {
	struct mapping_segment *segments;
	unsigned int count, room;
};

/* As dm_read_segments; tests have their own. */
typedef int dm_read_fn(uint32_t major, uint32_t minor, struct dm_segment **ret_segments,
		       unsigned int *ret_count);
/* Called for a piece of a range: at_bytes on the device, disk_bytes on the disk. */
typedef void mapping_piece_fn(void *context, uint64_t at_bytes, uint64_t disk_bytes,
			      uint64_t length_bytes);

/* 0, also when nothing is mapped; -ENOMEM, -E2BIG. A dm table that cannot be read maps nothing. */
int mapping_load(const struct block_tree *tree, unsigned int device, unsigned int disk,
		 dm_read_fn *read_dm, struct mapping *ret_mapping);
void mapping_fini(struct mapping *mapping);
void mapping_each(const struct mapping *mapping, uint64_t start_bytes, uint64_t length_bytes,
		  mapping_piece_fn *piece, void *context);

#endif
