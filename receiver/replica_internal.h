/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a replica share: its body. */
#ifndef BLKFERRY_RECEIVER_REPLICA_INTERNAL_H
#define BLKFERRY_RECEIVER_REPLICA_INTERNAL_H

#include "common/os_thread.h"
#include "receiver/replica.h"

struct replica {
	struct machines *machines;
	struct machine *machine;
	struct replica_disk disks[WIRE_DISKS_MAX]; /* by slot; without a target: not opened */
	unsigned int disk_count;
	unsigned int holds;		   /* under the machine's lock */
	const struct replica_user *opener; /* while it is being opened; may be NULL */
};

/* Has the one who is opening it left? */
bool replica_is_given_up(const struct replica *replica);

/* replica_disks.c */
int replica_open_disks(struct replica *replica, struct fault *fault);
void replica_close_disk(struct replica *replica, struct replica_disk *disk);

/* replica_trust.c: opens the have bitmap of a disk whose target is open. If that is not the target that it
 * speaks of, the replica is a new one, or is compared. */
int replica_trust(struct replica *replica, struct replica_disk *disk, struct fault *fault);

/* replica_in_use.c: was a foreign server's target left with writes under way? Called when target and have
 * are open, and before the target is closed. */
int replica_begin_use(struct replica *replica, struct replica_disk *disk, struct fault *fault);
void replica_end_use(struct replica *replica, const struct replica_disk *disk);

#endif
