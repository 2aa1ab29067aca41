/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's tables of what is mounted and what is swapped to: proc(5), mountinfo and swaps. */
#ifndef BLKFERRY_AGENT_LINUX_MOUNTS_H
#define BLKFERRY_AGENT_LINUX_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/linux/sysfs.h"

#define MOUNTS_MAX 65536
#define SWAPS_MAX  64

/* One line of mountinfo. The strings, escapes resolved, live in the table's text. */
struct mount {
	uint32_t major, minor; /* of the super block; major 0 for btrfs and what has no disk */
	const char *root;      /* what of the file system is mounted: "/" is all of it */
	const char *point;
	const char *type;
	const char *source;
	const char *options; /* of the file system, escapes left as they are */
	bool is_read_only;   /* the file system as a whole, not this mount of it */
};

struct mount_table {
	char *text;
	struct mount
		*mounts; /* in mount order: the kernel lists each after what it is mounted on */
	unsigned int count;
};

/* Parses mountinfo. -EINVAL when any line is not understood: a mount that is not seen would not be
 * frozen. */
int mounts_parse(const char *text, size_t size, struct mount_table *ret_table);
int mounts_load(const struct system_roots *roots, struct mount_table *ret_table);
void mounts_fini(struct mount_table *table);

struct swap {
	const char *path;
	bool is_file; /* else a partition, or another block device */
};

struct swap_table {
	char *text;
	struct swap swaps[SWAPS_MAX];
	unsigned int count;
};

int swaps_parse(const char *text, size_t size, struct swap_table *ret_table);
int swaps_load(const struct system_roots *roots, struct swap_table *ret_table);
void swaps_fini(struct swap_table *table);

#endif
