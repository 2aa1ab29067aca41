/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What cutover.c and cutover_certify.c share: a cutover under way. */
#ifndef BLKFERRY_AGENT_CUTOVER_INTERNAL_H
#define BLKFERRY_AGENT_CUTOVER_INTERNAL_H

#include "agent/cutover.h"
#include "agent/platform.h"
#include "agent/verify.h"

struct cutover {
	struct replicator *replicator;
	const struct wire_command *command;
	struct freezer *freezer;
	struct verify verify; /* scope: what is certified next */
	bool has_verify, is_hooked, is_certifying;
	uint64_t step_began_ns, frozen_at_ns, deadline_ns;
	uint64_t certified_bytes, repaired_bytes, data_downtime_ns;
	enum fence_kind fence;
};

/* Ends a step: says how long it took. */
int cutover_step_done(struct cutover *cutover, enum wire_cutover_step step, uint64_t bytes,
		      const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Compares everything, then again and again what changed meanwhile, until that is little enough to be
 * compared in the freeze. */
int cutover_certify_live(struct cutover *cutover, struct fault *fault);
/* With everything frozen and shipped: compares what changed since. It must be the same. */
int cutover_certify_frozen(struct cutover *cutover, struct fault *fault);

#endif
