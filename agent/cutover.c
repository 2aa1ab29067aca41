// SPDX-License-Identifier: GPL-2.0-or-later
/* The agent's part of a cutover; see cutover.h. */
#include "agent/cutover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/cutover_internal.h"
#include "agent/stream.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "common/units.h"

#define CONVERGE_ROUNDS	 12
#define CONVERGE_ENOUGH	 (60 * NS_PER_MS) /* a sync and a pass this short: freeze now */
#define DRAIN_ROUNDS	 8
#define SEAL_MARK_NS	 NS_PER_S
#define TIMEOUT_LEAST_MS 100
#define TIMEOUT_MOST_MS	 (10 * 60 * 1000)
#define FENCED_HEARD_NS	 (5 * NS_PER_S)
#define FENCED_REPEAT_NS (20 * NS_PER_S)
#define FENCED_PAUSE_NS	 (500 * NS_PER_MS)

int cutover_step_done(struct cutover *cutover, enum wire_cutover_step step, uint64_t bytes,
		      const char *format, ...)
{
	struct wire_step message = {
		.id = cutover->command->id,
		.step = (uint16_t)step,
		.took_ns = os_monotonic_ns() - cutover->step_began_ns,
		.bytes = bytes,
	};
	va_list args;

	va_start(args, format);
	vsnprintf(message.text, sizeof(message.text), format, args);
	va_end(args);
	cutover->step_began_ns = os_monotonic_ns();
	return session_send(cutover->replicator->session, WIRE_STEP, &message, sizeof(message));
}

static int new_freezer(struct cutover *cutover, struct freezer **ret_freezer, struct fault *fault)
{
	const struct source *source = cutover->replicator->source;
	struct tracked_disk disks[TRACKER_DISKS_MAX];

	for (unsigned int i = 0; i < source->count; i++)
		disks[i] = source->disks[i].disk;
	return freezer_new(disks, source->count, ret_freezer, fault);
}

static int list_file_systems(struct cutover *cutover, struct fault *fault)
{
	int error = new_freezer(cutover, &cutover->freezer, fault);

	if (!error)
		error = freezer_check(cutover->freezer, fault);
	return error ? fault_prefix(fault, "not everything can be frozen") : 0;
}

/* What was mounted since the list was made is not frozen: then nothing is. */
static int check_list(struct cutover *cutover, struct fault *fault)
{
	struct freezer *now;
	int error = new_freezer(cutover, &now, fault);

	if (error)
		return error;
	if (strcmp(freezer_text(now), freezer_text(cutover->freezer)) != 0)
		error = fault_set(fault, FAULT_STOP, EBUSY,
				  "file systems were mounted or unmounted meanwhile; now: %s",
				  freezer_text(now));
	freezer_free(now);
	return error;
}

static int check(struct cutover *cutover, struct fault *fault)
{
	struct replicator *replicator = cutover->replicator;
	const struct wire_command *command = cutover->command;
	int error;

	if (replicator->is_paused)
		return fault_set(fault, FAULT_STOP, EAGAIN,
				 "replication is paused: 'blkferry resume' first");
	if (!(status_flags(replicator->status) & WIRE_STATUS_READY))
		return fault_set(fault, FAULT_STOP, EAGAIN,
				 "not ready: wait until 'blkferry status' says so");
	if (command->value < TIMEOUT_LEAST_MS || command->value > TIMEOUT_MOST_MS)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "the timeout must lie between %d ms and %d s", TIMEOUT_LEAST_MS,
				 TIMEOUT_MOST_MS / 1000);
	if (command->fence < FENCE_POWEROFF || command->fence > FENCE_HOLD)
		return fault_set(fault, FAULT_STOP, EINVAL, "unknown kind of fence");
	cutover->fence = command->fence;
	error = list_file_systems(cutover, fault);
	if (error)
		return error;
	error = cutover_step_done(cutover, WIRE_STEP_CHECKS, 0, "%u file systems: %s",
				  freezer_count(cutover->freezer), freezer_text(cutover->freezer));
	/* The verify may take hours: no mount point is held open so long, and more may be mounted. */
	freezer_free(cutover->freezer);
	cutover->freezer = NULL;
	return error;
}

static int run_hook(struct cutover *cutover, struct fault *fault)
{
	const struct agent_options *options = cutover->replicator->options;
	int error;

	if (!options->pre_freeze_command)
		return 0;
	cutover->is_hooked = true; /* also when it fails half way: post-thaw puts things back */
	error = process_run_hook("pre-freeze-command", options->pre_freeze_command,
				 options->hook_timeout_ns, fault);
	if (error)
		return error;
	return cutover_step_done(cutover, WIRE_STEP_HOOK, 0, "pre-freeze-command");
}

/* Syncs and ships until there is so little left that the freeze will be short. */
static int converge(struct cutover *cutover, struct fault *fault)
{
	struct replicator *replicator = cutover->replicator;
	unsigned int rounds = 0;
	int failed = list_file_systems(cutover, fault);

	if (failed || replicator_is_scanning(replicator))
		return failed;
	while (rounds++ < CONVERGE_ROUNDS) {
		uint64_t from = os_monotonic_ns();
		int error;

		if (session_is_cancelled(replicator->session, cutover->command->id))
			return fault_set(fault, FAULT_STOP, ECANCELED, "cancelled");
		freezer_sync(cutover->freezer);
		error = replicator_ship(replicator, fault);
		if (error && error != -EINTR)
			return error;
		if (os_monotonic_ns() - from < CONVERGE_ENOUGH)
			break;
	}
	return cutover_step_done(cutover, WIRE_STEP_CONVERGE, 0, "%u rounds of sync and pass",
				 rounds);
}

static int freeze(struct cutover *cutover, struct fault *fault)
{
	int error;

	/* From here on nothing may wait for a disk: whoever reads our messages may be frozen. */
	log_hold();
	cutover->step_began_ns = os_monotonic_ns();
	cutover->frozen_at_ns = cutover->step_began_ns;
	cutover->deadline_ns = cutover->frozen_at_ns + cutover->command->value * NS_PER_MS;
	error = freezer_freeze(cutover->freezer, cutover->deadline_ns, fault);
	if (!error)
		error = check_list(cutover, fault);
	if (error)
		return error;
	return cutover_step_done(cutover, WIRE_STEP_FREEZE, 0, "%u file systems frozen",
				 freezer_count(cutover->freezer));
}

static int check_deadline(struct cutover *cutover, const char *what, struct fault *fault)
{
	struct session *session = cutover->replicator->session;

	if (session_is_cancelled(session, cutover->command->id))
		return fault_set(fault, FAULT_STOP, ECANCELED, "cancelled");
	if (os_monotonic_ns() >= cutover->deadline_ns)
		return fault_set(fault, FAULT_STOP, ETIMEDOUT,
				 "not done within %" PRIu64 " ms of freeze (%s): thawed; a larger "
				 "--timeout or fewer writes help",
				 (uint64_t)cutover->command->value, what);
	if (!freezer_is_frozen(cutover->freezer))
		return fault_set(fault, FAULT_STOP, ETIMEDOUT, "the disks were thawed (%s)", what);
	return 0;
}

/* The scan tracker sees no writes: now that all stand still, compare everything and copy what differs. */
static int drain_by_comparing(struct cutover *cutover, struct fault *fault)
{
	struct source *source = cutover->replicator->source;
	bool is_complete;
	struct verify all;
	int error = verify_init(&all, cutover->replicator, VERIFY_ALLOCATED, fault);

	if (!error)
		error = verify_look(&all, 16 * 1024, 0, &is_complete, fault);
	for (unsigned int i = 0; !error && i < source->count; i++) {
		if (cutover->is_certifying)
			bitmap_merge(&cutover->verify.scope[i], &all.scope[i]);
		bitmap_move(&source->disks[i].todo, &all.scope[i]);
	}
	cutover->certified_bytes += all.compared_bytes;
	if (all.scope)
		verify_fini(&all);
	while (!error && source_todo_bytes(source)) {
		error = check_deadline(cutover, "draining", fault);
		if (!error)
			error = replicator_copy_todo(cutover->replicator, fault);
		if (error == -EINTR)
			error = 0; /* a command came in; it waits */
	}
	return error;
}

/* The ring's rest, and blocks that are no part of it; until the receiver has applied all of it. */
static int drain_stream(struct cutover *cutover, struct fault *fault)
{
	struct replicator *replicator = cutover->replicator;
	struct source *source = replicator->source;
	uint64_t lag = stream_lag_bytes(session_stream(replicator->session));

	for (unsigned int round = 0; round < DRAIN_ROUNDS; round++) {
		int error = check_deadline(cutover, "draining", fault);

		if (!error)
			error = replicator_ship(replicator, fault);
		if (error && error != -EINTR)
			return error;
		if (!replicator_is_streaming(replicator))
			return fault_set(fault, FAULT_STOP, EAGAIN,
					 "the stream broke while everything was frozen");
		if (!error && !source_todo_bytes(source) && !source_dirty_bytes(source))
			return cutover_step_done(cutover, WIRE_STEP_DRAIN, lag,
						 "the stream's rest is applied at the target");
	}
	return fault_set(fault, FAULT_STOP, EBUSY,
			 "the disks are written although all file systems are frozen: is something "
			 "writing to a disk directly?");
}

/* Ships until nothing is left: with everything frozen the second take finds nothing. */
static int drain(struct cutover *cutover, struct fault *fault)
{
	struct replicator *replicator = cutover->replicator;
	uint64_t bytes = 0, left;
	int error;

	if (replicator_is_streaming(replicator))
		return drain_stream(cutover, fault);
	if (replicator_is_scanning(replicator)) {
		error = drain_by_comparing(cutover, fault);
		if (error)
			return error;
		return cutover_step_done(cutover, WIRE_STEP_DRAIN, 0, "compared and shipped");
	}
	for (unsigned int round = 0; round < DRAIN_ROUNDS; round++) {
		error = check_deadline(cutover, "draining", fault);
		if (!error)
			error = source_take(replicator->source, fault);
		if (error)
			return error;
		left = source_todo_bytes(replicator->source);
		if (!left)
			return cutover_step_done(cutover, WIRE_STEP_DRAIN, bytes,
						 "shipped and flushed at the target");
		bytes += left;
		error = replicator_copy_todo(replicator, fault);
		if (error && error != -EINTR)
			return error;
	}
	return fault_set(fault, FAULT_STOP, EBUSY,
			 "the disks are written although all file systems are frozen: is something "
			 "writing to a disk directly?");
}

/* Writes after the last take abort the cutover: the seal would not be true. */
static int check_still(struct cutover *cutover, struct fault *fault)
{
	struct replicator *replicator = cutover->replicator;
	struct source *source = replicator->source;
	int error;

	if (replicator_is_scanning(replicator))
		return 0;
	if (replicator_is_streaming(replicator)) {
		error = stream_has_moved(session_stream(replicator->session), fault);
	} else {
		error = source_take(source, fault);
		if (!error)
			error = source_todo_bytes(source) > 0;
	}
	if (error > 0)
		error = fault_set(
			fault, FAULT_STOP, EBUSY,
			"a disk was written after the last block was shipped: is something "
			"writing to it directly, past the file systems?");
	/* I3: a command past the block layer's reads and writes has no address, and no bit. */
	return error ? error : source_check_suspects(source, fault);
}

/* The stream ends with a checkpoint, which is the state that the target machine starts from. */
static int mark_seal(struct cutover *cutover, struct fault *fault)
{
	struct replicator *replicator = cutover->replicator;
	struct stream *stream = session_stream(replicator->session);
	const uint32_t flags = WIRE_MARK_SEAL | WIRE_MARK_FROZEN;
	struct fault why = {0};
	uint64_t number;
	int error;

	if (replicator_is_streaming(replicator))
		return stream_mark(stream, flags, cutover->deadline_ns, &number, fault);
	if (!stream || replicator_is_scanning(replicator))
		return 0;
	/* Everything is on the target without it: a journal that is full must not keep the machine here. */
	error = stream_mark_left(stream, flags, os_monotonic_ns() + SEAL_MARK_NS, &number, &why);
	if (session_has_failed(replicator->session, fault))
		return fault_prefix(fault, "before SEAL");
	if (error)
		log_warning("ignoring that there is no checkpoint of the sealed state: %s",
			    why.text);
	return 0;
}

static int seal(struct cutover *cutover, struct fault *fault)
{
	struct replicator *replicator = cutover->replicator;
	struct wire_seal message = {
		.id = cutover->command->id,
		.epoch = flow_acked_epoch(session_flow(replicator->session)),
		.certified_bytes = cutover->certified_bytes,
		.repaired_bytes = cutover->repaired_bytes,
	};
	int error = check_deadline(cutover, "sealing", fault);

	if (!error)
		error = mark_seal(cutover, fault);
	if (!error)
		error = check_still(cutover, fault);
	if (error)
		return error;
	message.frozen_ns = os_monotonic_ns() - cutover->frozen_at_ns;
	error = session_send(replicator->session, WIRE_SEAL, &message, sizeof(message));
	return error ? error
		     : cutover_step_done(cutover, WIRE_STEP_SEAL, 0, "nothing written since");
}

/* The point of no return lies inside: freezer_commit. */
static int await_commit(struct cutover *cutover, struct fault *fault)
{
	struct replicator *replicator = cutover->replicator;
	enum session_answer answer = session_wait_answer(replicator->session, cutover->command->id,
							 cutover->deadline_ns);
	int error;

	if (answer == SESSION_ANSWER_CANCEL)
		return fault_set(fault, FAULT_STOP, ECANCELED, "cancelled");
	if (answer != SESSION_ANSWER_COMMIT) {
		if (session_has_failed(replicator->session, fault))
			return fault_prefix(fault, "before COMMIT");
		return fault_set(fault, FAULT_STOP, ETIMEDOUT,
				 "the receiver did not commit within %" PRIu64 " ms of freeze",
				 (uint64_t)cutover->command->value);
	}
	error = check_still(cutover, fault);
	if (!error)
		error = freezer_commit(cutover->freezer, cutover->fence, fault);
	if (error)
		return error;
	/* FENCED was not said yet: a last look, after which only the fence stands. */
	error = check_still(cutover, fault);
	if (error) {
		(void)freezer_uncommit(cutover->freezer);
		return error;
	}
	replicator->fenced = cutover->command->id;
	cutover->data_downtime_ns = os_monotonic_ns() - cutover->frozen_at_ns;
	return 0;
}

/* Says FENCED until it was heard, for a while: the fence must not wait for a network for ever. */
static void say_fenced(struct cutover *cutover)
{
	struct replicator *replicator = cutover->replicator;
	struct wire_fenced message = {
		.id = replicator->fenced,
		.data_downtime_ns = cutover->data_downtime_ns,
		.fence = (uint16_t)cutover->fence,
	};
	uint64_t deadline = os_monotonic_ns() + FENCED_HEARD_NS;
	uint64_t until = os_monotonic_ns() + FENCED_REPEAT_NS;
	struct session_setup setup;

	status_set_phase(replicator->status, WIRE_PHASE_FENCED);
	if (!session_send(replicator->session, WIRE_FENCED, &message, sizeof(message)))
		replicator->is_fenced_heard =
			session_wait_answer(replicator->session, replicator->fenced, deadline) ==
			SESSION_ANSWER_FENCED_HEARD;
	setup = replicator_session_setup(replicator);
	while (!replicator->is_fenced_heard && os_monotonic_ns() < until) {
		replicator->is_fenced_heard = session_repeat_fenced(&setup, until, NULL) == 0;
		if (!replicator->is_fenced_heard)
			os_sleep_ns(FENCED_PAUSE_NS);
	}
}

/* Everything up to the point of no return. */
static int run_steps(struct cutover *cutover, struct fault *fault)
{
	static int (*const steps[])(struct cutover *, struct fault *) = {
		cutover_certify_live,	run_hook, converge,	freeze, drain,
		cutover_certify_frozen, seal,	  await_commit,
	};
	struct fault late;
	bool is_frozen = false;
	int error = check(cutover, fault);

	if (error || cutover->command->flags & WIRE_CUTOVER_DRY_RUN)
		return error;
	for (unsigned int i = 0; !error && i < sizeof(steps) / sizeof(steps[0]); i++) {
		error = steps[i](cutover, fault);
		is_frozen |= !error && steps[i] == freeze;
	}
	/* Whatever a step found after the watchdog has thawed, it found because of that. */
	if (error && is_frozen &&
	    check_deadline(cutover, "the steps after it", &late) == -ETIMEDOUT) {
		*fault = late;
		error = -ETIMEDOUT;
	}
	return error;
}

static void undo(struct cutover *cutover)
{
	const struct agent_options *options = cutover->replicator->options;
	struct fault fault = {0};

	if (cutover->freezer)
		freezer_thaw(cutover->freezer);
	log_release();
	if (cutover->is_hooked && options->post_thaw_command &&
	    process_run_hook("post-thaw-command", options->post_thaw_command,
			     options->hook_timeout_ns, &fault))
		log_error("%s", fault.text);
}

static void reply_to(struct replicator *replicator, uint64_t id, int error, const char *text)
{
	struct wire_reply reply = {.id = id, .error = (uint32_t)-error};

	snprintf(reply.text, sizeof(reply.text), "%s", text);
	(void)session_reply(replicator->session, &reply);
}

void cutover_command(struct replicator *replicator, const struct wire_command *command)
{
	struct cutover cutover = {
		.replicator = replicator,
		.command = command,
		.step_began_ns = os_monotonic_ns(),
		.is_certifying = !(command->flags & WIRE_CUTOVER_NO_CERTIFY),
	};
	struct fault fault = {0};
	int error;

	log_info("cutover begins%s", command->flags & WIRE_CUTOVER_DRY_RUN ? " (dry run)" : "");
	status_set_phase(replicator->status, WIRE_PHASE_CUTOVER);
	replicator->cutover = command->id;
	error = run_steps(&cutover, &fault);
	replicator->cutover = 0;
	if (error && !fault.text[0] && !session_has_failed(replicator->session, &fault))
		fault_set(&fault, FAULT_RETRY, -error, "the connection to the receiver was cut");
	source_unwatch_changes(replicator->source);
	if (cutover.has_verify)
		verify_fini(&cutover.verify);
	if (error || command->flags & WIRE_CUTOVER_DRY_RUN) {
		undo(&cutover);
		freezer_free(cutover.freezer);
		status_set_phase(replicator->status, WIRE_PHASE_DELTA);
		if (error)
			log_warning("cutover given up: %s", fault.text);
		reply_to(replicator, command->id, error,
			 error ? fault.text : "all checks passed; nothing was changed");
		return;
	}
	/* I9: fenced. Say so until it is heard; then make it final. */
	(void)cutover_step_done(&cutover, WIRE_STEP_COMMIT, 0, "committed; nothing thaws any more");
	replicator->freezer = cutover.freezer;
	say_fenced(&cutover);
	error = fence_run(cutover.fence);
	/* Only `hold` comes back. */
	if (error)
		log_error("the fence failed: %s; the file systems stay frozen", strerror(-error));
}
