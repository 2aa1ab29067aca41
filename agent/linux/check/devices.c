// SPDX-License-Identifier: GPL-2.0-or-later
/* Names of block devices; see devices.h. */
#include "agent/linux/check/devices.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* "sd" and letters and digits: sda, sdab12 */
static bool is_lettered(const char *name, const char *with)
{
	size_t length = strlen(with);

	if (!starts(name, with) || !islower((unsigned char)name[length]))
		return false;
	name += length;
	while (islower((unsigned char)*name))
		name++;
	while (isdigit((unsigned char)*name))
		name++;
	return *name == '\0';
}

static bool is_numbered(const char *name, const char *with)
{
	return starts(name, with) && isdigit((unsigned char)name[strlen(with)]);
}

enum device_name device_name_judge(const char *name, enum check_target target)
{
	static const char *const stays_by_id[] = {"dm-", "lvm-", "md-uuid-", "md-name-", NULL};

	if (!starts(name, "/dev/"))
		return DEVICE_NAME_STAYS;
	name += 5;
	if (starts(name, "disk/by-path/"))
		return DEVICE_NAME_CHANGES;
	if (starts(name, "disk/by-id/")) {
		for (unsigned int i = 0; stays_by_id[i]; i++)
			if (starts(name + 11, stays_by_id[i]))
				return DEVICE_NAME_STAYS;
		return DEVICE_NAME_CHANGES;
	}
	if (is_lettered(name, target == CHECK_TARGET_XEN ? "xvd" : "vd"))
		return DEVICE_NAME_IS_TARGETS;
	if (is_lettered(name, "sd") || is_lettered(name, "vd") || is_lettered(name, "hd") ||
	    is_lettered(name, "xvd") || is_numbered(name, "nvme") || is_numbered(name, "mmcblk") ||
	    is_numbered(name, "dm-") || is_numbered(name, "pmem") || starts(name, "cciss/"))
		return DEVICE_NAME_CHANGES;
	return DEVICE_NAME_STAYS;
}

/* Looks in /dev/disk/FOLDER for the link that leads to node. */
static int find_link(const struct check_root *root, const char *folder, const char *node,
		     const char *tag, char *ret_uuid, size_t size)
{
	struct root_names names;
	int error = -ENOENT;

	root_list(root, folder, &names);
	for (unsigned int i = 0; error && i < names.count; i++) {
		char path[PATH_MAX], real[PATH_MAX];

		if (snprintf(path, sizeof(path), "%s/%s", folder, names.names[i]) >=
			    (int)sizeof(path) ||
		    root_resolve(root, path, real, sizeof(real)) != 0 || strcmp(real, node) != 0)
			continue;
		if (snprintf(ret_uuid, size, "%s=%s", tag, names.names[i]) < (int)size)
			error = 0;
	}
	root_names_free(&names);
	return error;
}

int device_find_uuid(const struct check_root *root, const char *name, char *ret_uuid, size_t size)
{
	char node[PATH_MAX];

	if (root_resolve(root, name, node, sizeof(node)) != 0)
		return -ENOENT;
	if (find_link(root, "/dev/disk/by-uuid", node, "UUID", ret_uuid, size) == 0)
		return 0;
	return find_link(root, "/dev/disk/by-partuuid", node, "PARTUUID", ret_uuid, size);
}

int device_find_partuuid(const struct check_root *root, const char *name, char *ret_uuid,
			 size_t size)
{
	char node[PATH_MAX];

	if (root_resolve(root, name, node, sizeof(node)) != 0)
		return -ENOENT;
	return find_link(root, "/dev/disk/by-partuuid", node, "PARTUUID", ret_uuid, size);
}

bool device_is_there(const struct check_root *root, const char *tag)
{
	static const struct {
		const char *tag, *folder;
	} tags[] = {{"UUID=", "/dev/disk/by-uuid"},
		    {"LABEL=", "/dev/disk/by-label"},
		    {"PARTUUID=", "/dev/disk/by-partuuid"},
		    {"PARTLABEL=", "/dev/disk/by-partlabel"}};

	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		size_t length = strlen(tags[i].tag);
		struct root_names names;
		bool is_there = false;

		if (strncmp(tag, tags[i].tag, length) != 0)
			continue;
		root_list(root, tags[i].folder, &names);
		/* udev writes what is odd in a label in its own way: only plain names are looked for. */
		is_there = names.count == 0 || strcspn(tag, " \\/\"'") != strlen(tag);
		for (unsigned int j = 0; !is_there && j < names.count; j++)
			is_there = !strcasecmp(names.names[j], tag + length);
		root_names_free(&names);
		return is_there;
	}
	return true;
}
