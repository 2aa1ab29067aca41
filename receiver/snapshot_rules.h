/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules of xcp-snapshots in receiver.ini, "hourly:24, daily:7": a snapshot at the first checkpoint of each hour, of which
 * the 24 newest are kept, and of those the first of each day for the 7 newest days on which there are any. Hours and
 * days are those of the local clock. Nothing here knows of a pool.
 */
#ifndef BLKFERRY_RECEIVER_SNAPSHOT_RULES_H
#define BLKFERRY_RECEIVER_SNAPSHOT_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"

#define SNAPSHOT_RULES_MAX 8
/* Each snapshot makes the chain of a VHD longer by one, and 30 is the longest: one for the disk itself, one for the snapshot
 * that is made before the oldest goes. */
#define SNAPSHOT_KEPT_MAX 28

struct snapshot_rule {
	uint64_t every_ns;
	unsigned int count;
};

struct snapshot_point {
	uint64_t made_ns; /* wall clock of this machine, since 1970 */
	bool is_kept;	  /* snapshot_rules_decide */
};

/* "none" gives no rule. Faults: STOP, -EINVAL; then nothing is written to rules. */
int snapshot_rules_parse(const char *text, struct snapshot_rule rules[SNAPSHOT_RULES_MAX],
			 unsigned int *ret_count, struct fault *fault);
/* Is it time for one more? newest_ns: when the newest was made, 0: there is none. */
bool snapshot_rules_is_due(const struct snapshot_rule *rules, unsigned int count,
			   uint64_t newest_ns, uint64_t now_ns);
/* Sets is_kept of points, which are in the order of their making. Without rules all stay. */
void snapshot_rules_decide(const struct snapshot_rule *rules, unsigned int count,
			   struct snapshot_point *points, unsigned int point_count);

#endif
