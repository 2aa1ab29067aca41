/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Behind disks_find, for tests on a made-up machine, and what disks*.c share. */
#ifndef BLKFERRY_AGENT_LINUX_DISKS_H
#define BLKFERRY_AGENT_LINUX_DISKS_H

#include "agent/linux/disks_identity.h"
#include "agent/linux/disks_tree.h"
#include "agent/platform.h"

#define DISKS_TEXT_MAX 256 /* of the fault's 512: the list of what is there */

/* What one whole disk is and holds. */
struct surveyed_disk {
	unsigned int device; /* in the tree */
	struct disk_names names;
	char path[128];
	char holds[110]; /* "/ (ext4 on vda1), LVM (vda2)"; "" when nothing */
	char never[140]; /* why it can not be replicated at all; "" when it can */
	char unfit[100]; /* why `auto` leaves it out, whatever it holds; "" when it does not */
};

struct disk_survey {
	struct block_tree tree;
	struct surveyed_disk *disks; /* by name */
	unsigned int count;
	bool is_mounted[TREE_DEVICES_MAX];
};

/* Looks at all whole disks that have a size. */
int survey_load(const struct system_roots *roots, struct disk_survey *ret_survey,
		struct fault *fault);
void survey_fini(struct disk_survey *survey);

/* disks_find on a machine that may be made up. */
int disks_find_in(const struct system_roots *roots, const char *wanted,
		  struct found_disk **ret_disks, unsigned int *ret_count, struct fault *fault);
int disks_refresh_in(const struct system_roots *roots, struct tracked_disk *disk,
		     struct fault *fault);

/* Does the beginning of a device (at least 2 KiB, else it cannot be told) carry LVM's label? */
bool survey_has_lvm_label(const unsigned char *bytes, size_t size);

#endif
