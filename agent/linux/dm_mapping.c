/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Follows a device down to one disk, range by range. */
#include "agent/linux/dm_mapping.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DM_NAME_PREFIX "dm-"

/* What the recursion carries: a range of the device at hand, and where it is on the one asked about. */
struct descent {
	const struct block_tree *tree;
	unsigned int disk;
	dm_read_fn *read_dm;
	struct mapping *mapping;
};

static int add_segment(struct mapping *mapping, uint64_t start, uint64_t length, uint64_t disk)
{
	if (length == 0)
		return 0;
	if (mapping->count == DM_SEGMENTS_MAX)
		return -E2BIG;
	if (mapping->count == mapping->room) {
		unsigned int room = mapping->room ? 2 * mapping->room : 16;
		struct mapping_segment *more =
			realloc(mapping->segments, room * sizeof(*mapping->segments));

		if (!more)
			return -ENOMEM;
		mapping->segments = more;
		mapping->room = room;
	}
	mapping->segments[mapping->count++] = (struct mapping_segment){start, length, disk};
	return 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int descend(const struct descent *descent, unsigned int device, uint64_t at, uint64_t length,
		   uint64_t origin, unsigned int depth);

/* [at, at + length) of a dm device, segment by segment. */
static int descend_dm(const struct descent *descent, const struct block_device *node, uint64_t at,
		      uint64_t length, uint64_t origin, unsigned int depth)
{
	struct dm_segment *segments;
	unsigned int count;
	int result = descent->read_dm(node->major, node->minor, &segments, &count);

	if (result < 0)
		return 0; /* not told: not mapped */
	for (unsigned int i = 0; result == 0 && i < count; i++) {
		const struct dm_segment *segment = &segments[i];
		uint64_t from = segment->start_bytes > at ? segment->start_bytes : at;
		uint64_t to = least(segment->start_bytes + segment->length_bytes, at + length);
		int below = tree_find_number(descent->tree, segment->major, segment->minor);

		if (from < to && below >= 0)
			result = descend(descent, (unsigned int)below,
					 segment->offset_bytes + (from - segment->start_bytes),
					 to - from, origin + (from - at), depth + 1);
	}
	free(segments);
	return result;
}

static int descend(const struct descent *descent, unsigned int device, uint64_t at, uint64_t length,
		   uint64_t origin, unsigned int depth)
{
	const struct block_device *node = &descent->tree->devices[device];

	if (depth == TREE_DEPTH_MAX || at >= node->size_bytes)
		return 0;
	length = least(length, node->size_bytes - at);
	if (device == descent->disk)
		return add_segment(descent->mapping, origin, length, at);
	if (node->parent >= 0)
		return descend(descent, (unsigned int)node->parent, node->start_bytes + at, length,
			       origin, depth + 1);
	if (strncmp(node->name, DM_NAME_PREFIX, strlen(DM_NAME_PREFIX)) == 0)
		return descend_dm(descent, node, at, length, origin, depth);
	return 0;
}

int mapping_load(const struct block_tree *tree, unsigned int device, unsigned int disk,
		 dm_read_fn *read_dm, struct mapping *ret_mapping)
{
	struct mapping mapping = {.segments = NULL};
	struct descent descent = {tree, disk, read_dm, &mapping};
	int result = descend(&descent, device, 0, tree->devices[device].size_bytes, 0, 0);

	if (result < 0)
		mapping_fini(&mapping);
	else
		*ret_mapping = mapping;
	return result;
}

void mapping_fini(struct mapping *mapping)
{
	free(mapping->segments);
	*mapping = (struct mapping){.segments = NULL};
}

void mapping_each(const struct mapping *mapping, uint64_t start_bytes, uint64_t length_bytes,
		  mapping_piece_fn *piece, void *context)
{
	uint64_t end;

	if (length_bytes > UINT64_MAX - start_bytes)
		length_bytes = UINT64_MAX - start_bytes;
	end = start_bytes + length_bytes;
	for (unsigned int i = 0; i < mapping->count; i++) {
		const struct mapping_segment *segment = &mapping->segments[i];
		uint64_t from = segment->start_bytes > start_bytes ? segment->start_bytes
								   : start_bytes;
		uint64_t to = least(segment->start_bytes + segment->length_bytes, end);

		if (from < to)
			piece(context, from, segment->disk_bytes + (from - segment->start_bytes),
			      to - from);
	}
}
