// SPDX-License-Identifier: GPL-2.0-or-later
/* A session's phases, passes and commands; see replicate.h. */
#include "agent/replicate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/checkpoint.h"
#include "agent/cutover.h"
#include "agent/verify.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "common/units.h"

#define TICK_NS		 (200 * NS_PER_MS)
#define REFRESH_NS	 (5 * NS_PER_S) /* how often disks are looked at for size and presence */
#define RESYNC_BLOCK	 (16u * 1024)
#define SHIP_RATE_SAMPLE (4 * MIB) /* smaller passes say little about the rate */
#define READY_NS	 (500 * NS_PER_MS)

int replicator_session_fault(struct replicator *replicator, struct fault *fault)
{
	if (!session_has_failed(replicator->session, fault))
		return fault_set(fault, FAULT_RETRY, ECONNRESET, "the session ended");
	return fault ? -fault->error : -ECONNRESET;
}

static void measure_rate(struct replicator *replicator, uint64_t bytes, uint64_t took_ns)
{
	if (bytes < SHIP_RATE_SAMPLE || !took_ns)
		return;
	replicator->ship_rate =
		(replicator->ship_rate + (uint64_t)((double)bytes * NS_PER_S / (double)took_ns)) /
		2;
}

/* A pass makes way for a command; a cutover's only when that is cancelled: other commands wait. */
bool replicator_should_stop(struct replicator *replicator)
{
	if (replicator_is_stopping(replicator))
		return true;
	if (replicator->cutover)
		return session_is_cancelled(replicator->session, replicator->cutover);
	return session_has_command(replicator->session);
}

static bool should_stop(void *context)
{
	return replicator_should_stop(context);
}

/* Runs a pass over `work` (a bitmap a disk). -EINTR when it was interrupted. */
static int run_pass(struct replicator *replicator, struct flow_pass *pass, struct fault *fault)
{
	bool is_complete = false;
	uint64_t from = os_monotonic_ns();
	struct flow *flow = session_flow(replicator->session);
	struct flow_progress before, after;
	int error;

	status_set_pass(replicator->status, ++replicator->pass);
	pass->should_stop = should_stop;
	pass->stop_context = replicator;
	flow_get_progress(flow, &before);
	error = flow_run_pass(flow, pass, &is_complete);
	if (error)
		return replicator_session_fault(replicator, fault);
	flow_get_progress(flow, &after);
	measure_rate(replicator, after.sent_bytes - before.sent_bytes, os_monotonic_ns() - from);
	if (!is_complete)
		return fault_set(fault, FAULT_RETRY, EINTR, "interrupted by a command");
	return 0;
}

int replicator_copy_todo(struct replicator *replicator, struct fault *fault)
{
	struct source *source = replicator->source;
	struct bitmap work[TRACKER_DISKS_MAX];
	struct flow_pass pass = {.kind = FLOW_COPY, .work = work};
	int error;

	if (source_todo_bytes(source) == 0)
		return 0;
	for (unsigned int i = 0; i < source->count; i++)
		work[i] = source->disks[i].todo;
	error = run_pass(replicator, &pass, fault);
	if (!error)
		for (unsigned int i = 0; i < source->count; i++)
			source->disks[i].memory->stage = SOURCE_STAGE_DELTA;
	return error;
}

int replicator_ship(struct replicator *replicator, struct fault *fault)
{
	int error;

	if (replicator_is_streaming(replicator)) {
		error = replicator_drain_stream(replicator, fault);
		if (error <= 0)
			return error;
	}
	/* A command may come before streaming goes on: what the ring holds must not be sent after newer DATA. */
	error = replicator_leave_stream(replicator, CAPTURE_HOLE_NONE, fault);
	if (!error)
		error = source_take(replicator->source, fault);
	return error ? error : replicator_copy_todo(replicator, fault);
}

/* What is the same at the receiver leaves todo; what differs stays, to be copied. */
static int compare_todo(struct replicator *replicator, struct fault *fault)
{
	struct source *source = replicator->source;
	struct bitmap work[TRACKER_DISKS_MAX];
	struct flow_pass pass = {
		.kind = FLOW_COMPARE,
		.work = work,
		.digest_block = RESYNC_BLOCK,
	};
	int error;

	for (unsigned int i = 0; i < source->count; i++) {
		work[i] = source->disks[i].todo;
		if (source->disks[i].memory->stage != SOURCE_STAGE_COMPARE)
			work[i].bits = 0;
	}
	error = run_pass(replicator, &pass, fault);
	for (unsigned int i = 0; !error && i < source->count; i++)
		if (source->disks[i].memory->stage == SOURCE_STAGE_COMPARE)
			source->disks[i].memory->stage = SOURCE_STAGE_DELTA;
	return error;
}

/* I3: a disk of which a write may have been missed is compared as a whole. */
static int relist_suspects(struct replicator *replicator, struct fault *fault)
{
	struct source *source = replicator->source;
	bool relist[TRACKER_DISKS_MAX] = {false};
	char why[256] = "";
	int error = source_poll(source, relist, why, sizeof(why), fault);

	for (unsigned int i = 0; !error && i < source->count; i++) {
		uint8_t replica[WIRE_REPLICA_LEN];

		if (!relist[i])
			continue;
		log_warning("%s: comparing the whole disk by digest", why);
		status_set_flags(replicator->status, WIRE_STATUS_SUSPECT, WIRE_STATUS_READY);
		status_set_note(replicator->status, "%s: the whole disk is compared by digest",
				why);
		memcpy(replica, session_disk(replicator->session, i)->replica, sizeof(replica));
		error = source_list_all(source, i, fault);
		if (!error)
			source_adopt_replica(source, i, replica,
					     flow_acked_epoch(session_flow(replicator->session)),
					     SOURCE_STAGE_COMPARE);
	}
	return error;
}

bool replicator_is_scanning(const struct replicator *replicator)
{
	return replicator->source->tracker->ops->kind == TRACKER_SCAN;
}

/* One round: compare where that is due, copy what is left. 0 when all of it is settled. */
static int run_round(struct replicator *replicator, struct fault *fault)
{
	struct source *source = replicator->source;
	int error = 0;

	if (replicator_is_scanning(replicator) && replicator->has_been_complete)
		status_set_phase(replicator->status, WIRE_PHASE_DELTA);
	else if (source_has_stage(source, SOURCE_STAGE_COPY))
		status_set_phase(replicator->status, WIRE_PHASE_FULL);
	else if (source_has_stage(source, SOURCE_STAGE_COMPARE))
		status_set_phase(replicator->status, WIRE_PHASE_RESYNC);
	else
		status_set_phase(replicator->status, WIRE_PHASE_DELTA);
	if (source_has_stage(source, SOURCE_STAGE_COMPARE))
		error = compare_todo(replicator, fault);
	if (!error)
		error = replicator_copy_todo(replicator, fault);
	if (error)
		return error;
	replicator->has_been_complete = true;
	status_set_phase(replicator->status, WIRE_PHASE_DELTA);
	status_set_flags(replicator->status, 0, WIRE_STATUS_SUSPECT);
	return 0;
}

/* Would the rest ship in well under a second? Blocks that cannot be read are never shipped. */
static bool is_ready(struct replicator *replicator)
{
	struct source *source = replicator->source;
	uint64_t limit = rate_limit_get(replicator->limit);
	uint64_t rate = limit && limit < replicator->ship_rate ? limit : replicator->ship_rate;

	return source_todo_bytes(source) == 0 &&
	       (double)source_dirty_bytes(source) * NS_PER_S / (double)rate < READY_NS;
}

static void reply_simple(struct replicator *replicator, const struct wire_command *command,
			 const char *text)
{
	struct wire_reply reply = {.id = command->id};

	snprintf(reply.text, sizeof(reply.text), "%s", text);
	(void)session_reply(replicator->session, &reply);
}

static void run_command(struct replicator *replicator, const struct wire_command *command)
{
	switch ((enum wire_command_kind)command->kind) {
	case WIRE_COMMAND_PAUSE:
		replicator->is_paused = true;
		status_set_phase(replicator->status, WIRE_PHASE_PAUSED);
		log_info("paused by command; writes go on being tracked");
		reply_simple(replicator, command, "paused");
		return;
	case WIRE_COMMAND_RESUME:
		replicator->is_paused = false;
		log_info("resumed by command");
		reply_simple(replicator, command, "resumed");
		return;
	case WIRE_COMMAND_LIMIT:
		return; /* session.c has done it */
	case WIRE_COMMAND_VERIFY:
		verify_command(replicator, command);
		return;
	case WIRE_COMMAND_CUTOVER:
		cutover_command(replicator, command);
		return;
	case WIRE_COMMAND_CHECKPOINT:
		checkpoint_command(replicator, command);
		return;
	case WIRE_COMMAND_FORGET:
		log_info("this machine was removed at the receiver: ending");
		replicator->is_removed = true;
		reply_simple(replicator, command, "ended");
		return;
	}
	reply_simple(replicator, command, "this agent does not know that command");
}

/* Waits until deadline, running the commands that come in. Returns false when the session is over. */
bool replicator_attend(struct replicator *replicator, uint64_t deadline_ns)
{
	struct wire_command command;

	for (;;) {
		uint64_t now = os_monotonic_ns();
		uint64_t until = now + TICK_NS < deadline_ns ? now + TICK_NS : deadline_ns;

		if (replicator_is_stopping(replicator) || replicator->is_removed ||
		    session_has_failed(replicator->session, NULL))
			return false;
		if (session_next_command(replicator->session, until, &command))
			run_command(replicator, &command);
		else if (os_monotonic_ns() >= deadline_ns)
			return true;
	}
}

/* -ESTALE when a disk changed its size: the source has to be opened anew. */
int replicator_refresh_disks(struct replicator *replicator, uint64_t *refreshed_ns,
			     struct fault *fault)
{
	struct source *source = replicator->source;

	if (os_monotonic_ns() - *refreshed_ns < REFRESH_NS)
		return 0;
	*refreshed_ns = os_monotonic_ns();
	for (unsigned int i = 0; i < source->count; i++) {
		struct tracked_disk now = source->disks[i].disk;
		int error = disks_refresh(&now, fault);

		if (error)
			return error;
		if (now.sequence != source->disks[i].disk.sequence)
			return fault_set(fault, FAULT_RETRY, ESTALE, "%s is another disk now",
					 now.path);
		if (now.size_bytes != source->disks[i].disk.size_bytes)
			return fault_set(fault, FAULT_RETRY, ESTALE,
					 "%s changed its size from %llu to %llu bytes", now.path,
					 (unsigned long long)source->disks[i].disk.size_bytes,
					 (unsigned long long)now.size_bytes);
	}
	return 0;
}

int replicator_replicate(struct replicator *replicator, struct fault *fault)
{
	struct source *source = replicator->source;
	uint64_t refreshed_ns = os_monotonic_ns();
	int error = 0;

	while (replicator_attend(replicator, 0)) {
		if (replicator->fenced)
			return 0;
		if (replicator->is_paused) {
			(void)replicator_attend(replicator, os_monotonic_ns() + NS_PER_S);
			continue;
		}
		if (replicator_may_stream(replicator)) {
			error = replicator_run_stream(replicator, fault);
			if (error)
				return error;
			continue;
		}
		error = replicator_refresh_disks(replicator, &refreshed_ns, fault);
		if (!error)
			error = replicator_leave_stream(replicator, CAPTURE_HOLE_NONE, fault);
		if (!error)
			error = relist_suspects(replicator, fault);
		if (!error)
			error = run_round(replicator, fault);
		if (error == -EINTR)
			continue; /* a command came in; the bits say where to go on */
		if (error)
			return error;
		if (is_ready(replicator)) {
			status_set_flags(replicator->status, WIRE_STATUS_READY, 0);
			status_set_note(replicator->status, "%s", source->note);
			(void)replicator_attend(replicator,
						os_monotonic_ns() +
							replicator->options->pass_interval_ns);
		} else {
			status_set_flags(replicator->status, 0, WIRE_STATUS_READY);
			/* Blocks that cannot be read stay listed: do not spin on them. */
			if (source_todo_bytes(source)) {
				status_set_note(replicator->status,
						"%llu bytes of the source cannot be read (the "
						"agent's log says where): tried again and again",
						(unsigned long long)source_todo_bytes(source));
				(void)replicator_attend(replicator, os_monotonic_ns() + NS_PER_S);
			}
		}
		if (session_has_command(replicator->session) || replicator->fenced ||
		    replicator_may_stream(replicator))
			continue;
		error = source_take(source, fault);
		if (error)
			return error;
		if (replicator_is_scanning(replicator))
			for (unsigned int i = 0; i < source->count; i++)
				source->disks[i].memory->stage = SOURCE_STAGE_COMPARE;
	}
	if (session_has_failed(replicator->session, fault))
		return fault ? -fault->error : -ECONNRESET;
	return 0;
}
