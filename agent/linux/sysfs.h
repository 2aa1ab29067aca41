/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the kernel's facts are read from, and reading them: small files of sysfs and procfs. The
 * roots can be put elsewhere, so that tests can make up a machine.
 */
#ifndef BLKFERRY_AGENT_LINUX_SYSFS_H
#define BLKFERRY_AGENT_LINUX_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct system_roots {
	const char *sys;  /* "/sys" */
	const char *proc; /* "/proc" */
	const char *udev; /* "/run/udev/data", may be absent */
	const char *dev;  /* "/dev" */
};

extern const struct system_roots system_roots_default;

#define SYSFS_PATH_MAX	512
#define SYSFS_NAME_MAX	64	   /* a block device's name; the kernel's limit is 32 */
#define SYSFS_TABLE_MAX (4u << 20) /* /proc/self/mountinfo, /proc/swaps */

/* Reads a file of at most size - 1 bytes as text, without the white space at both ends. 0 or -errno;
 * -EFBIG when there is more. */
int sysfs_read_text(const char *path, char *ret_text, size_t size);
/* The same for a whole table; adds a NUL that ret_size does not count. The caller frees. */
int sysfs_read_table(const char *path, size_t limit, char **ret_text, size_t *ret_size);

/* An attribute of a block device, "%s/class/block/NAME/ATTRIBUTE". name is as in /dev; a '/' in it
 * is a '!' in sysfs. */
int sysfs_attribute(const struct system_roots *roots, const char *name, const char *attribute,
		    char *ret_text, size_t size);
int sysfs_attribute_number(const struct system_roots *roots, const char *name,
			   const char *attribute, uint64_t *ret_number);
bool sysfs_attribute_exists(const struct system_roots *roots, const char *name,
			    const char *attribute);

/* "8:16" and nothing after it but white space. 0 or -EINVAL. */
int sysfs_parse_device(const char *text, uint32_t *ret_major, uint32_t *ret_minor);
/* A decimal number and nothing after it but white space. 0, -EINVAL or -ERANGE. */
int sysfs_parse_number(const char *text, uint64_t *ret_number);

#endif
