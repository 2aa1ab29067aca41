/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Free space of mounted ext4 and XFS by FS_IOC_GETFSMAP, as blocks of the disk that need no copy. */
#include "agent/linux/fsmap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/linux/mounts.h"
#include "common/units.h"

#define RECORDS 1024u /* at a time: 64 KiB */

static void clear_range(struct free_clearer *clearer)
{
	uint64_t size = clearer->block_bytes;
	uint64_t first = clearer->start / size + (clearer->start % size != 0);
	uint64_t end = clearer->end / size;

	if (end > clearer->blocks->bits)
		end = clearer->blocks->bits;
	if (first < end)
		bitmap_clear(clearer->blocks, first, end - first);
}

static void take_piece(void *context, uint64_t at_bytes, uint64_t disk_bytes, uint64_t length_bytes)
{
	struct free_clearer *clearer = context;

	clearer->free_bytes += length_bytes;
	if (disk_bytes != clearer->end || clearer->start == clearer->end) {
		clear_range(clearer);
		clearer->start = disk_bytes;
	}
	clearer->end = disk_bytes + length_bytes;
}

void fsmap_take_records(struct free_clearer *clearer, uint64_t device, const struct fsmap *records,
			unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		const struct fsmap *record = &records[i];

		/* XFS lists its log and realtime devices as well. */
		if (!(record->fmr_flags & FMR_OF_SPECIAL_OWNER) ||
		    record->fmr_owner != FMR_OWN_FREE || record->fmr_device != device)
			continue;
		mapping_each(clearer->mapping, record->fmr_physical, record->fmr_length, take_piece,
			     clearer);
	}
}

void fsmap_take_end(struct free_clearer *clearer)
{
	clear_range(clearer);
	clearer->start = clearer->end = 0;
}

/* Reads all records of a file system. On failure what was cleared so far stays cleared: each record is
 * true by itself. */
static int read_free(int fd, uint64_t device, struct free_clearer *clearer)
{
	struct fsmap_head *head = calloc(1, fsmap_sizeof(RECORDS));
	int result = head ? 0 : -ENOMEM;

	if (head) {
		head->fmh_count = RECORDS;
		head->fmh_keys[1] = (struct fsmap){.fmr_device = UINT32_MAX,
						   .fmr_flags = UINT32_MAX,
						   .fmr_physical = UINT64_MAX,
						   .fmr_owner = UINT64_MAX,
						   .fmr_offset = UINT64_MAX};
	}
	while (result == 0) {
		const struct fsmap *last;

		if (ioctl(fd, FS_IOC_GETFSMAP, head) < 0) {
			result = -errno;
			break;
		}
		if (head->fmh_entries == 0)
			break;
		if (head->fmh_entries > RECORDS || !(head->fmh_oflags & FMH_OF_DEV_T)) {
			result = -EOPNOTSUPP; /* devices under numbers of its own: not told */
			break;
		}
		fsmap_take_records(clearer, device, head->fmh_recs, head->fmh_entries);
		last = &head->fmh_recs[head->fmh_entries - 1];
		if (last->fmr_flags & FMR_OF_LAST)
			break;
		fsmap_advance(head);
	}
	free(head);
	fsmap_take_end(clearer);
	return result;
}

/* Opens a mount point; -ESTALE when another file system is mounted over it. */
static int open_mount(const struct mount *mount)
{
	int fd = open(mount->point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat info;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &info) < 0 || major(info.st_dev) != mount->major ||
	    minor(info.st_dev) != mount->minor) {
		close(fd);
		return -ESTALE;
	}
	return fd;
}

static void add_note(char *note, size_t size, const struct mount *mount, uint64_t free_bytes,
		     uint64_t size_bytes)
{
	size_t length = strlen(note);
	char free_text[32], size_text[32];

	if (length >= size)
		return;
	snprintf(note + length, size - length, "%s%s %s: %s free of %s", length ? "; " : "",
		 mount->type, mount->point,
		 units_format_bytes(free_bytes, free_text, sizeof(free_text)),
		 units_format_bytes(size_bytes, size_text, sizeof(size_text)));
}

static bool has_fsmap(const struct mount *mount)
{
	static const char *const types[] = {"ext4", "ext3", "ext2", "xfs"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(mount->type, types[i]) == 0)
			return true;
	return false;
}

struct job {
	struct block_tree tree;
	unsigned int disk;
	uint32_t block_bytes;
	struct bitmap *blocks;
	char *note;
	size_t note_size;
};

/* Returns 0 when the file system is done with, also when it has nothing for us; or -errno: another
 * mount of it may do better. */
static int clear_mount(struct job *job, const struct mount *mount, unsigned int device)
{
	struct mapping mapping;
	struct free_clearer clearer = {
		.mapping = &mapping, .blocks = job->blocks, .block_bytes = job->block_bytes};
	int result = mapping_load(&job->tree, device, job->disk, dm_read_segments, &mapping);
	int fd;

	if (result < 0 || mapping.count == 0)
		return result;
	fd = open_mount(mount);
	if (fd < 0) {
		mapping_fini(&mapping);
		return fd;
	}
	result = read_free(fd, makedev(mount->major, mount->minor), &clearer);
	close(fd);
	mapping_fini(&mapping);
	if (result == 0)
		add_note(job->note, job->note_size, mount, clearer.free_bytes,
			 job->tree.devices[device].size_bytes);
	return result;
}

static int clear_all_mounts(struct job *job)
{
	bool is_done[TREE_DEVICES_MAX] = {false};
	struct mount_table table;
	int result = mounts_load(&job->tree.roots, &table);

	if (result < 0)
		return result;
	for (unsigned int i = 0; i < table.count; i++) {
		const struct mount *mount = &table.mounts[i];
		int device = tree_find_number(&job->tree, mount->major, mount->minor);

		if (device >= 0 && has_fsmap(mount) && !is_done[device])
			is_done[device] = clear_mount(job, mount, (unsigned int)device) == 0;
	}
	mounts_fini(&table);
	return 0;
}

static void clear_swap(struct job *job, const struct tracked_disk *disk)
{
	struct swap_range ranges[SWAP_RANGES_MAX];
	struct mapping none = {.segments = NULL};
	struct free_clearer clearer = {
		.mapping = &none, .blocks = job->blocks, .block_bytes = job->block_bytes};
	unsigned int count;

	if (swap_ranges(disk, ranges, &count, NULL) < 0)
		return;
	for (unsigned int i = 0; i < count; i++)
		take_piece(&clearer, 0, ranges[i].offset, ranges[i].length);
	fsmap_take_end(&clearer);
	if (clearer.free_bytes && strlen(job->note) < job->note_size) {
		size_t length = strlen(job->note);
		char text[32];

		snprintf(job->note + length, job->note_size - length, "%sswap: %s",
			 length ? "; " : "",
			 units_format_bytes(clearer.free_bytes, text, sizeof(text)));
	}
}

int fsmap_clear_free(const struct tracked_disk *disk, uint32_t block_bytes, struct bitmap *blocks,
		     char *ret_note, size_t note_size, struct fault *fault)
{
	struct job job = {.block_bytes = block_bytes,
			  .blocks = blocks,
			  .note = ret_note,
			  .note_size = note_size};
	int result = tree_load(&system_roots_default, &job.tree);
	int device;

	ret_note[0] = '\0';
	if (result < 0)
		return fault_set(fault, FAULT_RETRY, -result,
				 "cannot read the block devices in sysfs: %s", strerror(-result));
	device = tree_find_number(&job.tree, disk->major, disk->minor);
	if (device < 0) {
		tree_fini(&job.tree);
		return fault_set(fault, FAULT_STOP, ENODEV, "the disk %s is gone", disk->path);
	}
	job.disk = (unsigned int)device;
	result = clear_all_mounts(&job);
	if (result < 0)
		snprintf(ret_note, note_size, "free space is copied too: cannot read mounts: %s",
			 strerror(-result));
	clear_swap(&job, disk);
	tree_fini(&job.tree);
	return 0;
}
