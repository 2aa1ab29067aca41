/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block devices of the machine and what lies on what, from sysfs: partitions on their disks,
 * dm, md and the like on their slaves. Devices are known by their index in the tree.
 */
#ifndef BLKFERRY_AGENT_LINUX_DISKS_TREE_H
#define BLKFERRY_AGENT_LINUX_DISKS_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/linux/sysfs.h"

#define TREE_DEVICES_MAX 4096
#define TREE_SLAVES_MAX	 64 /* of one device; what has more is an error */
#define TREE_DEPTH_MAX	 16

struct block_device {
	char name[SYSFS_NAME_MAX]; /* as in sysfs: "cciss!c0d0p1" */
	uint32_t major, minor;
	uint64_t size_bytes;
	uint64_t start_bytes; /* of a partition: where on its disk */
	int parent;	      /* of a partition: its disk; else -1 */
	unsigned int *slaves; /* what it is made of, when it is dm, md, bcache ... */
	unsigned int slave_count;
	bool is_read_only;
	bool is_hidden; /* no node in /dev: a path of a multipath NVMe disk */
};

struct block_tree {
	struct system_roots roots;
	struct block_device *devices;
	unsigned int count;
};

int tree_load(const struct system_roots *roots, struct block_tree *ret_tree);
void tree_fini(struct block_tree *tree);

/* -ENODEV when there is none. tree_find_path follows links and takes device nodes anywhere. */
int tree_find_name(const struct block_tree *tree, const char *name);
int tree_find_number(const struct block_tree *tree, uint32_t major, uint32_t minor);
int tree_find_path(const struct block_tree *tree, const char *path);

bool tree_is_leaf(const struct block_tree *tree, unsigned int device);
/* Marks in is_leaf[count] the whole disks that a device lies on (itself, if it is one). */
void tree_mark_leaves(const struct block_tree *tree, unsigned int device, bool *is_leaf);
/* Does device lie, also in part, on disk? */
bool tree_is_on(const struct block_tree *tree, unsigned int device, unsigned int disk);

/* Marks in is_member[count] the devices of the btrfs whose mount has this source. Where the source leads
 * nowhere ("/dev/root"), those of every btrfs: better too much than one that is missed. */
void tree_mark_btrfs(const struct block_tree *tree, const char *source, bool *is_member);

#endif
