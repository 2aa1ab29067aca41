// SPDX-License-Identifier: GPL-2.0-or-later
/* Catching up and streaming, as the main thread does it; see replicate.h and stream.h. */
#include <errno.h>

#include "agent/replicate.h"
#include "agent/stream.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "common/units.h"

#define LOOK_NS	       NS_PER_S	      /* how often the tracker is asked for suspects */
#define FRESH_NS       (3 * NS_PER_S) /* ready: the newest durable mark is younger */
#define PAUSE_LEAST_NS NS_PER_S
#define PAUSE_MOST_NS  (60 * NS_PER_S)
#define HELD_ENOUGH_NS (60 * NS_PER_S) /* streaming for so long: the next gap is a new one */

static struct stream *stream_of(struct replicator *replicator)
{
	return replicator->session ? session_stream(replicator->session) : NULL;
}

/* Nobody takes what an earlier session's stream captured: it becomes bits, for passes. */
static int end_capture(struct source *source, struct fault *fault)
{
	const char *why_not;
	struct capture *capture = source_capture(source, &why_not);

	return capture ? capture_spill(capture, capture_released(capture), fault) : 0;
}

int replicator_join_stream(struct replicator *replicator, struct fault *fault)
{
	struct stream *stream;
	int error;

	replicator->is_joined = false;
	error = session_start_stream(replicator->session, replicator->own_stream, fault);
	stream = stream_of(replicator);
	if (error)
		return error;
	return stream ? stream_join(stream, &replicator->is_joined, fault)
		      : end_capture(replicator->source, fault);
}

bool replicator_is_streaming(struct replicator *replicator)
{
	struct stream *stream = stream_of(replicator);

	return stream && stream_is_on(stream);
}

bool replicator_may_stream(struct replicator *replicator)
{
	struct stream *stream = stream_of(replicator);
	const struct source *source = replicator->source;
	const char *why_not;

	if (!stream || replicator->is_paused || !source_capture(replicator->source, &why_not) ||
	    source_has_stage(source, SOURCE_STAGE_COPY) ||
	    source_has_stage(source, SOURCE_STAGE_COMPARE))
		return false;
	if (replicator->is_joined)
		return true;
	return os_monotonic_ns() >= replicator->stream_after_ns &&
	       status_flags(replicator->status) & WIRE_STATUS_READY;
}

int replicator_leave_stream(struct replicator *replicator, enum capture_hole reason,
			    struct fault *fault)
{
	struct stream *stream = stream_of(replicator);
	int error;

	replicator->is_joined = false;
	if (!stream || stream_is_left(stream))
		return 0;
	status_set_phase(replicator->status,
			 replicator->is_paused ? WIRE_PHASE_PAUSED : WIRE_PHASE_DELTA);
	status_set_flags(replicator->status, 0, WIRE_STATUS_READY);
	error = stream_leave(stream, reason, fault);
	return error == -ECONNRESET ? replicator_session_fault(replicator, fault) : error;
}

/* The ring was full, or cannot be read: passes bring the rest nearer before it is tried again. */
static int give_way(struct replicator *replicator, uint64_t began_ns, struct fault *fault)
{
	uint64_t now = os_monotonic_ns();
	uint64_t pause = replicator->stream_pause_ns;

	pause = !pause || now - began_ns > HELD_ENOUGH_NS ? PAUSE_LEAST_NS : pause * 2;
	replicator->stream_pause_ns = pause < PAUSE_MOST_NS ? pause : PAUSE_MOST_NS;
	replicator->stream_after_ns = now + replicator->stream_pause_ns;
	log_warning("the stream has a gap: %s; delta passes go on", fault->text);
	return replicator_leave_stream(replicator, CAPTURE_HOLE_RING_FULL, fault);
}

/* Streaming ends when a write may have been missed (I3), or a disk is not what it was. */
static int look_at_disks(struct replicator *replicator, uint64_t *looked_ns, uint64_t *refreshed_ns,
			 bool *ret_is_suspect, struct fault *fault)
{
	bool relist[TRACKER_DISKS_MAX] = {false};
	char why[256] = "";
	int error;

	*ret_is_suspect = false;
	if (os_monotonic_ns() - *looked_ns < LOOK_NS)
		return 0;
	*looked_ns = os_monotonic_ns();
	error = replicator_refresh_disks(replicator, refreshed_ns, fault);
	if (!error)
		error = source_poll(replicator->source, relist, why, sizeof(why), fault);
	for (unsigned int i = 0; !error && i < replicator->source->count; i++)
		*ret_is_suspect |= relist[i];
	return error;
}

static void show(struct replicator *replicator, struct stream *stream)
{
	uint64_t marked_ns = stream_marked_ns(stream);
	uint64_t age_ns = os_monotonic_ns() - marked_ns;
	bool is_fresh = marked_ns &&
			age_ns < FRESH_NS + 2 * replicator->options->checkpoint_interval_ns;

	status_set_phase(replicator->status,
			 stream_is_consistent(stream) ? WIRE_PHASE_STREAMING : WIRE_PHASE_CATCH_UP);
	if (is_fresh)
		replicator->has_been_complete = true;
	status_set_flags(replicator->status, is_fresh ? WIRE_STATUS_READY : 0,
			 is_fresh ? 0 : WIRE_STATUS_READY);
	if (stream_has_unreadable(stream))
		status_set_note(replicator->status,
				"%llu bytes of the source cannot be read (the agent's log says "
				"where): no checkpoint before they can",
				(unsigned long long)source_todo_bytes(replicator->source));
	else
		status_set_note(replicator->status, "%s", replicator->source->note);
}

int replicator_run_stream(struct replicator *replicator, struct fault *fault)
{
	struct stream *stream = stream_of(replicator);
	uint64_t began_ns = os_monotonic_ns(), looked_ns = 0, refreshed_ns = began_ns;
	bool was_consistent = false, is_suspect = false;
	int error = 0;

	log_info(replicator->is_joined ? "the stream goes on" : "catching up: capture is on");
	replicator->is_joined = false;
	stream_begin(stream);
	while (replicator_attend(replicator, 0) && !replicator->fenced) {
		if (replicator->is_paused)
			return replicator_leave_stream(replicator, CAPTURE_HOLE_NONE, fault);
		if (!stream_is_on(stream))
			return 0; /* a command had to leave it */
		error = look_at_disks(replicator, &looked_ns, &refreshed_ns, &is_suspect, fault);
		if (error)
			return error;
		if (is_suspect)
			return replicator_leave_stream(replicator, CAPTURE_HOLE_UNKNOWN, fault);
		error = stream_step(stream, fault);
		if (error == -ECONNRESET)
			return replicator_session_fault(replicator, fault);
		if (error)
			return give_way(replicator, began_ns, fault);
		if (stream_is_consistent(stream) && !was_consistent)
			log_info("streaming");
		was_consistent = stream_is_consistent(stream);
		show(replicator, stream);
		stream_rest(stream);
	}
	return 0;
}

void replicator_tick(struct replicator *replicator)
{
	/* What fails here fails again where it is looked at. */
	if (replicator_is_streaming(replicator))
		(void)stream_step(stream_of(replicator), NULL);
}

static bool should_stop(void *context)
{
	return replicator_should_stop(context);
}

int replicator_take(struct replicator *replicator, struct fault *fault)
{
	uint64_t began_ns = os_monotonic_ns();
	int error;

	if (!replicator_is_streaming(replicator))
		return source_take(replicator->source, fault);
	error = stream_take_all(stream_of(replicator), should_stop, replicator, fault);
	if (error == -ECONNRESET)
		return replicator_session_fault(replicator, fault);
	if (!error || error == -EINTR)
		return error;
	error = give_way(replicator, began_ns, fault);
	return error ? error : source_take(replicator->source, fault);
}

int replicator_drain_stream(struct replicator *replicator, struct fault *fault)
{
	uint64_t began_ns = os_monotonic_ns();
	int error = stream_drain(stream_of(replicator), should_stop, replicator, fault);

	if (error == -ECONNRESET)
		return replicator_session_fault(replicator, fault);
	if (!error || error == -EINTR)
		return error;
	error = give_way(replicator, began_ns, fault);
	return error ? error : 1;
}
