/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is anybody left who could write to the disks? Asked when the system has stopped, before that is recorded. */
#ifndef BLKFERRY_AGENT_LINUX_HANDOVER_QUIET_H
#define BLKFERRY_AGENT_LINUX_HANDOVER_QUIET_H

#include "agent/linux/disks_tree.h"
#include "agent/tracker.h"
#include "common/fault.h"

/* 0 when no file system on these disks is mounted read-write, nothing is swapped to, no part of them is claimed by
 * anything else in the kernel (RAID, an exported volume ...), and no process has one open for writing. Else -EBUSY
 * with a fault that names it. */
int quiet_check(const struct tracked_disk *disks, unsigned int count, struct fault *fault);

#endif
