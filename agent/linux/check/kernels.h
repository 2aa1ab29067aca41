/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernels that can be booted, what they have built in, and which drivers the target needs. */
#ifndef BLKFERRY_AGENT_CHECK_KERNELS_H
#define BLKFERRY_AGENT_CHECK_KERNELS_H

#include <limits.h>
#include <stdbool.h>

#include "agent/linux/check/check.h"
#include "agent/linux/check/plan.h"

struct kernel {
	char version[KERNEL_NAME_MAX]; /* "6.1.0-56-amd64" */
	char initramfs[PATH_MAX]; /* "/boot/initrd.img-6.1.0-56-amd64"; "" when there is none */
	bool is_rescue;
};

struct kernels {
	struct kernel *list;
	unsigned int count;
};

/* Those in /boot, rescue kernels too. */
void kernels_find(const struct check_root *root, struct kernels *ret_kernels);
void kernels_fini(struct kernels *kernels);

struct driver {
	const char *module; /* as the file is called: "xen-blkfront" */
	const char *config; /* "CONFIG_XEN_BLKDEV_FRONTEND" */
	const char *is_for; /* "disks" */
	enum check_severity if_not_in_initramfs;
};
/* Ends with a NULL module. */
const struct driver *drivers_of(enum check_target target);

enum driver_kind {
	DRIVER_NONE = 1, /* this kernel has no such driver */
	DRIVER_MODULE,
	DRIVER_BUILT_IN,
	DRIVER_UNKNOWN, /* the kernel's modules are not there */
};
enum driver_kind kernel_find_driver(const struct check_root *root, const char *version,
				    const struct driver *driver);
/* The kernel's configuration, which the caller frees; NULL when it is not there. */
char *kernel_read_config(const struct check_root *root, const char *version);
/* The value in a configuration: 'y', 'm', or 'n'. */
char kernel_config_value(const char *config, const char *name);

/* Is there a module of that name in a list of files: of lsinitramfs, lsinitrd, modules.dep, modules.builtin?
 * With or without compression; - and _ are the same. */
bool modules_list_has(const char *list, const char *module);

#endif
