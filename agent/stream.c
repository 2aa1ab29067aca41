// SPDX-License-Identifier: GPL-2.0-or-later
/* A stream's life: joining, stepping, acknowledgements, leaving; see stream.h. */
#include "agent/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/stream_internal.h"
#include "common/units.h"

#define BUFFERS	      4
#define MARKS_RAW_MAX (64 * KIB) /* of a stream without capture */
#define READ_ALIGN    4096
#define FLUSH_NS      (20 * NS_PER_MS) /* the most that a record waits for others */
#define REST_BUSY_NS  (3 * NS_PER_MS)
#define REST_IDLE_NS  (10 * NS_PER_MS)
#define IDLE_NS	      (200 * NS_PER_MS)
#define PUMP_NS	      (50 * NS_PER_MS) /* of a step; commands want to be heard */
#define ROUND_STEP_NS (20 * NS_PER_MS)
#define LOOK_NS	      (500 * NS_PER_MS) /* how often dirty bits that are no holes are looked for */
#define UNREADABLE_NS NS_PER_S		/* before blocks that cannot be read are tried again */
#define STATUS_NS     (100 * NS_PER_MS)

int stream_session_over(struct fault *fault)
{
	return fault_set(fault, FAULT_RETRY, ECONNRESET, "the session ended");
}

static int open_parts(struct stream *stream)
{
	const struct stream_setup *setup = &stream->setup;
	struct stream_sender_setup sender = {
		.codec = setup->codec,
		.buffers = BUFFERS,
		.threads = setup->threads,
		.raw_max = stream->raw_max,
		.send = setup->send,
		.failed = setup->failed,
		.context = setup->context,
	};
	int error = 0;

	if (stream->capture) {
		for (unsigned int i = 0; i < setup->source->count; i++)
			stream->fds[i] = setup->source->disks[i].fd;
		stream->read_buffer = aligned_alloc(READ_ALIGN, STREAM_READ_BYTES);
		stream->coalesce = stream_coalesce_new();
		if (!stream->read_buffer || !stream->coalesce)
			return -ENOMEM;
		error = capture_notes_new(stream->capture, &stream->notes);
		if (!error)
			error = reader_new(stream->fds, setup->source->count, STREAM_READS,
					   &stream->reader);
	}
	return error ? error : stream_sender_new(&sender, &stream->sender);
}

int stream_new(const struct stream_setup *setup, struct stream **ret_stream)
{
	struct stream *stream = calloc(1, sizeof(*stream));
	int error;

	if (!stream)
		return -ENOMEM;
	stream->setup = *setup;
	stream->capture = setup->capture;
	stream->raw_max = setup->capture ? WIRE_STREAM_RAW_MAX : MARKS_RAW_MAX;
	stream->mark_number = setup->ready.mark;
	/* Acknowledgements may come before the join. */
	if (setup->ready.stream == setup->id)
		stream->acked_batch = stream->put_batch = setup->ready.batch;
	os_mutex_init(&stream->lock);
	os_cond_init(&stream->changed);
	error = open_parts(stream);
	if (error) {
		stream_free(stream);
		return error;
	}
	*ret_stream = stream;
	return 0;
}

void stream_free(struct stream *stream)
{
	if (!stream)
		return;
	stream_sender_free(stream->sender);
	reader_free(stream->reader);
	capture_notes_free(stream->notes);
	stream_coalesce_free(stream->coalesce);
	free(stream->read_buffer);
	os_cond_fini(&stream->changed);
	os_mutex_fini(&stream->lock);
	free(stream);
}

void stream_fail(struct stream *stream)
{
	os_mutex_lock(&stream->lock);
	stream->has_failed = true;
	os_cond_broadcast(&stream->changed);
	os_mutex_unlock(&stream->lock);
}

bool stream_has_failed(struct stream *stream)
{
	bool has_failed;

	os_mutex_lock(&stream->lock);
	has_failed = stream->has_failed;
	os_mutex_unlock(&stream->lock);
	return has_failed;
}

int stream_on_ack(struct stream *stream, const struct wire_stream_ack *ack)
{
	int error = 0;

	if (ack->stream != stream->setup.id)
		return 0; /* of an earlier one that is still being applied */
	os_mutex_lock(&stream->lock);
	if (ack->batch < stream->acked_batch || ack->batch > stream->put_batch ||
	    ack->applied > ack->batch) {
		error = -EPROTO;
	} else {
		stream->acked_batch = ack->batch;
		stream->applied_batch = ack->applied;
		os_cond_broadcast(&stream->changed);
	}
	os_mutex_unlock(&stream->lock);
	return error;
}

bool stream_has_reached(struct stream *stream, enum stream_reached what, uint64_t batch)
{
	bool has_reached;

	os_mutex_lock(&stream->lock);
	has_reached = batch <=
		      (what == STREAM_DURABLE ? stream->acked_batch : stream->applied_batch);
	os_mutex_unlock(&stream->lock);
	return has_reached;
}

/* Before anything is forgotten: a receiver that knows less later on has lost something. */
static void remember_acked(struct stream *stream, uint64_t batch)
{
	struct source *source = stream->setup.source;

	for (unsigned int i = 0; i < source->count; i++) {
		source->disks[i].memory->acked_batch = batch;
		source->disks[i].memory->acked_stream = stream->setup.id;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void stream_settle(struct stream *stream)
{
	uint64_t acked, to = 0;
	bool has_news = false;

	os_mutex_lock(&stream->lock);
	acked = stream->acked_batch;
	os_mutex_unlock(&stream->lock);
	while (stream->sent_count && stream->sent[stream->sent_head].batch <= acked) {
		to = stream->sent[stream->sent_head].to;
		stream->sent_head = (stream->sent_head + 1) % STREAM_SENT_MAX;
		stream->sent_count--;
		has_news = true;
	}
	if (!has_news)
		return;
	remember_acked(stream, acked);
	if (stream->capture)
		capture_release(stream->capture, to); /* I6 */
	while (stream->copied_count && stream->copied[stream->copied_head].batch <= acked) {
		const struct stream_copied *copied = &stream->copied[stream->copied_head];

		bitmap_clear(&stream->setup.source->disks[copied->disk].todo, copied->first,
			     copied->count); /* I6 */
		stream->copied_head = (stream->copied_head + 1) % STREAM_COPIED_MAX;
		stream->copied_count--;
	}
	if (stream->awaited.batch && stream->awaited.batch <= acked) {
		stream->durable_made_ns = stream->awaited.made_ns;
		stream->awaited = (struct stream_confirmed){0};
		if (stream->confirmed.batch > acked)
			stream->awaited = stream->confirmed;
		else
			stream->durable_made_ns = stream->confirmed.made_ns;
	}
}

int stream_join(struct stream *stream, bool *ret_is_joined, struct fault *fault)
{
	const struct wire_stream_ready *ready = &stream->setup.ready;
	bool is_same = ready->stream == stream->setup.id;
	struct capture *capture = stream->capture;
	int error = 0;

	*ret_is_joined = false;
	stream->batch = is_same ? ready->batch : 0;
	stream->position = is_same ? ready->position : 0;
	stream->batch_to = stream->position;
	stream->is_left = ready->stream == 0;
	if (!capture)
		return 0;
	if (is_same && capture_released(capture) <= ready->position &&
	    ready->position <= capture_produced(capture)) {
		/* What was captured and not sent yet is in the ring: nothing was lost. */
		capture_release(capture, ready->position);
		stream->is_left = false;
		*ret_is_joined = capture_get_mode(capture) == CAPTURE_ON;
		return 0;
	}
	if (capture_get_mode(capture) != CAPTURE_OFF)
		status_count_gap(stream->setup.status, "the receiver has another stream");
	error = capture_spill(capture, capture_released(capture), fault);
	stream->position = capture_produced(capture);
	if (stream->batch_to > stream->position)
		stream->batch_to = stream->position;
	return error;
}

bool stream_is_left(const struct stream *stream)
{
	return stream->is_left;
}

bool stream_is_on(const struct stream *stream)
{
	return stream->is_on;
}

void stream_begin(struct stream *stream)
{
	stream->is_left = false;
	stream->is_on = true;
	stream->is_consistent = false;
	stream->told_gap = 0;
	stream->round = (struct stream_round){0};
	stream->mark.is_pending = false;
	stream->look_due_ns = 0;
	capture_start(stream->capture);
	/* What came after the last spill, of programs that ran while capture stopped, became bits by that. */
	if (stream->position < capture_released(stream->capture))
		stream->position = capture_released(stream->capture);
}

void stream_rest(struct stream *stream)
{
	uint64_t now = os_monotonic_ns();
	bool is_idle = now - stream->moved_ns > IDLE_NS;

	os_mutex_lock(&stream->lock);
	if (!stream->has_failed)
		(void)os_cond_wait_until(&stream->changed, &stream->lock,
					 now + (is_idle ? REST_IDLE_NS : REST_BUSY_NS));
	os_mutex_unlock(&stream->lock);
}

int stream_leave(struct stream *stream, enum capture_hole reason, struct fault *fault)
{
	uint64_t batch;
	int error = 0;

	if (stream->is_left)
		return 0;
	stream->is_on = false;
	stream->round.is_copying = false; /* what is not copied yet is still in todo */
	if (stream->capture) {
		if (capture_get_mode(stream->capture) == CAPTURE_FULL)
			reason = CAPTURE_HOLE_RING_FULL;
		capture_stop(stream->capture);
		error = stream_pump(stream, capture_produced(stream->capture), fault);
	}
	if (error == -ECONNRESET)
		return error;
	/* A ring that cannot be read: what is left of it becomes bits below. */
	if (stream_say_gap(stream, reason) || stream_flush(stream))
		return stream_session_over(fault);
	batch = stream->batch;
	while (!stream_has_reached(stream, STREAM_APPLIED, batch)) {
		if (stream_has_failed(stream))
			return stream_session_over(fault);
		stream_settle(stream);
		stream_rest(stream);
	}
	stream_settle(stream);
	error = 0;
	if (stream->capture) {
		error = capture_spill(stream->capture, capture_released(stream->capture), fault);
		stream->position = capture_produced(stream->capture);
	}
	stream->is_left = !error;
	return error;
}

static bool is_round_due(struct stream *stream, uint64_t now)
{
	struct source *source = stream->setup.source;

	if (!stream_round_is_over(stream))
		return false;
	if (stream->round.has_unreadable && now - stream->round.ended_ns < UNREADABLE_NS)
		return false;
	if (!stream->is_consistent)
		return true;
	if (now < stream->look_due_ns)
		return false;
	stream->look_due_ns = now + LOOK_NS;
	return source_dirty_bytes(source) + source_todo_bytes(source) > 0;
}

static int step_round(struct stream *stream, struct fault *fault)
{
	int error = 0;

	if (is_round_due(stream, os_monotonic_ns()))
		error = stream_take(stream, fault);
	if (!error && stream->round.is_copying)
		error = stream_round_step(stream, ROUND_STEP_NS, fault);
	return error;
}

/* What has to wait until all that was captured is in batches: on a slow link that takes a while. */
static int step_behind_ring(struct stream *stream, struct fault *fault)
{
	struct capture *capture = stream->capture;
	int error;

	/* A hole that no record has come behind yet. */
	if (stream->is_consistent && capture_holes(capture) > stream->repaired_holes &&
	    stream_say_gap(stream, capture_last_hole(capture)))
		return stream_session_over(fault);
	error = step_round(stream, fault);
	return error ? error : stream_mark_step(stream, fault);
}

int stream_step(struct stream *stream, struct fault *fault)
{
	struct capture *capture = stream->capture;
	uint64_t now = os_monotonic_ns(), until;
	int error;

	if (stream_has_failed(stream))
		return stream_session_over(fault);
	stream_settle(stream);
	if (capture_get_mode(capture) != CAPTURE_ON)
		return fault_set(fault, FAULT_RETRY, ENOBUFS, "the capture ring was full");
	until = capture_produced(capture);
	error = stream_pump_until(stream, until, now + PUMP_NS, fault);
	if (!error && stream->position >= until)
		error = step_behind_ring(stream, fault);
	if (!error && stream->filling && now - stream->filling_since_ns >= FLUSH_NS &&
	    stream_flush(stream))
		error = stream_session_over(fault);
	if (now >= stream->status_due_ns) {
		stream->status_due_ns = now + STATUS_NS;
		status_set_ring(stream->setup.status, capture_ring_bytes(capture),
				stream_lag_bytes(stream), capture_produced(capture));
	}
	return error;
}

bool stream_is_consistent(const struct stream *stream)
{
	return stream->is_consistent;
}

uint64_t stream_lag_bytes(const struct stream *stream)
{
	return stream->capture
		       ? capture_produced(stream->capture) - capture_released(stream->capture)
		       : 0;
}

uint64_t stream_marked_ns(const struct stream *stream)
{
	return stream->durable_made_ns;
}

bool stream_has_unreadable(const struct stream *stream)
{
	return stream->round.has_unreadable;
}

/* Steps until is_done says so. */
static int step_until(struct stream *stream, bool (*is_done)(struct stream *, uint64_t),
		      uint64_t argument, stream_stop_fn *should_stop, void *context,
		      struct fault *fault)
{
	while (!is_done(stream, argument)) {
		int error;

		if (should_stop && should_stop(context))
			return fault_set(fault, FAULT_RETRY, EINTR, "interrupted by a command");
		error = stream_step(stream, fault);
		if (error)
			return error;
		stream_rest(stream);
	}
	return 0;
}

static bool is_round_over(struct stream *stream, uint64_t unused)
{
	return stream_round_is_over(stream);
}

static bool is_copied(struct stream *stream, uint64_t unused)
{
	return !stream->round.is_copying;
}

static bool is_applied(struct stream *stream, uint64_t batch)
{
	return stream_has_reached(stream, STREAM_APPLIED, batch);
}

/* After a round was begun: until it, and what was captured up to now, is applied. */
static int finish_drain(struct stream *stream, stream_stop_fn *should_stop, void *context,
			struct fault *fault)
{
	int error = step_until(stream, is_copied, 0, should_stop, context, fault);

	if (!error)
		error = stream_pump(stream, capture_produced(stream->capture), fault);
	if (!error && stream_flush(stream))
		error = stream_session_over(fault);
	if (!error)
		error = step_until(stream, is_applied, stream->batch, should_stop, context, fault);
	if (!error)
		stream_settle(stream);
	return error;
}

int stream_drain(struct stream *stream, stream_stop_fn *should_stop, void *context,
		 struct fault *fault)
{
	int error = step_until(stream, is_round_over, 0, should_stop, context, fault);

	if (!error)
		error = stream_take(stream, fault);
	return error ? error : finish_drain(stream, should_stop, context, fault);
}

int stream_take_all(struct stream *stream, stream_stop_fn *should_stop, void *context,
		    struct fault *fault)
{
	uint64_t holes;
	int error = step_until(stream, is_round_over, 0, should_stop, context, fault);

	if (error)
		return error;
	holes = capture_holes(stream->capture);
	error = source_take(stream->setup.source, fault);
	if (error)
		return error;
	stream_round_begin(stream);
	stream->round.has_taken = true;
	stream->round.holes = holes;
	return stream_pump(stream, capture_produced(stream->capture), fault);
}

int stream_has_moved(struct stream *stream, struct fault *fault)
{
	struct capture *capture = stream->capture;
	int error;

	if (!stream_round_is_over(stream))
		return 1;
	/* What is on its way first: once it has completed, it is in the ring, or a hole. */
	error = source_take(stream->setup.source, fault);
	if (error)
		return error;
	return source_todo_bytes(stream->setup.source) > 0 ||
	       capture_get_mode(capture) != CAPTURE_ON ||
	       capture_holes(capture) != stream->repaired_holes ||
	       stream->position != capture_produced(capture);
}
