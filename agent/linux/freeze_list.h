/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which file systems have to stand still so that the disks do, and in which order: those on the disks,
 * and those on loop devices whose files lie on them, and so on inwards.
 */
#ifndef BLKFERRY_AGENT_LINUX_FREEZE_LIST_H
#define BLKFERRY_AGENT_LINUX_FREEZE_LIST_H

#include <stdbool.h>

#include "agent/linux/freeze_method.h"
#include "agent/linux/sysfs.h"
#include "agent/tracker.h"
#include "common/fault.h"

#define FREEZE_LIST_MAX	      256
#define FREEZE_NAMESPACES_MAX 1024
#define FREEZE_POINT_MAX      256
#define FREEZE_PATHS_PER_FS   8 /* mount points tried, where some are hidden by other mounts */

/* A way to a file system: point as seen by a process (0: by us). */
struct freeze_path {
	unsigned int pid;
	char point[FREEZE_POINT_MAX];
};

struct freeze_entry {
	uint32_t major, minor; /* of the super block, as in mountinfo */
	char type[32];
	enum freeze_method method;
	struct freeze_path paths[FREEZE_PATHS_PER_FS];
	unsigned int path_count;
};

struct freeze_list {
	struct freeze_entry *entries; /* in the order of freezing: innermost first */
	unsigned int count;
};

/* Mount namespaces other than ours are looked at as well: what a container alone has mounted lies on
 * the disks too. */
int freeze_list_load(const struct system_roots *roots, const struct tracked_disk *disks,
		     unsigned int count, struct freeze_list *ret_list, struct fault *fault);
void freeze_list_fini(struct freeze_list *list);

#endif
