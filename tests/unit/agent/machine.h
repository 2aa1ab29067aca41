/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine that is made up for a test: folders that stand for /sys, /proc, /dev and udev's database. */
#ifndef BLKFERRY_TESTS_UNIT_AGENT_MACHINE_H
#define BLKFERRY_TESTS_UNIT_AGENT_MACHINE_H

#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/linux/sysfs.h"

static char root[64];
static char sys_root[80], proc_root[80], udev_root[80], dev_root[80];
static struct system_roots roots = {sys_root, proc_root, udev_root, dev_root};
static char mountinfo[8192];

static inline void make_file(const char *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static inline void make_parents(char *path)
{
	for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
}

static inline void make_file(const char *text, const char *format, ...)
{
	char path[PATH_MAX];
	va_list arguments;
	FILE *file;

	va_start(arguments, format);
	vsnprintf(path, sizeof(path), format, arguments);
	va_end(arguments);
	make_parents(path);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static inline void set(const char *name, const char *attribute, const char *value)
{
	make_file(value, "%s/class/block/%s/%s", sys_root, name, attribute);
}

static inline void make_node(const char *folder, const char *name, const char *device,
			     const char *sectors)
{
	char path[PATH_MAX], link[PATH_MAX], node[SYSFS_NAME_MAX];

	snprintf(path, sizeof(path), "%s/devices/%s/%s/", sys_root, folder, name);
	make_parents(path);
	snprintf(link, sizeof(link), "%s/class/block/%s", sys_root, name);
	make_parents(link);
	assert_int_equal(symlink(path, link), 0);
	set(name, "dev", device);
	set(name, "size", sectors);
	set(name, "ro", "0\n");
	snprintf(node, sizeof(node), "%s", name);
	for (char *c = node; *c; c++)
		if (*c == '!')
			*c = '/';
	make_file("", "%s/%s", dev_root, node);
}

static inline void make_disk(const char *name, const char *device, const char *sectors)
{
	make_node("block", name, device, sectors);
	set(name, "queue/logical_block_size", "512\n");
	set(name, "diskseq", "9\n");
	set(name, "mq/0/cpu_list", "0\n");
}

static inline void make_partition(const char *disk, const char *name, const char *device)
{
	char folder[128];

	snprintf(folder, sizeof(folder), "block/%s", disk);
	make_node(folder, name, device, "8192\n");
	set(name, "partition", "1\n");
	set(name, "start", "2048\n");
}

static inline void make_stacked(const char *name, const char *device, const char *dm_uuid,
				const char *const *slaves)
{
	make_node("virtual/block", name, device, "4096\n");
	if (dm_uuid)
		set(name, "dm/uuid", dm_uuid);
	for (; *slaves; slaves++) {
		char attribute[128];

		snprintf(attribute, sizeof(attribute), "slaves/%s", *slaves);
		set(name, attribute, "");
	}
}
/* make_stacked(..., ON("sda1", "sdb1")) */
#define ON(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline void mount_at(const char *device, const char *point, const char *type,
			    const char *source)
{
	size_t length = strlen(mountinfo);

	snprintf(mountinfo + length, sizeof(mountinfo) - length,
		 "36 35 %s / %s rw,noatime shared:1 - %s %s rw\n", device, point, type, source);
}

static inline void write_mounts(void)
{
	make_file(mountinfo, "%s/self/mountinfo", proc_root);
}

static inline int machine_setup(void **state)
{
	strcpy(root, "/tmp/blkferry-test-machine-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(sys_root, sizeof(sys_root), "%s/sys", root);
	snprintf(proc_root, sizeof(proc_root), "%s/proc", root);
	snprintf(udev_root, sizeof(udev_root), "%s/udev", root);
	snprintf(dev_root, sizeof(dev_root), "%s/dev", root);
	mountinfo[0] = '\0';
	make_file("Filename\tType\tSize\tUsed\tPriority\n", "%s/swaps", proc_root);
	return 0;
}

static inline int machine_teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

#endif
