// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of the disks: what is mounted from where, what is not replicated, sizes that the target has not. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/check.h"
#include "agent/linux/disks.h"
#include "agent/linux/mounts.h"
#include "common/units.h"

#define VHD_MAX_BYTES (2040 * GIB)

static void check_disk(struct check_context *context, const struct found_disk *found)
{
	const struct tracked_disk *disk = &found->disk;
	char size[32];

	units_format_bytes(disk->size_bytes, size, sizeof(size));
	if (!found->is_chosen) {
		if (strstr(found->why, "holds "))
			check_add_fix(check_add(context, "disk-not-replicated", CHECK_WARNING,
						disk->path, "this disk is not replicated (%s)",
						found->why),
				      false,
				      "name it under `disks` in agent.ini, or see to it that the "
				      "target starts without it");
		return;
	}
	if (disk->logical_block_bytes != 512)
		check_add_fix(check_add(context, "disk-sectors",
					context->target == CHECK_TARGET_XEN ? CHECK_ERROR
									    : CHECK_WARNING,
					disk->path,
					"this disk has sectors of %u bytes; with 512 its partition "
					"table cannot be read",
					disk->logical_block_bytes),
			      false,
			      context->target == CHECK_TARGET_XEN
				      ? "XCP-ng's disks have sectors of 512 bytes: copy to a disk "
					"that is partitioned anew instead"
				      : "give the target's disk logical_block_size=%u",
			      disk->logical_block_bytes);
	if (context->target == CHECK_TARGET_XEN && disk->size_bytes > VHD_MAX_BYTES)
		check_add_fix(check_add(context, "disk-size", CHECK_WARNING, disk->path,
					"%s is more than the 2040 GiB that a VHD holds", size),
			      false, "make the target's disk in qcow2 format (XCP-ng 8.3), or raw");
}

static void check_disks(struct check_context *context)
{
	char sys[PATH_MAX], proc[PATH_MAX], udev[PATH_MAX], dev[PATH_MAX];
	const struct system_roots roots = {.sys = sys, .proc = proc, .udev = udev, .dev = dev};
	struct found_disk *disks;
	struct fault fault = {0};
	unsigned int count;

	if (!root_is_folder(&context->root, "/sys/class/block") ||
	    root_outside(&context->root, "/sys", sys, sizeof(sys)) != 0 ||
	    root_outside(&context->root, "/proc", proc, sizeof(proc)) != 0 ||
	    root_outside(&context->root, "/run/udev/data", udev, sizeof(udev)) != 0 ||
	    root_outside(&context->root, "/dev", dev, sizeof(dev)) != 0)
		return;
	if (disks_find_in(&roots, context->disks, &disks, &count, &fault) < 0) {
		check_add_fix(check_add(context, "disks", CHECK_ERROR, context->disks, "%.300s",
					fault.text),
			      false, "see 'blkferry-agent disks'");
		return;
	}
	for (unsigned int i = 0; i < count; i++)
		check_disk(context, &disks[i]);
	free(disks);
}

static void check_root_mount(struct check_context *context)
{
	static const char *const remote[] = {"nfs", "nfs4", "cifs", "ceph", "9p", "virtiofs", NULL};
	char *text = root_read(&context->root, "/proc/self/mountinfo");
	struct mount_table table;

	if (!text || mounts_parse(text, strlen(text), &table) != 0) {
		free(text);
		return;
	}
	for (unsigned int i = 0; i < table.count; i++) {
		const struct mount *mount = &table.mounts[i];

		for (unsigned int j = 0; remote[j]; j++)
			if (!strcmp(mount->type, remote[j]) && !strcmp(mount->point, "/"))
				check_add(context, "root-remote", CHECK_ERROR, "/",
					  "the root file system is %s: there is no disk to "
					  "replicate it from",
					  mount->type);
		if (!strcmp(mount->type, "virtiofs") || !strcmp(mount->type, "9p") ||
		    !strcmp(mount->type, "vboxsf") || !strcmp(mount->type, "fuse.vmhgfs-fuse"))
			check_add_fix(check_add(context, "shared-folder", CHECK_WARNING,
						mount->point,
						"%s is a folder of this machine's host, which the "
						"target does not see",
						mount->source),
				      false,
				      "copy what is needed from it, and remove it from "
				      "/etc/fstab");
	}
	mounts_fini(&table);
	free(text);
}

void check_storage(struct check_context *context)
{
	check_disks(context);
	check_root_mount(context);
	if (root_is_folder(&context->root, "/etc/iscsi/nodes"))
		check_add(
			context, "iscsi", CHECK_WARNING, "/etc/iscsi/nodes",
			"disks come over iSCSI: they are not moved, and both machines may come to "
			"use them");
}
