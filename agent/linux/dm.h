/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device-mapper tables: which part of a dm device is a plain part of which other device. */
#ifndef BLKFERRY_AGENT_LINUX_DM_H
#define BLKFERRY_AGENT_LINUX_DM_H

#include <stddef.h>
#include <stdint.h>

#define DM_SEGMENTS_MAX 65536
#define DM_TABLE_MAX	(16u << 20) /* bytes of a table as the kernel prints it */

/* A linear target. Ranges of any other target are in no segment. */
struct dm_segment {
	uint64_t start_bytes, length_bytes; /* on the dm device */
	uint32_t major, minor;		    /* what it lies on */
	uint64_t offset_bytes;		    /* where there */
};

/* -errno when there is no device-mapper, or no such device. The caller frees. */
int dm_read_segments(uint32_t major, uint32_t minor, struct dm_segment **ret_segments,
		     unsigned int *ret_count);
/* Parses what DM_TABLE_STATUS returns behind its head: target_count times a struct dm_target_spec and a
 * string. -EINVAL when it is not that. Copies: text need not be aligned. */
int dm_parse_table(const void *table, size_t size, uint32_t target_count,
		   struct dm_segment **ret_segments, unsigned int *ret_count);

#endif
