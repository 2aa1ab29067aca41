/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of block devices: which stay on other hardware, and what to call the others by. */
#ifndef BLKFERRY_AGENT_CHECK_DEVICES_H
#define BLKFERRY_AGENT_CHECK_DEVICES_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/linux/check/check.h"

enum device_name {
	DEVICE_NAME_STAYS = 1, /* UUID=, a mapper name, no disk at all */
	DEVICE_NAME_IS_TARGETS, /* /dev/xvda1 on Xen, /dev/vda1 on KVM: the same as long as the order is */
	DEVICE_NAME_CHANGES, /* /dev/sda1, /dev/disk/by-path/... */
};

enum device_name device_name_judge(const char *name, enum check_target target);

/* "UUID=..." of a device by its name, "PARTUUID=..." where its content has none; from the links in /dev/disk
 * of the root. 0 or -ENOENT. */
int device_find_uuid(const struct check_root *root, const char *name, char *ret_uuid, size_t size);
/* "PARTUUID=..." of a partition: the one that a kernel without an initramfs finds its root by. */
int device_find_partuuid(const struct check_root *root, const char *name, char *ret_uuid,
			 size_t size);
/* Is there a device that a UUID=, LABEL=, PARTUUID=, PARTLABEL= means? True when it cannot be told. */
bool device_is_there(const struct check_root *root, const char *tag);

#endif
