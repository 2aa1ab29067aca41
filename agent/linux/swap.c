/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ranges of a disk that are swap: partitions and volumes, and files by FIEMAP. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>

#include "agent/linux/fsmap.h"
#include "agent/linux/mounts.h"

#define EXTENTS	      256u
#define COLLECTED_MAX 8192u

struct collector {
	struct swap_range *ranges;
	unsigned int count;
};

static void collect_piece(void *context, uint64_t at_bytes, uint64_t disk_bytes,
			  uint64_t length_bytes)
{
	struct collector *collector = context;

	if (collector->count < COLLECTED_MAX) /* what is too much is copied, no more */
		collector->ranges[collector->count++] =
			(struct swap_range){disk_bytes, length_bytes};
}

static int compare_offsets(const void *a, const void *b)
{
	const struct swap_range *left = a, *right = b;

	return left->offset < right->offset ? -1 : left->offset > right->offset;
}

static int compare_lengths_downwards(const void *a, const void *b)
{
	const struct swap_range *left = a, *right = b;

	return left->length > right->length ? -1 : left->length < right->length;
}

unsigned int swap_merge_ranges(struct swap_range *ranges, unsigned int count, unsigned int most)
{
	unsigned int merged = 0;

	if (count == 0)
		return 0;
	qsort(ranges, count, sizeof(*ranges), compare_offsets);
	for (unsigned int i = 1; i < count; i++) {
		struct swap_range *last = &ranges[merged];
		uint64_t last_end = last->offset + last->length;
		uint64_t end = ranges[i].offset + ranges[i].length;

		if (ranges[i].offset > last_end)
			ranges[++merged] = ranges[i];
		else if (end > last_end)
			last->length = end - last->offset;
	}
	merged++;
	if (merged > most) {
		qsort(ranges, merged, sizeof(*ranges), compare_lengths_downwards);
		merged = most;
		qsort(ranges, merged, sizeof(*ranges), compare_offsets);
	}
	return merged;
}

/* btrfs, for one, gives addresses of its own in FIEMAP, and a file of XFS may lie on its realtime
 * device. */
static bool has_plain_extents(int fd)
{
	struct statfs info;
	struct fsxattr attributes;

	if (fstatfs(fd, &info) < 0)
		return false;
	if (info.f_type == EXT4_SUPER_MAGIC)
		return true;
	return info.f_type == XFS_SUPER_MAGIC && ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0 &&
	       !(attributes.fsx_xflags & FS_XFLAG_REALTIME);
}

/*
 * The path in /proc/swaps may by now, or in this mount namespace, name another file, whose writes are not to be
 * dropped. A file that is swapped on cannot be mapped for writing: ETXTBSY. Open for writing only, no other
 * file can either, so this has no effect on any, frozen or not. A kernel that does not look (before 5.3) tells
 * EACCES for both: the swap file is copied there.
 */
static bool is_swapped_on(int fd)
{
	char path[64];
	void *mapped;
	bool is_swap;
	int write_fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	write_fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	if (write_fd < 0)
		return false;
	mapped = mmap(NULL, 1, PROT_WRITE, MAP_SHARED, write_fd, 0);
	is_swap = mapped == MAP_FAILED && errno == ETXTBSY;
	if (mapped != MAP_FAILED)
		munmap(mapped, 1);
	close(write_fd);
	return is_swap;
}

/* Adds the extents of a file behind its first page. */
static void collect_extents(int fd, const struct mapping *mapping, uint64_t page_bytes,
			    struct collector *collector)
{
	const uint32_t not_plain = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC |
				   FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_DATA_ENCRYPTED |
				   FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE |
				   FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_SHARED;
	struct fiemap *map = calloc(1, sizeof(*map) + EXTENTS * sizeof(map->fm_extents[0]));
	bool is_last = !map;
	uint64_t from = page_bytes;

	while (!is_last) {
		map->fm_start = from;
		map->fm_length = FIEMAP_MAX_OFFSET - from;
		map->fm_extent_count = EXTENTS;
		if (ioctl(fd, FS_IOC_FIEMAP, map) < 0 || map->fm_mapped_extents == 0 ||
		    map->fm_mapped_extents > EXTENTS)
			break;
		for (unsigned int i = 0; i < map->fm_mapped_extents; i++) {
			const struct fiemap_extent *extent = &map->fm_extents[i];
			uint64_t end = extent->fe_logical + extent->fe_length;
			uint64_t skip = extent->fe_logical < page_bytes
						? page_bytes - extent->fe_logical
						: 0;

			is_last |= !!(extent->fe_flags & FIEMAP_EXTENT_LAST);
			if (end <= from) { /* no progress: not a map to be trusted */
				is_last = true;
				break;
			}
			from = end;
			if (!(extent->fe_flags & not_plain) && skip < extent->fe_length)
				mapping_each(mapping, extent->fe_physical + skip,
					     extent->fe_length - skip, collect_piece, collector);
		}
	}
	free(map);
}

static void collect_file(const struct block_tree *tree, unsigned int disk, const char *path,
			 uint64_t page_bytes, struct collector *collector)
{
	struct mapping mapping = {.segments = NULL};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat info;
	int device = -ENODEV;

	if (fd < 0)
		return;
	if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && has_plain_extents(fd) &&
	    is_swapped_on(fd))
		device = tree_find_number(tree, major(info.st_dev), minor(info.st_dev));
	if (device >= 0 &&
	    mapping_load(tree, (unsigned int)device, disk, dm_read_segments, &mapping) == 0)
		collect_extents(fd, &mapping, page_bytes, collector);
	mapping_fini(&mapping);
	close(fd);
}

static void collect_device(const struct block_tree *tree, unsigned int disk, unsigned int device,
			   uint64_t page_bytes, struct collector *collector)
{
	struct mapping mapping;

	if (mapping_load(tree, device, disk, dm_read_segments, &mapping) < 0)
		return;
	mapping_each(&mapping, page_bytes, UINT64_MAX, collect_piece, collector);
	mapping_fini(&mapping);
}

static void collect_all(const struct block_tree *tree, unsigned int disk,
			const struct swap_table *table, struct collector *collector)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);

	for (unsigned int i = 0; i < table->count; i++) {
		const struct swap *swap = &table->swaps[i];
		int device = swap->is_file ? -ENODEV : tree_find_path(tree, swap->path);

		if (swap->is_file)
			collect_file(tree, disk, swap->path, page_bytes, collector);
		else if (device >= 0)
			collect_device(tree, disk, (unsigned int)device, page_bytes, collector);
	}
}

int swap_ranges(const struct tracked_disk *disk, struct swap_range *ret_ranges,
		unsigned int *ret_count, struct fault *fault)
{
	struct collector collector = {.ranges = NULL};
	struct block_tree tree = {.devices = NULL};
	struct swap_table table = {.text = NULL};
	int device, result = swaps_load(&system_roots_default, &table);

	/* Asked for with every pass, also while all is frozen: most machines have little swap. */
	if (result == 0 && table.count > 0) {
		collector.ranges = calloc(COLLECTED_MAX, sizeof(*collector.ranges));
		result = collector.ranges ? tree_load(&system_roots_default, &tree) : -ENOMEM;
	}
	if (result == 0 && table.count > 0) {
		device = tree_find_number(&tree, disk->major, disk->minor);
		if (device < 0)
			result = device;
		else
			collect_all(&tree, (unsigned int)device, &table, &collector);
	}
	if (result < 0) {
		fault_set(fault, FAULT_RETRY, -result, "cannot tell what is swap on %s: %s",
			  disk->path, strerror(-result));
	} else {
		*ret_count = swap_merge_ranges(collector.ranges, collector.count, SWAP_RANGES_MAX);
		if (*ret_count)
			memcpy(ret_ranges, collector.ranges, *ret_count * sizeof(*ret_ranges));
	}
	swaps_fini(&table);
	tree_fini(&tree);
	free(collector.ranges);
	return result;
}
