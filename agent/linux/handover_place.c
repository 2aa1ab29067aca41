/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes the handover's file and finds its blocks on the disk; see handover_place.h. */
#include "agent/linux/handover_place.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>

#include "agent/platform.h"
#include "common/os_file.h"

#define XFS_MAGIC  0x58465342
#define FILE_BYTES ((uint64_t)HANDOVER_BLOCKS * HANDOVER_BLOCK_BYTES)

/* Not at an address of its own that stays. */
#define EXTENT_UNFIT                                                                               \
	(FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |                  \
	 FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE |    \
	 FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_SHARED)

static int fault_path(struct fault *fault, int error, const char *what, const char *path)
{
	return fault_set(fault, FAULT_STOP, error, "cannot %s %s: %s", what, path, strerror(error));
}

static int check_file_system(int fd, const char *path, struct fault *fault)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return fault_path(fault, errno, "look at", path);
	if (fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != XFS_MAGIC)
		return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
				 "%s lies on a file system that may move a file's blocks (not ext4 "
				 "and not XFS): a restart is followed by a comparison",
				 path);
	return 0;
}

/* The id of the file that is there, if all its blocks are. */
static bool read_file(int fd, uint8_t ret_file_id[16])
{
	struct handover_block block;
	struct stat info;

	if (fstat(fd, &info) < 0 || (uint64_t)info.st_size != FILE_BYTES)
		return false;
	for (uint32_t i = 0; i < HANDOVER_BLOCKS; i++) {
		if (pread(fd, &block, sizeof(block), (off_t)i * HANDOVER_BLOCK_BYTES) !=
		    sizeof(block))
			return false;
		if (i == 0)
			memcpy(ret_file_id, block.file_id, sizeof(block.file_id));
		if (!handover_block_is_ours(&block, ret_file_id, i))
			return false;
	}
	return true;
}

static int write_file(int fd, uint8_t ret_file_id[16])
{
	struct handover_block block;

	os_random(ret_file_id, 16);
	for (uint32_t i = 0; i < HANDOVER_BLOCKS; i++) {
		ssize_t done;

		handover_block_fill(&block, ret_file_id, 0, i, HANDOVER_EMPTY, NULL, 0);
		done = pwrite(fd, &block, sizeof(block), (off_t)i * HANDOVER_BLOCK_BYTES);
		if (done != sizeof(block))
			return done < 0 ? -errno : -EIO;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* A new file under another name first: one that is there is whole, or is none. */
static int make_file(const char *path, uint8_t ret_file_id[16], struct fault *fault)
{
	char next[512], folder[512];
	int fd, error;

	if (snprintf(next, sizeof(next), "%s.new", path) >= (int)sizeof(next))
		return fault_path(fault, ENAMETOOLONG, "make", path);
	if (unlink(next) < 0 && errno != ENOENT)
		return fault_path(fault, errno, "remove", next);
	fd = open(next, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fault_path(fault, errno, "make", next);
	error = check_file_system(fd, path, fault);
	if (!error) {
		/* In one piece, where there is room for it. */
		(void)posix_fallocate(fd, 0, (off_t)FILE_BYTES);
		error = write_file(fd, ret_file_id);
		if (!error && rename(next, path) < 0)
			error = -errno;
		strcpy(folder, next);
		if (!error)
			error = os_folder_sync(dirname(folder));
		if (error)
			fault_path(fault, -error, "make", path);
	}
	close(fd);
	if (error)
		unlink(next);
	return error;
}

int handover_make_file(const char *path, uint8_t ret_file_id[16], struct fault *fault)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool is_there = false;
	int error = 0;

	if (fd >= 0) {
		error = check_file_system(fd, path, fault);
		is_there = !error && read_file(fd, ret_file_id);
		close(fd);
	}
	return error || is_there ? error : make_file(path, ret_file_id, fault);
}

/* --- where it is --------------------------------------------------------------------------------------- */

struct locating {
	struct handover_plan *plan;
	uint64_t mapped;   /* bytes of the file that lie on the disk at hand, from its start on */
	uint64_t expected; /* of the file system's device: where the next piece has to begin */
	bool is_unfit;
};

static void add_piece(void *context, uint64_t at_bytes, uint64_t disk_bytes, uint64_t length_bytes)
{
	struct locating *locating = context;
	struct handover_plan *plan = locating->plan;
	struct handover_extent *last = plan->extents ? &plan->extent[plan->extents - 1] : NULL;

	if (at_bytes != locating->expected) {
		locating->is_unfit = true;
		return;
	}
	locating->expected += length_bytes;
	locating->mapped += length_bytes;
	if (last && last->offset + last->length == disk_bytes) {
		last->length += length_bytes;
		return;
	}
	if (plan->extents == HANDOVER_EXTENTS_MAX) {
		locating->is_unfit = true;
		return;
	}
	plan->extent[plan->extents++] =
		(struct handover_extent){.offset = disk_bytes, .length = length_bytes};
}

static struct fiemap *ask_extents(int fd)
{
	struct fiemap *map =
		calloc(1, sizeof(*map) + HANDOVER_EXTENTS_MAX * sizeof(struct fiemap_extent));

	if (!map)
		return NULL;
	map->fm_length = FILE_BYTES;
	map->fm_flags = FIEMAP_FLAG_SYNC;
	map->fm_extent_count = HANDOVER_EXTENTS_MAX;
	if (ioctl(fd, FS_IOC_FIEMAP, map) < 0) {
		free(map);
		return NULL;
	}
	return map;
}

/* Is all of the file on that disk? Fills the extents then. */
static bool lies_on(const struct block_tree *tree, unsigned int device, unsigned int disk,
		    const struct fiemap *map, struct handover_plan *plan)
{
	struct locating locating = {.plan = plan};
	struct mapping mapping;
	uint64_t logical = 0;

	plan->extents = 0;
	if (mapping_load(tree, device, disk, dm_read_segments, &mapping) < 0)
		return false;
	for (uint32_t i = 0; i < map->fm_mapped_extents && !locating.is_unfit; i++) {
		const struct fiemap_extent *extent = &map->fm_extents[i];

		locating.is_unfit = (extent->fe_flags & EXTENT_UNFIT) ||
				    extent->fe_logical != logical;
		logical += extent->fe_length;
		locating.expected = extent->fe_physical;
		if (!locating.is_unfit)
			mapping_each(&mapping, extent->fe_physical, extent->fe_length, add_piece,
				     &locating);
		locating.is_unfit |= locating.mapped != logical;
	}
	mapping_fini(&mapping);
	return !locating.is_unfit && locating.mapped == FILE_BYTES;
}

static int locate_on(const struct block_tree *tree, int device, const struct fiemap *map,
		     const struct found_disk *disks, unsigned int count, struct handover_plan *plan)
{
	for (unsigned int i = 0; device >= 0 && i < count; i++) {
		const struct tracked_disk *disk = &disks[i].disk;
		int leaf = tree_find_number(tree, disk->major, disk->minor);

		if (leaf < 0 || !lies_on(tree, (unsigned int)device, (unsigned int)leaf, map, plan))
			continue;
		memcpy(plan->disk_identity, disk->identity, sizeof(plan->disk_identity));
		memcpy(plan->disk_path, disk->path, sizeof(plan->disk_path));
		plan->disk_bytes = disk->size_bytes;
		return 0;
	}
	return -EOPNOTSUPP;
}

int handover_locate(const char *path, struct handover_plan *plan, struct fault *fault)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct found_disk *disks = NULL;
	struct block_tree tree = {.devices = NULL};
	struct fiemap *map = NULL;
	unsigned int count = 0;
	struct stat info;
	int error = 0;

	if (fd < 0 || fstat(fd, &info) < 0) {
		error = fault_path(fault, errno, "open", path);
		goto out;
	}
	error = disks_find(NULL, &disks, &count, fault);
	if (error)
		goto out;
	error = tree_load(&system_roots_default, &tree);
	if (error) {
		fault_path(fault, -error, "find the disk of", path);
		goto out;
	}
	map = ask_extents(fd);
	if (map)
		error = locate_on(&tree,
				  tree_find_number(&tree, major(info.st_dev), minor(info.st_dev)),
				  map, disks, count, plan);
	if (error || !map)
		error = fault_set(
			fault, FAULT_STOP, EOPNOTSUPP,
			"where %s lies on a disk cannot be told (it must be in few pieces "
			"on one disk, through partitions and LVM's linear volumes only, not "
			"encrypted): a restart is followed by a comparison",
			path);
out:
	if (tree.devices)
		tree_fini(&tree);
	free(map);
	free(disks);
	if (fd >= 0)
		close(fd);
	return error;
}

bool handover_is_same_place(const struct handover_plan *a, const struct handover_plan *b)
{
	return a->disk_bytes == b->disk_bytes && a->extents == b->extents &&
	       memcmp(a->extent, b->extent, a->extents * sizeof(a->extent[0])) == 0;
}

int handover_read_plan(const char *path, struct handover_plan *ret_plan, struct fault *fault)
{
	char *bytes;
	size_t size;
	int error = os_file_read(path, sizeof(*ret_plan), &bytes, &size);

	if (error)
		return fault_set(fault, FAULT_RESYNC, -error,
				 "tracking does not begin with the system: run 'blkferry-agent "
				 "initramfs'");
	error = handover_plan_check(bytes, size, ret_plan, fault);
	free(bytes);
	return error;
}

static bool has_file(const struct handover_plan *plan, const char *path)
{
	struct handover_block *blocks = handover_new_blocks();
	struct fault ignored;
	bool has = false;
	int fd;

	if (blocks && handover_open_disk(path, &fd, &ignored) == 0) {
		has = handover_read(fd, plan, 0, 1, blocks, &ignored) == 0 &&
		      handover_block_is_ours(blocks, plan->file_id, 0);
		close(fd);
	}
	free(blocks);
	return has;
}

int handover_find_disk(const struct handover_plan *plan, char ret_path[128], struct fault *fault)
{
	struct found_disk *disks;
	unsigned int count;
	int result = disks_find(NULL, &disks, &count, fault);

	if (result)
		return result;
	result = fault_set(fault, FAULT_RESYNC, ENODEV,
			   "the disk %s with the record of the last stop is not there, or not what "
			   "it was",
			   plan->disk_path);
	/* By its name first, then any of that size: names change, and many disks have no other. */
	for (int by_name = 1; by_name >= 0 && result; by_name--) {
		for (unsigned int i = 0; i < count && result; i++) {
			const struct tracked_disk *disk = &disks[i].disk;

			if (disk->size_bytes != plan->disk_bytes ||
			    (strcmp(disk->identity, plan->disk_identity) == 0) != by_name ||
			    !has_file(plan, disk->path))
				continue;
			memcpy(ret_path, disk->path, sizeof(disk->path));
			result = 0;
		}
	}
	free(disks);
	return result;
}
