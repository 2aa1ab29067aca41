// SPDX-License-Identifier: GPL-2.0-or-later
/* Live verify; see verify.h. */
#include "agent/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/units.h"

#define SWEEP_BLOCK   (16u * 1024)
#define LOOK_BLOCK    4096u
#define SLICE_NS      NS_PER_S
#define LOOKS_MAX     8
#define DIFFERS_LOOKS 3
#define FROZEN_MOST   (8 * MIB)	       /* may be left to the freeze of a cutover */
#define PAUSE_NS      (20 * NS_PER_MS) /* before the second look; doubles each time */

uint64_t verify_scope_bytes(const struct verify *verify)
{
	const struct source *source = verify->replicator->source;
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < source->count; i++)
		bytes += bitmap_count(&verify->scope[i]) * source->disks[i].block_bytes;
	return bytes;
}

static int fill_scope(struct verify *verify, unsigned int index, enum verify_scope scope,
		      struct fault *fault)
{
	const struct source_disk *disk = &verify->replicator->source->disks[index];
	struct bitmap *map = &verify->scope[index];
	char note[512];
	int error = 0;

	map->bits = disk->todo.bits;
	map->words = calloc(bitmap_words(map->bits), sizeof(uint64_t));
	if (!map->words)
		return fault_set(fault, FAULT_STOP, ENOMEM, "no memory for the map of a verify");
	if (scope == VERIFY_NOTHING)
		return 0;
	bitmap_set(map, 0, map->bits);
	if (scope == VERIFY_ALLOCATED && verify->replicator->options->allocated_only)
		error = fsmap_clear_free(&disk->disk, disk->block_bytes, map, note, sizeof(note),
					 fault);
	/* Swap contents are not replicated, so they are not compared either. */
	source_leave_out_swap(verify->replicator->source, index, map);
	return error;
}

int verify_init(struct verify *verify, struct replicator *replicator, enum verify_scope scope,
		struct fault *fault)
{
	unsigned int count = replicator->source->count;
	int error = 0;

	*verify = (struct verify){.replicator = replicator};
	verify->scope = calloc(count, sizeof(*verify->scope));
	verify->findings = calloc(VERIFY_FINDINGS_MAX, sizeof(*verify->findings));
	if (!verify->scope || !verify->findings)
		error = fault_set(fault, FAULT_STOP, ENOMEM, "no memory for a verify");
	for (unsigned int i = 0; !error && i < count; i++)
		error = fill_scope(verify, i, scope, fault);
	if (error) {
		verify_fini(verify);
		return error;
	}
	verify->all_bytes = verify_scope_bytes(verify);
	return 0;
}

void verify_fini(struct verify *verify)
{
	if (verify->scope)
		for (unsigned int i = 0; i < verify->replicator->source->count; i++)
			free(verify->scope[i].words);
	free(verify->scope);
	free(verify->findings);
	verify->scope = NULL;
	verify->findings = NULL;
}

/* On the control reader's thread, under the flow's lock, while the main thread waits for the pass. */
static void note_finding(void *context, unsigned int disk, uint64_t offset, uint32_t length,
			 enum wire_digest_verdict verdict)
{
	struct verify *verify = context;

	if (verify->findings_count == VERIFY_FINDINGS_MAX) {
		verify->findings_overflowed = true;
		return;
	}
	verify->findings[verify->findings_count++] = (struct verify_finding){
		.offset = offset,
		.length = length,
		.disk = (uint16_t)disk,
		.kind = (uint16_t)verdict,
	};
}

static bool is_cancelled(void *context)
{
	const struct verify *verify = context;
	struct session *session = verify->replicator->session;

	replicator_tick(verify->replicator);
	if (replicator_is_stopping(verify->replicator))
		return true;
	if (verify->cutover)
		return session_is_cancelled(session, verify->cutover);
	return session_has_command(session);
}

static int interrupted(struct fault *fault)
{
	return fault_set(fault, FAULT_RETRY, EINTR, "given up: another command came in");
}

static int look(struct verify *verify, struct flow_pass *pass, bool *ret_is_complete,
		struct fault *fault)
{
	struct replicator *replicator = verify->replicator;
	uint64_t before = verify_scope_bytes(verify), after;
	int error;

	pass->should_stop = is_cancelled;
	pass->stop_context = verify;
	error = flow_run_pass(session_flow(replicator->session), pass, ret_is_complete);

	if (error && !session_has_failed(replicator->session, fault))
		return fault_set(fault, FAULT_RETRY, -error, "the session ended");
	after = verify_scope_bytes(verify);
	verify->compared_bytes += before - after;
	return error;
}

int verify_look(struct verify *verify, uint32_t digest_block, uint64_t budget_ns,
		bool *ret_is_complete, struct fault *fault)
{
	struct flow_pass pass = {
		.kind = FLOW_COMPARE,
		.work = verify->scope,
		.digest_block = digest_block,
		.differs = note_finding,
		.context = verify,
		.budget_ns = budget_ns,
	};

	verify->findings_count = 0;
	verify->findings_overflowed = false;
	return look(verify, &pass, ret_is_complete, fault);
}

static void list_scope_in_todo(struct verify *verify)
{
	struct source *source = verify->replicator->source;

	for (unsigned int i = 0; i < source->count; i++) {
		struct source_disk *disk = &source->disks[i];

		bitmap_merge(&disk->todo, &verify->scope[i]);
		if (disk->changed.words)
			bitmap_merge(&disk->changed, &verify->scope[i]);
	}
}

/* Replication goes on between the slices. Without a tracker nobody knows what was written: there,
 * what a look found different is sent, as every pass of the scan tracker does. */
static int ship_between(struct verify *verify, unsigned int look_number, struct fault *fault)
{
	if (!replicator_is_scanning(verify->replicator))
		return replicator_ship(verify->replicator, fault);
	if (look_number)
		list_scope_in_todo(verify);
	return replicator_copy_todo(verify->replicator, fault);
}

/* Compares the whole scope once, in slices, each after a delta pass; or, while streaming, after all that was written
 * is applied. */
static int sweep(struct verify *verify, unsigned int look_number, struct fault *fault)
{
	struct replicator *replicator = verify->replicator;
	struct flow_pass pass = {
		.kind = FLOW_COMPARE,
		.work = verify->scope,
		.digest_block = look_number ? LOOK_BLOCK : SWEEP_BLOCK,
		.differs = note_finding,
		.context = verify,
		.budget_ns = SLICE_NS,
	};
	bool is_complete = false;
	int error;

	verify->findings_count = 0;
	verify->findings_overflowed = false;
	if (look_number && replicator_is_streaming(replicator)) {
		error = source_watch_written(replicator->source, fault);
		if (error)
			return error;
	}
	while (!is_complete) {
		if (is_cancelled(verify))
			return interrupted(fault);
		error = ship_between(verify, look_number, fault);
		if (error == -EINTR)
			continue; /* whether by a cancel is asked above */
		if (!error)
			error = look(verify, &pass, &is_complete, fault);
		if (error)
			return error;
		status_set_verify(replicator->status, verify->compared_bytes, verify->all_bytes);
	}
	return 0;
}

/* Of a finding, what no write was seen to since the look began: clean bytes. todo holds those writes, or `written`
 * if they are captured. */
static uint64_t clean_bytes(const struct source_disk *disk, const struct bitmap *scope,
			    const struct verify_finding *finding)
{
	uint64_t first = finding->offset / disk->block_bytes;
	uint64_t end =
		(finding->offset + finding->length + disk->block_bytes - 1) / disk->block_bytes;

	for (uint64_t bit = first; bit < end; bit++)
		if (bitmap_test(&disk->todo, bit) || !bitmap_test(scope, bit) ||
		    (disk->written.words && bitmap_test(&disk->written, bit)))
			return 0; /* part of it changed: the whole digest says nothing */
	return finding->length;
}

/* After a look and a take: how much really differs, and how much changed under our eyes. */
static void count_findings(struct verify *verify)
{
	const struct source *source = verify->replicator->source;
	uint64_t left = verify_scope_bytes(verify);

	verify->differed_bytes = 0;
	verify->never_copied_bytes = 0;
	verify->changing_bytes = left;
	if (replicator_is_scanning(verify->replicator))
		return; /* a change and a difference look the same to it */
	for (unsigned int i = 0; i < verify->findings_count; i++) {
		struct verify_finding *finding = &verify->findings[i];
		uint64_t bytes = clean_bytes(&source->disks[finding->disk],
					     &verify->scope[finding->disk], finding);

		if (!bytes)
			finding->length = 0;
		else if (finding->kind == WIRE_DIGEST_NEVER_COPIED)
			verify->never_copied_bytes += bytes;
		else
			verify->differed_bytes += bytes;
	}
	verify->changing_bytes = left - verify->differed_bytes - verify->never_copied_bytes;
	if (verify->findings_overflowed) {
		/* More differs than the list holds: what changed meanwhile is not the explanation. */
		verify->differed_bytes = left - verify->never_copied_bytes;
		verify->changing_bytes = 0;
	}
}

/* Looks at what differed again and again, until it is the same or certainly different. */
static int look_again(struct verify *verify, struct fault *fault)
{
	int error = 0;

	for (unsigned int n = 1; !error && n <= LOOKS_MAX && verify_scope_bytes(verify); n++) {
		uint64_t until_ns = os_monotonic_ns() + (PAUSE_NS << n);

		while (os_monotonic_ns() < until_ns) {
			replicator_tick(verify->replicator);
			os_sleep_ns(PAUSE_NS / 4);
		}
		error = sweep(verify, n, fault);
		if (!error && !replicator_is_scanning(verify->replicator))
			error = replicator_take(verify->replicator, fault);
		if (error)
			break;
		count_findings(verify);
		if (n >= DIFFERS_LOOKS && !verify->changing_bytes)
			break;
		/* What is written all the time stays in the scope, and is compared when it stands still. */
		if (n >= DIFFERS_LOOKS && verify->cutover &&
		    verify->changing_bytes <= FROZEN_MOST && !verify->differed_bytes &&
		    !verify->never_copied_bytes)
			break;
	}
	source_unwatch_written(verify->replicator->source);
	return error;
}

int verify_repair(struct verify *verify, struct fault *fault)
{
	struct verify found = *verify;
	int error;

	list_scope_in_todo(verify);
	status_set_flags(verify->replicator->status, WIRE_STATUS_VERIFYING, 0);
	error = look_again(verify, fault);
	status_set_flags(verify->replicator->status, 0, WIRE_STATUS_VERIFYING);
	if (error)
		return error;
	verify->unrepaired_bytes = verify->differed_bytes + verify->never_copied_bytes;
	verify->differed_bytes = found.differed_bytes;
	verify->never_copied_bytes = found.never_copied_bytes;
	verify->repaired_bytes =
		found.differed_bytes + found.never_copied_bytes - verify->unrepaired_bytes;
	return 0;
}

int verify_run(struct verify *verify, struct fault *fault)
{
	struct status *status = verify->replicator->status;
	int error;

	status_set_flags(status, WIRE_STATUS_VERIFYING, 0);
	error = sweep(verify, 0, fault);
	if (!error && verify_scope_bytes(verify))
		error = look_again(verify, fault);
	status_set_flags(status, 0, WIRE_STATUS_VERIFYING);
	status_set_verify(status, 0, 0);
	return error;
}
