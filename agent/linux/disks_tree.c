/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads /sys/class/block into a tree of devices, and answers what lies on what. */
#include "agent/linux/disks_tree.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LOAD_ATTEMPTS 5
#define SECTOR_BYTES  512ull /* sysfs counts in these, whatever the disk's own block is */

static int read_sectors(const struct block_tree *tree, const char *name, const char *attribute,
			uint64_t *ret_bytes)
{
	uint64_t sectors;
	int result = sysfs_attribute_number(&tree->roots, name, attribute, &sectors);

	if (result < 0)
		return result;
	if (sectors > INT64_MAX / SECTOR_BYTES)
		return -ERANGE;
	*ret_bytes = sectors * SECTOR_BYTES;
	return 0;
}

static int read_device(const struct block_tree *tree, const char *name, struct block_device *device)
{
	char text[64];
	uint64_t flag;
	int result = sysfs_attribute(&tree->roots, name, "dev", text, sizeof(text));

	if (result < 0)
		return result;
	*device = (struct block_device){.parent = -1};
	snprintf(device->name, sizeof(device->name), "%s", name);
	if (sysfs_parse_device(text, &device->major, &device->minor) < 0)
		return -EINVAL;
	result = read_sectors(tree, name, "size", &device->size_bytes);
	if (result < 0)
		return result;
	if (sysfs_attribute_exists(&tree->roots, name, "partition")) {
		result = read_sectors(tree, name, "start", &device->start_bytes);
		if (result < 0)
			return result;
	}
	device->is_read_only = sysfs_attribute_number(&tree->roots, name, "ro", &flag) == 0 && flag;
	device->is_hidden = sysfs_attribute_number(&tree->roots, name, "hidden", &flag) == 0 &&
			    flag;
	return 0;
}

static int compare_devices(const void *a, const void *b)
{
	const struct block_device *left = a, *right = b;

	return strverscmp(left->name, right->name);
}

static int add_device(struct block_tree *tree, const char *name, unsigned int *room)
{
	int result;

	if (tree->count == TREE_DEVICES_MAX)
		return -E2BIG;
	if (tree->count == *room) {
		struct block_device *more;

		*room = *room ? 2 * *room : 32;
		more = realloc(tree->devices, *room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		tree->devices = more;
	}
	result = read_device(tree, name, &tree->devices[tree->count]);
	/* Devices come and go while we look. */
	if (result == -ENOENT || result == -ENODEV)
		return 0;
	if (result == 0)
		tree->count++;
	return result;
}

static int read_devices(struct block_tree *tree)
{
	char path[SYSFS_PATH_MAX];
	unsigned int room = 0;
	struct dirent *entry;
	int result = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/class/block", tree->roots.sys);
	folder = opendir(path);
	if (!folder)
		return -errno;
	while (result == 0 && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= SYSFS_NAME_MAX)
			continue;
		result = add_device(tree, entry->d_name, &room);
	}
	closedir(folder);
	if (result == 0 && tree->count > 0)
		qsort(tree->devices, tree->count, sizeof(*tree->devices), compare_devices);
	return result;
}

/* A partition's folder lies in its disk's: .../block/sda/sda1. */
static int link_partition(struct block_tree *tree, struct block_device *device)
{
	char path[SYSFS_PATH_MAX], real[PATH_MAX];
	char *slash;

	if (!sysfs_attribute_exists(&tree->roots, device->name, "partition"))
		return 0;
	if (snprintf(path, sizeof(path), "%s/class/block/%s", tree->roots.sys, device->name) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	if (!realpath(path, real))
		return -errno;
	slash = strrchr(real, '/');
	if (!slash)
		return -EINVAL;
	*slash = '\0';
	slash = strrchr(real, '/');
	device->parent = slash ? tree_find_name(tree, slash + 1) : -ENODEV;
	return device->parent < 0 ? -ENODEV : 0;
}

static int link_slaves(struct block_tree *tree, struct block_device *device)
{
	char path[SYSFS_PATH_MAX];
	unsigned int slaves[TREE_SLAVES_MAX];
	struct dirent *entry;
	DIR *folder;

	if (snprintf(path, sizeof(path), "%s/class/block/%s/slaves", tree->roots.sys,
		     device->name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	folder = opendir(path);
	if (!folder)
		return errno == ENOENT ? 0 : -errno; /* partitions have none */
	while ((entry = readdir(folder))) {
		int slave = entry->d_name[0] == '.' ? -1 : tree_find_name(tree, entry->d_name);

		if (slave < 0)
			continue;
		if (device->slave_count == TREE_SLAVES_MAX) {
			closedir(folder);
			return -E2BIG;
		}
		slaves[device->slave_count++] = (unsigned int)slave;
	}
	closedir(folder);
	if (device->slave_count == 0)
		return 0;
	device->slaves = calloc(device->slave_count, sizeof(*device->slaves));
	if (!device->slaves)
		return -ENOMEM;
	memcpy(device->slaves, slaves, device->slave_count * sizeof(*slaves));
	return 0;
}

static int load_once(const struct system_roots *roots, struct block_tree *ret_tree)
{
	struct block_tree tree = {.roots = *roots};
	int result = read_devices(&tree);

	for (unsigned int i = 0; result == 0 && i < tree.count; i++) {
		result = link_partition(&tree, &tree.devices[i]);
		if (result == 0)
			result = link_slaves(&tree, &tree.devices[i]);
	}
	if (result < 0)
		tree_fini(&tree);
	else
		*ret_tree = tree;
	return result;
}

int tree_load(const struct system_roots *roots, struct block_tree *ret_tree)
{
	int result = -ENODEV;

	/* A partition table that is read anew takes devices from under us: look again. */
	for (int attempt = 0; attempt < LOAD_ATTEMPTS && result == -ENODEV; attempt++)
		result = load_once(roots, ret_tree);
	return result;
}

void tree_fini(struct block_tree *tree)
{
	for (unsigned int i = 0; i < tree->count; i++)
		free(tree->devices[i].slaves);
	free(tree->devices);
	tree->devices = NULL;
	tree->count = 0;
}

int tree_find_name(const struct block_tree *tree, const char *name)
{
	for (unsigned int i = 0; i < tree->count; i++)
		if (strcmp(tree->devices[i].name, name) == 0)
			return (int)i;
	return -ENODEV;
}

int tree_find_number(const struct block_tree *tree, uint32_t major_number, uint32_t minor_number)
{
	for (unsigned int i = 0; i < tree->count; i++)
		if (tree->devices[i].major == major_number &&
		    tree->devices[i].minor == minor_number)
			return (int)i;
	return -ENODEV;
}

int tree_find_path(const struct block_tree *tree, const char *path)
{
	char moved[PATH_MAX], real[PATH_MAX];
	size_t dev_length = strlen(tree->roots.dev);
	struct stat info;

	if (strncmp(path, "/dev/", 5) == 0) {
		if (snprintf(moved, sizeof(moved), "%s/%s", tree->roots.dev, path + 5) >=
		    (int)sizeof(moved))
			return -ENAMETOOLONG;
		path = moved;
	}
	if (!realpath(path, real) || stat(real, &info) < 0)
		return -errno;
	if (S_ISBLK(info.st_mode))
		return tree_find_number(tree, major(info.st_rdev), minor(info.st_rdev));
	/* A made-up machine has plain files for nodes: the name is all there is. */
	if (strcmp(tree->roots.dev, system_roots_default.dev) == 0 ||
	    strncmp(real, tree->roots.dev, dev_length) != 0 || real[dev_length] != '/')
		return -ENOTBLK;
	for (char *slash = real + dev_length + 1; (slash = strchr(slash, '/'));)
		*slash = '!';
	return tree_find_name(tree, real + dev_length + 1);
}

bool tree_is_leaf(const struct block_tree *tree, unsigned int device)
{
	return tree->devices[device].parent < 0 && tree->devices[device].slave_count == 0;
}

static void mark_leaves(const struct block_tree *tree, unsigned int device, unsigned int depth,
			bool *is_leaf)
{
	const struct block_device *node = &tree->devices[device];

	if (depth == TREE_DEPTH_MAX)
		return; /* no machine is built so; sysfs cannot loop, but nothing hangs on that */
	if (node->parent >= 0)
		mark_leaves(tree, (unsigned int)node->parent, depth + 1, is_leaf);
	else if (node->slave_count == 0)
		is_leaf[device] = true;
	for (unsigned int i = 0; i < node->slave_count; i++)
		mark_leaves(tree, node->slaves[i], depth + 1, is_leaf);
}

void tree_mark_leaves(const struct block_tree *tree, unsigned int device, bool *is_leaf)
{
	mark_leaves(tree, device, 0, is_leaf);
}

bool tree_is_on(const struct block_tree *tree, unsigned int device, unsigned int disk)
{
	bool is_leaf[TREE_DEVICES_MAX] = {false};

	tree_mark_leaves(tree, device, is_leaf);
	return is_leaf[disk];
}

/* /sys/fs/btrfs/UUID/devices lists the members of a mounted file system by name. Reads one of those
 * folders; with a device, only if it is among them. */
static void mark_members(const struct block_tree *tree, const char *uuid, int device,
			 bool *is_member)
{
	char path[SYSFS_PATH_MAX], member_path[SYSFS_PATH_MAX + SYSFS_NAME_MAX];
	struct dirent *entry;
	DIR *folder;

	if (snprintf(path, sizeof(path), "%s/fs/btrfs/%s/devices", tree->roots.sys, uuid) >=
	    (int)sizeof(path))
		return;
	if (device >= 0) {
		snprintf(member_path, sizeof(member_path), "%s/%s", path,
			 tree->devices[device].name);
		if (access(member_path, F_OK) != 0)
			return;
	}
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		int member = tree_find_name(tree, entry->d_name);

		if (member >= 0)
			is_member[member] = true;
	}
	if (folder)
		closedir(folder);
}

void tree_mark_btrfs(const struct block_tree *tree, const char *source, bool *is_member)
{
	int device = tree_find_path(tree, source);
	char path[SYSFS_PATH_MAX];
	struct dirent *entry;
	DIR *folder;

	if (device >= 0)
		is_member[device] = true;
	snprintf(path, sizeof(path), "%s/fs/btrfs", tree->roots.sys);
	folder = opendir(path);
	while (folder && (entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			mark_members(tree, entry->d_name, device, is_member);
	if (folder)
		closedir(folder);
}
