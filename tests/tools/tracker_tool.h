/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tracker's test programs share: a disk's description, straight from its device node; their commands' words. */
#ifndef BLKFERRY_TESTS_TOOLS_TRACKER_TOOL_H
#define BLKFERRY_TESTS_TOOLS_TRACKER_TOOL_H

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/fs.h>

#include "agent/tracker.h"

#ifndef BLKGETDISKSEQ
#define BLKGETDISKSEQ _IOR(0x12, 128, uint64_t)
#endif

/* A line of a writer's log: a range that has been written and completed. */
struct logged_range {
	uint64_t offset, length;
};

static inline void describe_disk(const char *path, struct tracked_disk *ret_disk)
{
	struct tracked_disk disk = {.is_request_based = true};
	struct stat st;
	int logical = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0 || ioctl(fd, BLKGETSIZE64, &disk.size_bytes) < 0 ||
	    ioctl(fd, BLKSSZGET, &logical) < 0)
		err(2, "%s", path);
	if (ioctl(fd, BLKGETDISKSEQ, &disk.sequence) < 0)
		disk.sequence = 0;
	snprintf(disk.path, sizeof(disk.path), "%s", path);
	snprintf(disk.identity, sizeof(disk.identity), "%s", path);
	disk.major = major(st.st_rdev);
	disk.minor = minor(st.st_rdev);
	disk.logical_block_bytes = (uint32_t)logical;
	close(fd);
	*ret_disk = disk;
}

/* All disks named on the command line from argv[optind] on, up to "--". Returns how many. */
static inline unsigned int describe_disks(char **argv, int *index,
					  struct tracked_disk disks[TRACKER_DISKS_MAX])
{
	unsigned int count = 0;

	for (; argv[*index] && strcmp(argv[*index], "--") != 0; (*index)++) {
		if (count == TRACKER_DISKS_MAX)
			errx(2, "too many disks");
		describe_disk(argv[*index], &disks[count++]);
	}
	if (argv[*index])
		(*index)++;
	return count;
}

/* The argument of a command: takes it from the command line. */
static inline const char *next_word(char ***argv)
{
	if (!**argv)
		errx(2, "a command lacks its argument");
	return *(*argv)++;
}

#endif
