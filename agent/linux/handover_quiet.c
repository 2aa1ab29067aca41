/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks for anybody who could still write to the disks; see handover_quiet.h. */
#include "agent/linux/handover_quiet.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/linux/mounts.h"

struct quiet {
	struct block_tree tree;
	bool is_ours[TREE_DEVICES_MAX];	   /* lies on one of the disks */
	bool is_mounted[TREE_DEVICES_MAX]; /* read-only, or it would have ended the search */
	struct fault *fault;
};

static int busy(struct quiet *quiet, const char *what, const char *how)
{
	return fault_set(quiet->fault, FAULT_RESYNC, EBUSY, "%.200s %s", what, how);
}

static void mark_ours(struct quiet *quiet, const struct tracked_disk *disks, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		int disk = tree_find_number(&quiet->tree, disks[i].major, disks[i].minor);

		for (unsigned int k = 0; disk >= 0 && k < quiet->tree.count; k++)
			quiet->is_ours[k] |= tree_is_on(&quiet->tree, k, (unsigned int)disk);
	}
}

static int check_mount(struct quiet *quiet, const struct mount *mount)
{
	bool is_member[TREE_DEVICES_MAX] = {false};
	int device = mount->major ? tree_find_number(&quiet->tree, mount->major, mount->minor) : -1;

	if (device >= 0)
		is_member[device] = true;
	else if (strcmp(mount->type, "btrfs") == 0)
		tree_mark_btrfs(&quiet->tree, mount->source, is_member);
	for (unsigned int i = 0; i < quiet->tree.count; i++) {
		if (!is_member[i] || !quiet->is_ours[i])
			continue;
		if (!mount->is_read_only)
			return busy(quiet, mount->point, "was still mounted read-write");
		quiet->is_mounted[i] = true;
	}
	return 0;
}

static int check_mounts(struct quiet *quiet)
{
	struct mount_table table;
	int error = mounts_load(&quiet->tree.roots, &table);

	if (error)
		return busy(quiet, "/proc/self/mountinfo", "cannot be read");
	for (unsigned int i = 0; i < table.count && !error; i++)
		error = check_mount(quiet, &table.mounts[i]);
	mounts_fini(&table);
	return error;
}

static int check_swaps(struct quiet *quiet)
{
	struct swap_table table;
	int error = swaps_load(&quiet->tree.roots, &table);

	if (error)
		return busy(quiet, "/proc/swaps", "cannot be read");
	for (unsigned int i = 0; i < table.count && !error; i++) {
		int device = table.swaps[i].is_file
				     ? -1
				     : tree_find_path(&quiet->tree, table.swaps[i].path);

		if (device >= 0 && quiet->is_ours[device])
			error = busy(quiet, table.swaps[i].path, "was still swapped to");
	}
	swaps_fini(&table);
	return error;
}

/* Is it a disk with partitions, or what a dm device is made of? Then that is looked at instead. */
static bool is_carrier(const struct quiet *quiet, unsigned int device)
{
	for (unsigned int i = 0; i < quiet->tree.count; i++) {
		const struct block_device *other = &quiet->tree.devices[i];

		if (other->parent == (int)device)
			return true;
		for (unsigned int s = 0; s < other->slave_count; s++)
			if (other->slaves[s] == device)
				return true;
	}
	return false;
}

/* Whoever uses a block device in the kernel claims it: a mount, device mapper, md, bcache, DRBD, a target that
 * exports it. Then nobody can have it for himself alone. */
static int check_claim(struct quiet *quiet, unsigned int device)
{
	const struct block_device *node = &quiet->tree.devices[device];
	char path[SYSFS_NAME_MAX + 8];
	int fd;

	if (node->parent < 0 && !tree_is_leaf(&quiet->tree, device) &&
	    strncmp(node->name, "dm-", 3) != 0)
		return busy(quiet, node->name, "was still active, and may write by itself");
	if (quiet->is_mounted[device] || is_carrier(quiet, device))
		return 0;
	snprintf(path, sizeof(path), "/dev/%s", node->name);
	for (char *at = path; *at; at++)
		if (*at == '!')
			*at = '/';
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == EBUSY)
		return busy(quiet, path, "was still in use by something in the kernel");
	if (fd >= 0)
		close(fd);
	return 0;
}

/* The access mode of an open file, by its "flags:" in fdinfo; O_RDWR where that cannot be told. */
static int access_mode(const char *pid, const char *fd)
{
	char path[128], text[512], *line;
	unsigned int flags;

	snprintf(path, sizeof(path), "/proc/%.20s/fdinfo/%.20s", pid, fd);
	if (sysfs_read_text(path, text, sizeof(text)) < 0)
		return O_RDWR;
	line = strstr(text, "flags:");
	if (!line || sscanf(line, "flags: %o", &flags) != 1)
		return O_RDWR;
	return (int)(flags & O_ACCMODE);
}

static int check_process(struct quiet *quiet, const char *pid)
{
	char path[320], name[64] = "";
	struct dirent *entry;
	int error = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	folder = opendir(path);
	while (folder && !error && (entry = readdir(folder))) {
		struct stat info;
		int device;

		snprintf(path, sizeof(path), "/proc/%.20s/fd/%.200s", pid, entry->d_name);
		if (entry->d_name[0] == '.' || stat(path, &info) < 0 || !S_ISBLK(info.st_mode))
			continue;
		device = tree_find_number(&quiet->tree, major(info.st_rdev), minor(info.st_rdev));
		if (device < 0 || !quiet->is_ours[device] ||
		    access_mode(pid, entry->d_name) == O_RDONLY)
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
		(void)sysfs_read_text(path, name, sizeof(name));
		snprintf(path, sizeof(path), "the process %s (%.20s)", name, pid);
		error = busy(quiet, path, "still had a disk open for writing");
	}
	if (folder)
		closedir(folder);
	return error;
}

static int check_processes(struct quiet *quiet)
{
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	char self[32];
	int error = 0;

	if (!folder)
		return busy(quiet, "/proc", "cannot be read");
	snprintf(self, sizeof(self), "%ld", (long)getpid());
	while (!error && (entry = readdir(folder))) {
		if (isdigit((unsigned char)entry->d_name[0]) && strcmp(entry->d_name, self) != 0)
			error = check_process(quiet, entry->d_name);
	}
	closedir(folder);
	return error;
}

int quiet_check(const struct tracked_disk *disks, unsigned int count, struct fault *fault)
{
	struct quiet *quiet = calloc(1, sizeof(*quiet));
	int error;

	if (!quiet)
		return fault_set(fault, FAULT_RESYNC, ENOMEM, "out of memory");
	quiet->fault = fault;
	if (tree_load(&system_roots_default, &quiet->tree) < 0) {
		free(quiet);
		return fault_set(fault, FAULT_RESYNC, EBUSY, "sysfs cannot be read");
	}
	mark_ours(quiet, disks, count);
	error = check_mounts(quiet);
	if (!error)
		error = check_swaps(quiet);
	for (unsigned int i = 0; i < quiet->tree.count && !error; i++)
		if (quiet->is_ours[i] && !quiet->tree.devices[i].is_hidden)
			error = check_claim(quiet, i);
	if (!error)
		error = check_processes(quiet);
	tree_fini(&quiet->tree);
	free(quiet);
	return error;
}
