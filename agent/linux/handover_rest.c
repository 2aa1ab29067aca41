/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks at all that lies on the tracked disks, for later; see handover_rest.h. */
#include "agent/linux/handover_rest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/fiemap.h>
#include <linux/fs.h>

#include "agent/linux/dm_mapping.h"
#include "agent/platform.h"

#define BOOT_FILE_EXTENTS 8
#define ALIGN_BYTES	  4096ull

/* A boot loader writes to these before the kernel starts. */
static const char *const boot_files[] = {"/boot/grub/grubenv", "/boot/grub2/grubenv"};

struct survey {
	const struct tracked_disk *disks;
	unsigned int count;
	struct block_tree tree;
	struct rest *rest;
	/* Of add_piece: */
	const struct tracked_disk *disk;
	enum rest_kind kind;
	uint64_t mapped, watched;
};

static void refuse(struct survey *survey, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void refuse(struct survey *survey, const char *format, ...)
{
	va_list arguments;

	if (survey->rest->refusal[0])
		return; /* the first is enough */
	va_start(arguments, format);
	vsnprintf(survey->rest->refusal, sizeof(survey->rest->refusal), format, arguments);
	va_end(arguments);
}

static void add_range(struct survey *survey, const struct tracked_disk *disk, enum rest_kind kind,
		      uint64_t offset, uint64_t length)
{
	struct rest *rest = survey->rest;
	uint64_t unit = disk->logical_block_bytes, end = offset + length;

	/* Direct reads take whole blocks of the disk. */
	offset -= offset % unit;
	end += (unit - end % unit) % unit;
	if (end > disk->size_bytes)
		end = disk->size_bytes;
	if (offset >= end)
		return;
	if (kind == REST_WATCH)
		survey->watched += end - offset;
	if (rest->count == HANDOVER_WATCHES_MAX) {
		refuse(survey, "the disks have more partitions and volumes than can be watched");
		return;
	}
	rest->ranges[rest->count++] = (struct rest_range){.kind = (uint32_t)kind,
							  .major = disk->major,
							  .minor = disk->minor,
							  .offset = offset,
							  .length = end - offset};
}

static void add_piece(void *context, uint64_t at_bytes, uint64_t disk_bytes, uint64_t length_bytes)
{
	struct survey *survey = context;

	(void)at_bytes;
	survey->mapped += length_bytes;
	if (survey->kind)
		add_range(survey, survey->disk, survey->kind, disk_bytes, length_bytes);
}

/* Adds a range of a device, wherever on the tracked disks it lies; kind 0 adds nothing. Returns how many bytes of it
 * lie there. */
static uint64_t add_of_device(struct survey *survey, unsigned int device, enum rest_kind kind,
			      uint64_t offset, uint64_t length)
{
	survey->mapped = 0;
	survey->kind = kind;
	for (unsigned int i = 0; i < survey->count; i++) {
		struct mapping mapping;
		int leaf = tree_find_number(&survey->tree, survey->disks[i].major,
					    survey->disks[i].minor);

		if (leaf < 0 || mapping_load(&survey->tree, device, (unsigned int)leaf,
					     dm_read_segments, &mapping) < 0)
			continue;
		survey->disk = &survey->disks[i];
		mapping_each(&mapping, offset, length, add_piece, survey);
		mapping_fini(&mapping);
	}
	return survey->mapped;
}

static bool is_tracked(const struct survey *survey, unsigned int device)
{
	const struct block_device *node = &survey->tree.devices[device];

	for (unsigned int i = 0; i < survey->count; i++)
		if (survey->disks[i].major == node->major && survey->disks[i].minor == node->minor)
			return true;
	return false;
}

static bool lies_on_tracked(const struct survey *survey, unsigned int device)
{
	for (unsigned int i = 0; i < survey->count; i++) {
		int leaf = tree_find_number(&survey->tree, survey->disks[i].major,
					    survey->disks[i].minor);

		if (leaf >= 0 && tree_is_on(&survey->tree, device, (unsigned int)leaf))
			return true;
	}
	return false;
}

static bool has_partitions(const struct survey *survey, unsigned int device)
{
	for (unsigned int i = 0; i < survey->tree.count; i++)
		if (survey->tree.devices[i].parent == (int)device)
			return true;
	return false;
}

static bool is_part_of_another(const struct survey *survey, unsigned int device)
{
	for (unsigned int i = 0; i < survey->tree.count; i++)
		for (unsigned int s = 0; s < survey->tree.devices[i].slave_count; s++)
			if (survey->tree.devices[i].slaves[s] == device)
				return true;
	return false;
}

/* Reads a device's beginning. Returns how much, or -errno. */
static ssize_t read_head(const struct block_device *node, uint8_t *bytes)
{
	char path[SYSFS_NAME_MAX + 8];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", node->name);
	for (char *at = path; *at; at++)
		if (*at == '!')
			*at = '/';
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	got = pread(fd, bytes, REST_LOOK_BYTES, 0);
	if (got < 0)
		got = -errno;
	close(fd);
	return got;
}

static void add_xfs(struct survey *survey, unsigned int device, const uint8_t *bytes, size_t size)
{
	uint64_t offset, length;

	add_of_device(survey, device, REST_WATCH, 0, REST_FS_HEAD_BYTES);
	/* Its super block need not change while it is mounted; its log always does. */
	if (rest_find_xfs_log(bytes, size, &offset, &length) < 0)
		refuse(survey, "the log of the XFS on %s is not on it",
		       survey->tree.devices[device].name);
	else
		add_of_device(survey, device, REST_WATCH, offset, length);
}

static void add_content(struct survey *survey, unsigned int device)
{
	const struct block_device *node = &survey->tree.devices[device];
	uint8_t *bytes = malloc(REST_LOOK_BYTES);
	ssize_t got = bytes ? read_head(node, bytes) : -ENOMEM;

	if (got < 0) {
		refuse(survey, "%s cannot be read: %s", node->name, strerror((int)-got));
		free(bytes);
		return;
	}
	switch (rest_classify(bytes, (size_t)got)) {
	case REST_EXT:
	case REST_BTRFS:
		add_of_device(survey, device, REST_WATCH, 0, REST_FS_HEAD_BYTES);
		break;
	case REST_XFS:
		add_xfs(survey, device, bytes, (size_t)got);
		break;
	case REST_SWAP:
		add_of_device(survey, device, REST_WATCH, 0, ALIGN_BYTES);
		break;
	case REST_CONTAINER:
	case REST_BLANK:
		add_of_device(survey, device, REST_WATCH, 0, REST_HEAD_BYTES);
		break;
	case REST_FAT:
		/* Firmware and boot loaders write there, and who mounts it leaves no trace. */
		if (node->size_bytes > REST_RESENT_MAX)
			refuse(survey, "%s is a large FAT file system, whose use leaves no trace",
			       node->name);
		else
			add_of_device(survey, device, REST_RESEND, 0, node->size_bytes);
		break;
	case REST_UNKNOWN:
		if (node->size_bytes > REST_SMALL_BYTES)
			refuse(survey,
			       "%s holds something in which a change cannot be recognised (known "
			       "are "
			       "ext4, XFS, btrfs, swap and LVM)",
			       node->name);
		else
			add_of_device(survey, device, REST_WATCH, 0, node->size_bytes);
		break;
	}
	free(bytes);
}

static void add_whole_disk(struct survey *survey, unsigned int device)
{
	uint64_t size = survey->tree.devices[device].size_bytes;

	add_of_device(survey, device, REST_WATCH, 0, REST_HEAD_BYTES);
	if (size > REST_HEAD_BYTES) /* the second copy of a GPT */
		add_of_device(survey, device, REST_WATCH, size - REST_HEAD_BYTES, REST_HEAD_BYTES);
}

static void look_at(struct survey *survey, unsigned int device)
{
	const struct block_device *node = &survey->tree.devices[device];

	if (is_tracked(survey, device)) {
		add_whole_disk(survey, device);
		if (has_partitions(survey, device) || is_part_of_another(survey, device))
			return;
	} else if (node->parent < 0 &&
		   add_of_device(survey, device, 0, 0, node->size_bytes) != node->size_bytes) {
		refuse(survey,
		       "%s is no plain part of the disks (encrypted, RAID, thin, a snapshot, or "
		       "partly on others)",
		       node->name);
		return;
	} else if (is_part_of_another(survey, device)) {
		add_of_device(survey, device, REST_WATCH, 0, REST_HEAD_BYTES);
		return;
	}
	add_content(survey, device);
}

static void add_boot_file(struct survey *survey, const char *path)
{
	struct {
		struct fiemap map;
		struct fiemap_extent extents[BOOT_FILE_EXTENTS];
	} request = {.map = {.fm_length = FIEMAP_MAX_OFFSET,
			     .fm_flags = FIEMAP_FLAG_SYNC,
			     .fm_extent_count = BOOT_FILE_EXTENTS}};
	int fd = open(path, O_RDONLY | O_CLOEXEC), device;
	struct stat info;

	if (fd < 0)
		return;
	/* Where this cannot be told, a boot loader cannot write there either: GRUB does not do it on what is not
	 * a plain part of a disk. FAT, which has no FIEMAP, is sent again as a whole. */
	if (fstat(fd, &info) == 0 && ioctl(fd, FS_IOC_FIEMAP, &request) == 0) {
		device = tree_find_number(&survey->tree, major(info.st_dev), minor(info.st_dev));
		for (uint32_t i = 0; device >= 0 && i < request.map.fm_mapped_extents; i++)
			add_of_device(survey, (unsigned int)device, REST_RESEND,
				      request.extents[i].fe_physical, request.extents[i].fe_length);
	}
	close(fd);
}

/* What a boot loader writes to is no sign of another system. */
static void leave_out_resent(struct survey *survey)
{
	struct rest *rest = survey->rest;

	for (uint32_t i = 0; i < rest->count; i++) {
		const struct rest_range range = rest->ranges[i];

		if (range.kind == REST_RESEND &&
		    !rest_leave_out(rest, REST_WATCH, range.major, range.minor, range.offset,
				    range.length))
			refuse(survey, "the disks are too fragmented to be watched");
	}
}

void rest_survey(const struct tracked_disk *disks, unsigned int count, struct rest *rest)
{
	struct survey survey = {.disks = disks, .count = count, .rest = rest};
	int error = tree_load(&system_roots_default, &survey.tree);

	if (error) {
		refuse(&survey, "the block devices in sysfs cannot be read: %s", strerror(-error));
		return;
	}
	for (unsigned int i = 0; i < survey.tree.count; i++)
		if (!survey.tree.devices[i].is_hidden && survey.tree.devices[i].size_bytes &&
		    lies_on_tracked(&survey, i))
			look_at(&survey, i);
	for (size_t i = 0; i < sizeof(boot_files) / sizeof(boot_files[0]); i++)
		add_boot_file(&survey, boot_files[i]);
	leave_out_resent(&survey);
	if (survey.watched > REST_WATCHED_MAX)
		refuse(&survey, "the logs of the XFS file systems are too large to be watched");
	tree_fini(&survey.tree);
}
