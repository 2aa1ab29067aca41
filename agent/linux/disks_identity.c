/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the names of a disk from sysfs and udev's database. */
#include "agent/linux/disks_identity.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define VPD_HEADER_BYTES 4
#define UDEV_FILE_MAX	 (64u << 10)

/* Copies a name: outer blanks dropped, inner runs of them one '_'. "" when it does not fit, is not
 * printable or says nothing ("0000"): half a name would match another disk's half. */
static void copy_name(char *ret_name, size_t size, const char *text, size_t length)
{
	size_t end = 0;
	bool says_something = false;

	for (size_t i = 0; i < length && text[i]; i++) {
		unsigned char c = (unsigned char)text[i];

		if (isspace(c)) {
			if (end > 0 && ret_name[end - 1] != '_' && end < size - 1)
				ret_name[end++] = '_';
			continue;
		}
		if (!isgraph(c) || c == ',' || end >= size - 1) {
			end = 0;
			break;
		}
		says_something |= c != '0' && c != '-' && c != '_' && c != '.';
		ret_name[end++] = (char)c;
	}
	while (end > 0 && ret_name[end - 1] == '_')
		end--;
	ret_name[says_something ? end : 0] = '\0';
}

int identity_parse_vpd80(const unsigned char *page, size_t size, char ret_serial[DISK_NAME_MAX])
{
	size_t length;

	if (size < VPD_HEADER_BYTES || page[1] != 0x80)
		return -EINVAL;
	length = (size_t)page[2] << 8 | page[3];
	if (length > size - VPD_HEADER_BYTES)
		return -EINVAL;
	copy_name(ret_serial, DISK_NAME_MAX, (const char *)page + VPD_HEADER_BYTES, length);
	return 0;
}

static void take_udev_property(const char *line, size_t length, const char *key, char *ret_value,
			       size_t size)
{
	size_t key_length = strlen(key);

	if (length > key_length && memcmp(line, key, key_length) == 0)
		copy_name(ret_value, size, line + key_length, length - key_length);
}

void identity_parse_udev(const char *text, size_t size, struct disk_names *names)
{
	while (size > 0) {
		const char *end = memchr(text, '\n', size);
		size_t length = end ? (size_t)(end - text) : size;

		take_udev_property(text, length, "E:ID_SERIAL=", names->udev_serial,
				   sizeof(names->udev_serial));
		take_udev_property(text, length, "E:ID_SERIAL_SHORT=", names->udev_short,
				   sizeof(names->udev_short));
		take_udev_property(text, length, "E:ID_WWN=", names->udev_wwn,
				   sizeof(names->udev_wwn));
		take_udev_property(text, length, "E:ID_FS_TYPE=", names->udev_content,
				   sizeof(names->udev_content));
		length += end != NULL;
		text += length;
		size -= length;
	}
}

static void read_udev(const struct block_tree *tree, unsigned int device, struct disk_names *names)
{
	const struct block_device *node = &tree->devices[device];
	char path[SYSFS_PATH_MAX];
	char *text;
	size_t size;

	if (snprintf(path, sizeof(path), "%s/b%u:%u", tree->roots.udev, node->major, node->minor) >=
		    (int)sizeof(path) ||
	    sysfs_read_table(path, UDEV_FILE_MAX, &text, &size) < 0)
		return; /* udev may not run, in an initramfs for example */
	names->is_in_udev = true;
	identity_parse_udev(text, size, names);
	free(text);
}

static void read_vpd80(const struct block_tree *tree, const char *name, struct disk_names *names)
{
	char path[SYSFS_PATH_MAX];
	char *page;
	size_t size;

	if (snprintf(path, sizeof(path), "%s/class/block/%s/device/vpd_pg80", tree->roots.sys,
		     name) >= (int)sizeof(path) ||
	    sysfs_read_table(path, 64u << 10, &page, &size) < 0)
		return;
	(void)identity_parse_vpd80((unsigned char *)page, size, names->serial);
	free(page);
}

static void read_name(const struct block_tree *tree, const char *name, const char *attribute,
		      char *ret_name, size_t size)
{
	char text[512];

	if (*ret_name == '\0' &&
	    sysfs_attribute(&tree->roots, name, attribute, text, sizeof(text)) == 0)
		copy_name(ret_name, size, text, strlen(text));
}

/* What drives it, for want of a model: virtio and Xen disks have none. */
static void read_driver(const struct block_tree *tree, const char *name, struct disk_names *names)
{
	char path[SYSFS_PATH_MAX], target[SYSFS_PATH_MAX];
	ssize_t length;
	char *slash;

	if (snprintf(path, sizeof(path), "%s/class/block/%s/device/driver", tree->roots.sys,
		     name) >= (int)sizeof(path))
		return;
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return;
	target[length] = '\0';
	slash = strrchr(target, '/');
	snprintf(names->model, sizeof(names->model), "%.60s", slash ? slash + 1 : target);
}

void identity_read(const struct block_tree *tree, unsigned int device, struct disk_names *ret_names)
{
	const char *name = tree->devices[device].name;
	struct disk_names names = {.wwid = ""};

	read_name(tree, name, "wwid", names.wwid, sizeof(names.wwid));
	read_name(tree, name, "device/wwid", names.wwid, sizeof(names.wwid));
	read_vpd80(tree, name, &names);
	read_name(tree, name, "serial", names.serial, sizeof(names.serial));
	read_name(tree, name, "device/serial", names.serial, sizeof(names.serial));
	read_name(tree, name, "device/cid", names.serial, sizeof(names.serial)); /* mmc */
	read_name(tree, name, "device/model", names.model, sizeof(names.model));
	read_name(tree, name, "device/name", names.model, sizeof(names.model));
	if (names.model[0] == '\0')
		read_driver(tree, name, &names);
	read_udev(tree, device, &names);
	/* Not copy_name: a path keeps its blanks. */
	if (sysfs_attribute(&tree->roots, name, "loop/backing_file", names.backing_file,
			    sizeof(names.backing_file)) < 0)
		names.backing_file[0] = '\0';
	*ret_names = names;
}

const char *identity_choose(const struct disk_names *names, const char *path)
{
	if (names->wwid[0])
		return names->wwid;
	if (names->serial[0])
		return names->serial;
	if (names->backing_file[0])
		return names->backing_file;
	return path;
}

static const char *without_wwn_prefix(const char *name)
{
	static const char *const prefixes[] = {"naa.", "eui.", "0x"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncasecmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return name + strlen(prefixes[i]);
	return name;
}

bool identity_matches(const struct disk_names *names, const char *wanted)
{
	const char *wanted_wwn = without_wwn_prefix(wanted);

	if (*wanted == '\0')
		return false;
	return strcmp(names->serial, wanted) == 0 || strcmp(names->udev_serial, wanted) == 0 ||
	       strcmp(names->udev_short, wanted) == 0 || strcmp(names->backing_file, wanted) == 0 ||
	       (names->wwid[0] && strcasecmp(without_wwn_prefix(names->wwid), wanted_wwn) == 0) ||
	       (names->udev_wwn[0] &&
		strcasecmp(without_wwn_prefix(names->udev_wwn), wanted_wwn) == 0);
}
