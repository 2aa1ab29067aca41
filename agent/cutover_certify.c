// SPDX-License-Identifier: GPL-2.0-or-later
/* Certification (I11): digests of everything while it is live, and in the freeze of what changed since. */
#include <errno.h>

#include "agent/cutover_internal.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "common/units.h"

#define CERTIFY_BLOCK  4096u
#define CERTIFY_SMALL  (8 * MIB) /* compared while frozen in a few milliseconds */
#define CERTIFY_ROUNDS 6

/* Moves what changed since into the scope that is compared next. Returns its bytes. */
static uint64_t move_changed(struct cutover *cutover)
{
	struct source *source = cutover->replicator->source;

	for (unsigned int i = 0; i < source->count; i++)
		bitmap_move(&cutover->verify.scope[i], &source->disks[i].changed);
	return verify_scope_bytes(&cutover->verify);
}

/* What a live look left different may be a change: it is compared again with the next round. */
static int settle_verify(struct cutover *cutover, struct fault *fault)
{
	struct verify *verify = &cutover->verify;
	char text[32];
	int error;

	if (verify->differed_bytes + verify->never_copied_bytes == 0)
		return 0;
	error = verify_repair(verify, fault);
	if (error)
		return error;
	cutover->repaired_bytes += verify->repaired_bytes;
	if (verify->differed_bytes)
		log_error("certification found %s different from the source and sent it again: "
			  "please report this",
			  units_format_bytes(verify->differed_bytes, text, sizeof(text)));
	if (verify->unrepaired_bytes)
		return fault_set(fault, FAULT_STOP, EIO,
				 "the target does not keep what is written to it: %s still differ",
				 units_format_bytes(verify->unrepaired_bytes, text, sizeof(text)));
	return 0;
}

/* Digests of everything while it is live, then again and again of what changed meanwhile, until that is
 * little enough to be compared in the freeze. */
int cutover_certify_live(struct cutover *cutover, struct fault *fault)
{
	struct replicator *replicator = cutover->replicator;
	bool is_scan = replicator_is_scanning(replicator);
	uint64_t before = UINT64_MAX, bytes;
	int error;

	if (!cutover->is_certifying)
		return 0;
	/* Without a tracker everything is compared in the freeze anyway. */
	error = verify_init(&cutover->verify, replicator,
			    is_scan ? VERIFY_NOTHING : VERIFY_ALLOCATED, fault);
	if (error)
		return error;
	cutover->has_verify = true;
	cutover->verify.cutover = cutover->command->id;
	if (is_scan)
		return 0;
	error = source_watch_changes(replicator->source, fault);
	if (!error)
		error = verify_run(&cutover->verify, fault);
	if (!error)
		error = settle_verify(cutover, fault);
	for (unsigned int round = 0; !error && round < CERTIFY_ROUNDS; round++) {
		bytes = move_changed(cutover);
		if (bytes < CERTIFY_SMALL || bytes > before - before / 5)
			break;
		before = bytes;
		error = verify_run(&cutover->verify, fault);
		if (!error)
			error = settle_verify(cutover, fault);
	}
	cutover->certified_bytes = cutover->verify.compared_bytes;
	if (error)
		return fault_prefix(fault, "live verify");
	return cutover_step_done(cutover, WIRE_STEP_VERIFY, cutover->certified_bytes,
				 "compared live");
}

/* I11: what changed since the live verify is compared while nothing moves. It must be the same. */
int cutover_certify_frozen(struct cutover *cutover, struct fault *fault)
{
	uint64_t bytes, left;
	bool is_complete = false;
	char text[32];
	int error;

	if (!cutover->is_certifying)
		return 0;
	if (!replicator_is_scanning(cutover->replicator))
		(void)move_changed(cutover);
	bytes = verify_scope_bytes(&cutover->verify);
	cutover->verify.compared_bytes = 0;
	error = verify_look(&cutover->verify, CERTIFY_BLOCK, 0, &is_complete, fault);
	if (error)
		return error;
	left = verify_scope_bytes(&cutover->verify);
	if (!is_complete)
		return fault_set(fault, FAULT_STOP, ECANCELED, "cancelled");
	if (left)
		return fault_set(fault, FAULT_STOP, EIO,
				 "certification failed: %s differ although frozen and shipped; run "
				 "'blkferry verify --repair'",
				 units_format_bytes(left, text, sizeof(text)));
	cutover->certified_bytes += cutover->verify.compared_bytes;
	return cutover_step_done(cutover, WIRE_STEP_CERTIFY, bytes,
				 "what changed since was compared");
}
