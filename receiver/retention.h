/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which checkpoints stay: `retention = 5m:1s, 1h:1m, 24h:10m, 7d:1h`. No I/O.
 *
 * Of each rule's grid of wall-clock cells (every 10 minutes: 14:00, 14:10 ...) the oldest checkpoint in a cell
 * stays. A cell goes over to the next, coarser rule only as a whole, when all of it is older than the
 * finer rule's age: so what has to be merged is merged once a cell, not once a checkpoint.
 */
#ifndef BLKFERRY_RECEIVER_RETENTION_H
#define BLKFERRY_RECEIVER_RETENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"
#include "receiver/history.h"

/* Ages grow from rule to rule, distances do not shrink, a distance is at most its age. rules has room for
 * HISTORY_RULES_MAX. */
int retention_parse(const char *text, struct history_rule *rules, unsigned int *ret_count,
		    struct fault *fault);

struct retention_point {
	uint64_t time_ns;
	bool is_pinned; /* stays whatever the rules say */
	bool is_kept;	/* the decision */
};

/* The rule that counts for a checkpoint of this time; count when it is older than the last. */
unsigned int retention_rule_of(const struct history_rule *rules, unsigned int count,
			       uint64_t now_ns, uint64_t time_ns);
/* Decides for points, oldest first. The newest always stays; without rules, all. Returns how many go. */
unsigned int retention_decide(const struct history_rule *rules, unsigned int count, uint64_t now_ns,
			      struct retention_point *points, unsigned int point_count);

#endif
