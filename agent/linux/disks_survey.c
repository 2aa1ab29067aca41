/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every whole disk of the machine holds: mounted file systems, swap, LVM; and what forbids it. */
#include "agent/linux/disks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/linux/mounts.h"

#define LVM_LABEL_SECTORS 4 /* LVM looks for its label in the first four */
#define SECTOR_BYTES	  512

/* Adds to a list in text, with ", " between; "..." when it is full. */
static void list_add(char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void list_add(char *text, size_t size, const char *format, ...)
{
	char item[256];
	size_t length = strlen(text);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(item, sizeof(item), format, arguments);
	va_end(arguments);
	if (length + strlen(item) + sizeof(", ...") < size)
		snprintf(text + length, size - length, "%s%s", length ? ", " : "", item);
	else if (length + sizeof(", ...") <= size &&
		 (length < 3 || strcmp(text + length - 3, "...")))
		snprintf(text + length, size - length, "%s...", length ? ", " : "");
}

static struct surveyed_disk *disk_of(struct disk_survey *survey, unsigned int device)
{
	for (unsigned int i = 0; i < survey->count; i++)
		if (survey->disks[i].device == device)
			return &survey->disks[i];
	return NULL;
}

/* Writes on every whole disk under a device that it holds something. */
static void note_holding(struct disk_survey *survey, unsigned int device, const char *what,
			 const char *detail)
{
	bool is_leaf[TREE_DEVICES_MAX] = {false};

	tree_mark_leaves(&survey->tree, device, is_leaf);
	for (unsigned int leaf = 0; leaf < survey->tree.count; leaf++) {
		struct surveyed_disk *disk = is_leaf[leaf] ? disk_of(survey, leaf) : NULL;

		if (disk)
			list_add(disk->holds, sizeof(disk->holds), "%s (%s%s%s)", what, detail,
				 *detail ? " on " : "", survey->tree.devices[device].name);
	}
}

/* Its super block has no device number of a disk. */
static void note_btrfs(struct disk_survey *survey, const struct mount *mount)
{
	bool is_member[TREE_DEVICES_MAX] = {false};

	tree_mark_btrfs(&survey->tree, mount->source, is_member);
	for (unsigned int i = 0; i < survey->tree.count; i++) {
		if (!is_member[i] || survey->is_mounted[i])
			continue;
		survey->is_mounted[i] = true;
		note_holding(survey, i, mount->point, mount->type);
	}
}

/* The log and realtime devices of an XFS. */
static void note_xfs_devices(struct disk_survey *survey, const struct mount *mount)
{
	static const char *const options[] = {"logdev=", "rtdev="};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		const char *option = strstr(mount->options, options[i]);
		char path[SYSFS_PATH_MAX];
		int device;

		if (!option)
			continue;
		option += strlen(options[i]);
		snprintf(path, sizeof(path), "%.*s", (int)strcspn(option, ","), option);
		device = tree_find_path(&survey->tree, path);
		if (device >= 0)
			note_holding(survey, (unsigned int)device, "a part of", mount->point);
	}
}

/* The journals of ext4 that lie on devices of their own: /proc/fs/jbd2 names each journal, an external one
 * by its device alone ("sdb1"), an internal one with its inode behind ("sda1-8"). */
static void note_external_journals(struct disk_survey *survey)
{
	char path[SYSFS_PATH_MAX];
	struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/fs/jbd2", survey->tree.roots.proc);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		int device = tree_find_name(&survey->tree, entry->d_name);

		if (device >= 0)
			note_holding(survey, (unsigned int)device, "journal", "");
	}
	if (folder)
		closedir(folder);
}

static int note_mounts(struct disk_survey *survey)
{
	struct mount_table table;
	int result = mounts_load(&survey->tree.roots, &table);

	if (result < 0)
		return result;
	for (unsigned int i = 0; i < table.count; i++) {
		const struct mount *mount = &table.mounts[i];
		int device;

		if (mount->major == 0) {
			if (strcmp(mount->type, "btrfs") == 0)
				note_btrfs(survey, mount);
			continue;
		}
		device = tree_find_number(&survey->tree, mount->major, mount->minor);
		if (device < 0 || survey->is_mounted[device])
			continue;
		survey->is_mounted[device] = true;
		note_holding(survey, (unsigned int)device, mount->point, mount->type);
		if (strcmp(mount->type, "xfs") == 0)
			note_xfs_devices(survey, mount);
	}
	mounts_fini(&table);
	note_external_journals(survey);
	return 0;
}

static int note_swaps(struct disk_survey *survey)
{
	struct swap_table table;
	int result = swaps_load(&survey->tree.roots, &table);

	if (result < 0)
		return result;
	for (unsigned int i = 0; i < table.count; i++) {
		/* A swap file lies in a file system that is mounted, and noted for that. */
		int device = table.swaps[i].is_file
				     ? -ENODEV
				     : tree_find_path(&survey->tree, table.swaps[i].path);

		if (device >= 0)
			note_holding(survey, (unsigned int)device, "swap", "");
	}
	swaps_fini(&table);
	return 0;
}

bool survey_has_lvm_label(const unsigned char *bytes, size_t size)
{
	for (unsigned int sector = 0; sector < LVM_LABEL_SECTORS; sector++) {
		const unsigned char *label = bytes + (size_t)sector * SECTOR_BYTES;

		if (size < (size_t)(sector + 1) * SECTOR_BYTES)
			break;
		if (memcmp(label, "LABELONE", 8) == 0 && memcmp(label + 24, "LVM2 001", 8) == 0)
			return true;
	}
	return false;
}

static void device_path(const struct block_tree *tree, unsigned int device, const char *root,
			char *ret_path, size_t size)
{
	size_t start = strlen(root) + 1;

	snprintf(ret_path, size, "%s/%s", root, tree->devices[device].name);
	for (size_t i = start; i < size && ret_path[i]; i++)
		if (ret_path[i] == '!')
			ret_path[i] = '/';
}

/* udev has looked already, where it runs; and reading a disk that hangs would hang us, so nothing is
 * read that is known to be something else. */
static bool reads_lvm_label(const struct disk_survey *survey, unsigned int device,
			    const struct disk_names *names)
{
	const struct block_tree *tree = &survey->tree;
	unsigned char bytes[LVM_LABEL_SECTORS * SECTOR_BYTES];
	char path[SYSFS_PATH_MAX];
	bool has_label = false;
	ssize_t got;
	int fd;

	/* Not where a look could spin something up or wait for a medium. */
	if (names->is_in_udev || survey->is_mounted[device] || tree->devices[device].is_hidden ||
	    tree->devices[device].size_bytes < sizeof(bytes) ||
	    tree->devices[device].major == 2 /* floppy */ ||
	    tree->devices[device].major == 11 /* CD-ROM */)
		return false;
	device_path(tree, device, tree->roots.dev, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	got = pread(fd, bytes, sizeof(bytes), 0);
	if (got > 0)
		has_label = survey_has_lvm_label(bytes, (size_t)got);
	close(fd);
	return has_label;
}

/* Physical volumes, in use or not: by what lies on them, by udev, by their label. */
static void note_lvm(struct disk_survey *survey)
{
	const struct block_tree *tree = &survey->tree;
	bool is_volume[TREE_DEVICES_MAX] = {false};

	for (unsigned int i = 0; i < tree->count; i++) {
		struct disk_names names;
		char uuid[160];

		identity_read(tree, i, &names);
		if (strcmp(names.udev_content, "LVM2_member") == 0 ||
		    reads_lvm_label(survey, i, &names))
			is_volume[i] = true;
		if (sysfs_attribute(&tree->roots, tree->devices[i].name, "dm/uuid", uuid,
				    sizeof(uuid)) < 0 ||
		    strncmp(uuid, "LVM-", 4) != 0)
			continue;
		for (unsigned int s = 0; s < tree->devices[i].slave_count; s++) {
			char below[160] = "";
			unsigned int slave = tree->devices[i].slaves[s];

			/* a volume made of volumes (thin, raid): the parts are not for us */
			(void)sysfs_attribute(&tree->roots, tree->devices[slave].name, "dm/uuid",
					      below, sizeof(below));
			is_volume[slave] |= strncmp(below, "LVM-", 4) != 0;
		}
	}
	for (unsigned int i = 0; i < tree->count; i++)
		if (is_volume[i])
			note_holding(survey, i, "LVM", "");
}

/* What lies directly on a disk and makes it a part of something else. */
static void note_multipath(struct disk_survey *survey)
{
	const struct block_tree *tree = &survey->tree;

	for (unsigned int i = 0; i < tree->count; i++) {
		char uuid[160], name[40] = "";

		if (sysfs_attribute(&tree->roots, tree->devices[i].name, "dm/uuid", uuid,
				    sizeof(uuid)) < 0 ||
		    strncmp(uuid, "mpath-", 6) != 0)
			continue;
		(void)sysfs_attribute(&tree->roots, tree->devices[i].name, "dm/name", name,
				      sizeof(name));
		for (unsigned int s = 0; s < tree->devices[i].slave_count; s++) {
			struct surveyed_disk *disk = disk_of(survey, tree->devices[i].slaves[s]);

			if (disk)
				snprintf(disk->never, sizeof(disk->never),
					 "a path of the multipath device %.40s, whose writes take "
					 "several paths: not supported",
					 *name ? name : tree->devices[i].name);
		}
	}
}

static void judge_kind(struct surveyed_disk *disk, const struct block_device *device)
{
	static const struct {
		const char *prefix, *what;
	} kinds[] = {
		{"loop", "a loop disk: its bytes lie in a file"},
		{"ram", "lives in memory"},
		{"zram", "lives in memory"},
		{"nbd", "a network disk: its bytes lie on another machine"},
		{"rbd", "a network disk: its bytes lie on another machine"},
		{"sr", "a CD-ROM drive"},
		{"fd", "a floppy drive"},
		{"mtdblock", "raw flash"},
		{"drbd", "DRBD: its bytes lie on a disk below"},
	};

	if (device->is_read_only)
		snprintf(disk->never, sizeof(disk->never), "read-only: nothing on it changes");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t length = strlen(kinds[i].prefix);

		if (strncmp(device->name, kinds[i].prefix, length) == 0 &&
		    device->name[length] >= '0' && device->name[length] <= '9')
			snprintf(disk->unfit, sizeof(disk->unfit), "%s", kinds[i].what);
	}
}

static int list_disks(struct disk_survey *survey)
{
	survey->disks = calloc(survey->tree.count + 1, sizeof(*survey->disks));
	if (!survey->disks)
		return -ENOMEM;
	for (unsigned int i = 0; i < survey->tree.count; i++) {
		const struct block_device *device = &survey->tree.devices[i];
		struct surveyed_disk *disk = &survey->disks[survey->count];

		if (!tree_is_leaf(&survey->tree, i) || device->size_bytes == 0 || device->is_hidden)
			continue;
		disk->device = i;
		device_path(&survey->tree, i, "/dev", disk->path, sizeof(disk->path));
		identity_read(&survey->tree, i, &disk->names);
		judge_kind(disk, device);
		survey->count++;
	}
	return 0;
}

int survey_load(const struct system_roots *roots, struct disk_survey *ret_survey,
		struct fault *fault)
{
	struct disk_survey survey = {.disks = NULL};
	const char *what = "the block devices in sysfs";
	int result = tree_load(roots, &survey.tree);

	if (result == 0)
		result = list_disks(&survey);
	if (result == 0) {
		what = "the mounted file systems";
		result = note_mounts(&survey);
	}
	if (result == 0) {
		what = "the swap areas";
		result = note_swaps(&survey);
	}
	if (result < 0) {
		survey_fini(&survey);
		return fault_set(fault, FAULT_STOP, -result, "cannot read %s: %s", what,
				 strerror(-result));
	}
	note_lvm(&survey);
	note_multipath(&survey);
	*ret_survey = survey;
	return 0;
}

void survey_fini(struct disk_survey *survey)
{
	tree_fini(&survey->tree);
	free(survey->disks);
	survey->disks = NULL;
	survey->count = 0;
}
