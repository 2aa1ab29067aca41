// SPDX-License-Identifier: GPL-2.0-or-later
/* Marks: places that become checkpoints when they are confirmed; see stream.h. */
#include <errno.h>

#include "agent/stream_internal.h"

#define QUIET_NS       (50 * NS_PER_MS) /* nothing captured for so long: a good place */
#define QUIET_APART_NS (200 * NS_PER_MS)

static int add_mark(struct stream *stream, uint64_t wall_ns, uint32_t flags)
{
	struct wire_record record = {
		.kind = WIRE_RECORD_MARK,
		.offset = wall_ns,
		.length = ++stream->mark_number,
		.flags = flags,
	};

	return stream_add(stream, &record, NULL);
}

static int add_confirm(struct stream *stream)
{
	struct wire_record record = {
		.kind = WIRE_RECORD_CONFIRM,
		.length = stream->mark.number,
	};
	int error = stream_add(stream, &record, NULL);

	stream->mark.is_pending = false;
	stream->confirmed = (struct stream_confirmed){
		.number = stream->mark.number,
		.batch = stream_next_batch(stream),
		.made_ns = stream->mark.made_ns,
	};
	if (!stream->awaited.batch)
		stream->awaited = stream->confirmed;
	return error ? error : stream_flush(stream);
}

/*
 * Position, holes, notes, in this order: a write that completed before the position lies below it, or was a hole
 * that is counted, or was not seen and is still noted as on its way. *ret_is_made is false where the stream is not
 * consistent.
 */
static int make_mark(struct stream *stream, uint32_t flags, bool *ret_is_made, struct fault *fault)
{
	struct capture *capture = stream->capture;
	uint64_t position = capture_produced(capture);
	uint64_t made_ns = os_monotonic_ns(), wall_ns = os_realtime_ns();
	uint64_t holes = capture_holes(capture);
	int error;

	*ret_is_made = false;
	if (!stream->is_consistent || holes != stream->repaired_holes)
		return 0;
	capture_notes_take(capture, stream->notes);
	if (capture_notes_have_settled(capture, stream->notes))
		flags |= WIRE_MARK_QUIET;
	error = stream_pump(stream, position, fault);
	if (error || !stream->is_consistent || capture_holes(capture) != holes)
		return error;
	if (add_mark(stream, wall_ns, flags))
		return stream_session_over(fault);
	stream->mark = (struct stream_mark){
		.is_pending = true,
		.number = stream->mark_number,
		.holes = holes,
		.made_ns = made_ns,
	};
	stream->mark_position = position;
	stream->mark_due_ns = made_ns + stream->setup.interval_ns;
	*ret_is_made = true;
	return 0;
}

/* I3: a disk of which a write may have been missed is not what the stream says. */
static int look_for_suspects(struct stream *stream, bool *ret_is_suspect, struct fault *fault)
{
	bool relist[TRACKER_DISKS_MAX] = {false};
	struct source *source = stream->setup.source;
	char why[256];
	int error = source_poll(source, relist, why, sizeof(why), fault);

	*ret_is_suspect = false;
	for (unsigned int i = 0; !error && i < source->count; i++)
		*ret_is_suspect |= relist[i];
	return error;
}

/* Settled and suspects first, then the holes: finding out what became of a request may count one. */
static int look_at_pending(struct stream *stream, struct fault *fault)
{
	bool is_suspect = false;
	int error;

	if (!capture_notes_have_settled(stream->capture, stream->notes))
		return 0;
	error = look_for_suspects(stream, &is_suspect, fault);
	if (error)
		return error;
	if (is_suspect)
		stream->is_consistent = false;
	if (is_suspect || capture_holes(stream->capture) != stream->mark.holes) {
		stream->mark.is_pending = false; /* it will never be confirmed */
		return 0;
	}
	return add_confirm(stream) ? stream_session_over(fault) : 0;
}

static bool is_mark_due(const struct stream *stream, uint64_t now)
{
	uint64_t since = now + stream->setup.interval_ns - stream->mark_due_ns;

	if (now >= stream->mark_due_ns)
		return true;
	return stream->position != stream->mark_position && now - stream->moved_ns > QUIET_NS &&
	       since > QUIET_APART_NS;
}

int stream_mark_step(struct stream *stream, struct fault *fault)
{
	bool is_made = false;
	int error = 0;

	if (!stream->mark.is_pending && is_mark_due(stream, os_monotonic_ns()))
		error = make_mark(stream, 0, &is_made, fault);
	if (!error && stream->mark.is_pending)
		error = look_at_pending(stream, fault);
	return error;
}

/* Until that mark is confirmed and the confirmation durable. -EAGAIN when a hole came in between. */
static int wait_confirmed(struct stream *stream, uint64_t number, uint64_t deadline_ns,
			  struct fault *fault)
{
	uint64_t batch = 0;

	while (!batch || !stream_has_reached(stream, STREAM_DURABLE, batch)) {
		int error = stream_step(stream, fault);

		if (error)
			return error;
		if (!batch && stream->confirmed.number == number)
			batch = stream->confirmed.batch;
		else if (!batch && (!stream->mark.is_pending || stream->mark.number != number))
			return fault_set(fault, FAULT_RETRY, EAGAIN,
					 "a write could not be captured meanwhile");
		if (os_monotonic_ns() >= deadline_ns)
			return fault_set(fault, FAULT_RETRY, ETIMEDOUT,
					 "the checkpoint was not durable in time");
		stream_rest(stream);
	}
	return 0;
}

int stream_mark(struct stream *stream, uint32_t flags, uint64_t deadline_ns, uint64_t *ret_number,
		struct fault *fault)
{
	bool is_made = false;
	int error = 0;

	while (!error && !is_made) {
		if (!stream->mark.is_pending)
			error = make_mark(stream, flags, &is_made, fault);
		if (error || is_made)
			break;
		if (os_monotonic_ns() >= deadline_ns)
			return fault_set(fault, FAULT_RETRY, EAGAIN,
					 "the stream was not consistent in time");
		error = stream_step(stream, fault);
		stream_rest(stream);
	}
	if (error)
		return error;
	*ret_number = stream->mark.number;
	if (stream_flush(stream))
		return stream_session_over(fault);
	return wait_confirmed(stream, *ret_number, deadline_ns, fault);
}

int stream_mark_left(struct stream *stream, uint32_t flags, uint64_t deadline_ns,
		     uint64_t *ret_number, struct fault *fault)
{
	bool is_suspect = false;
	int error = look_for_suspects(stream, &is_suspect, fault);

	if (!error && is_suspect)
		error = fault_set(fault, FAULT_RETRY, EAGAIN, "a write may have been missed");
	if (error)
		return error;
	stream->is_left = false;
	if (add_mark(stream, os_realtime_ns(), flags))
		return stream_session_over(fault);
	stream->mark = (struct stream_mark){
		.number = stream->mark_number,
		.made_ns = os_monotonic_ns(),
	};
	*ret_number = stream->mark_number;
	if (add_confirm(stream))
		return stream_session_over(fault);
	while (!stream_has_reached(stream, STREAM_DURABLE, stream->confirmed.batch)) {
		if (stream_has_failed(stream))
			return stream_session_over(fault);
		if (os_monotonic_ns() >= deadline_ns)
			return fault_set(fault, FAULT_RETRY, ETIMEDOUT,
					 "the checkpoint was not durable in time");
		stream_rest(stream);
	}
	stream_settle(stream);
	return 0;
}
