/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A group of the stream's writes on its way to the targets. Inside a group the last writer of a byte wins, so
 * it is written as runs that do not overlap, many at a time and large: all that touches or adjoins becomes
 * one. No mark lies inside a group. Used by the applier's thread alone.
 *
 *   add ... add --apply--> history_protect of all runs (one fdatasync) --> writes --> all have ended
 *
 * Between a group and the next nothing is under way at the targets: the order of the stream is kept.
 */
#ifndef BLKFERRY_RECEIVER_WRITE_GROUP_H
#define BLKFERRY_RECEIVER_WRITE_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"
#include "receiver/history.h"
#include "receiver/replica.h"

#define WRITE_GROUP_BYTES_MAX (8u * 1024 * 1024)
#define WRITE_GROUP_MAX	      4096u	     /* writes */
#define WRITE_GROUP_ZERO_MAX  (1024u * 1024) /* longer zeroes are applied by themselves */

struct write_group;

/* What has to happen before ranges are overwritten. */
typedef int write_group_protect_fn(void *context, const struct history_extent *extents,
				   unsigned int count, struct fault *fault);

struct write_group_setup {
	struct replica_disk *disks; /* by slot */
	unsigned int disk_count;
	struct target_channel *const *channels; /* by slot; NULL: not there */
	write_group_protect_fn *protect;
	void *context;
};
int write_group_new(const struct write_group_setup *setup, struct write_group **ret_group,
		    struct fault *fault);
void write_group_free(struct write_group *group); /* nothing is under way */

bool write_group_is_empty(const struct write_group *group);
/* Is there room for a write of length bytes? */
bool write_group_has_room(const struct write_group *group, uint32_t length);
/* data stays valid until apply; NULL: zeroes, at most WRITE_GROUP_ZERO_MAX. There is room, and the range is
 * inside the disk. */
void write_group_add(struct write_group *group, unsigned int slot, uint64_t offset, uint32_t length,
		     const void *data);
/* Writes it and waits for the end; the group is empty then. A failure leaves the targets with some of it: the
 * channels are to be closed, and the journal applied again. */
int write_group_apply(struct write_group *group, struct fault *fault);
/* Zeroes of any length, in pieces. The group is empty. */
int write_group_zero(struct write_group *group, unsigned int slot, uint64_t offset, uint64_t length,
		     struct fault *fault);

#endif
