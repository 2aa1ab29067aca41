// SPDX-License-Identifier: GPL-2.0-or-later
/* Records into batches, and the ring into records; see stream.h. */
#include <errno.h>
#include <string.h>

#include "agent/stream_internal.h"
#include "common/log.h"

#define ROOM_WAIT_NS (10 * NS_PER_MS)
#define FILL_PAUSE_NS                                                                              \
	(20000ull) /* a record is being filled by a CPU that does nothing else meanwhile */
#define FILL_MOST_NS (5 * NS_PER_S)
#define BEHIND_PARTS 4 /* behind: so large a part of the ring waits to be put into batches */

uint64_t stream_next_batch(const struct stream *stream)
{
	return stream->batch + 1;
}

/* To people. A full ring is found by the record behind it, and again when the stream is left: it is one gap. */
static void tell_gap(struct stream *stream, enum capture_hole reason)
{
	if (reason == CAPTURE_HOLE_NONE || reason == stream->told_gap)
		return;
	stream->told_gap = reason;
	log_info("gap in the stream: %s", capture_hole_name(reason));
	status_count_gap(stream->setup.status, capture_hole_name(reason));
}

/* Room in the table of what is not acknowledged, and a buffer: both come back with acknowledgements. */
static int get_buffer(struct stream *stream)
{
	while (!stream->filling) {
		if (stream_has_failed(stream))
			return -ECONNRESET;
		stream_settle(stream);
		if (stream->sent_count == STREAM_SENT_MAX) {
			os_sleep_ns(ROOM_WAIT_NS);
			continue;
		}
		stream->filling =
			stream_sender_get(stream->sender, os_monotonic_ns() + ROOM_WAIT_NS);
		/* Who waits for a receiver that takes nothing gets to no other place where it is seen. */
		if (!stream->filling && stream->capture &&
		    capture_get_mode(stream->capture) == CAPTURE_FULL)
			tell_gap(stream, CAPTURE_HOLE_RING_FULL);
	}
	stream->filling->head = (struct wire_stream){.stream = stream->setup.id};
	stream->filling_since_ns = os_monotonic_ns();
	stream->last = NULL;
	return 0;
}

static void remember_opened(struct stream *stream)
{
	struct source *source = stream->setup.source;

	for (unsigned int i = 0; i < source->count; i++) {
		source->disks[i].memory->opened_batch = stream->batch;
		source->disks[i].memory->opened_stream = stream->setup.id;
	}
}

int stream_flush(struct stream *stream)
{
	struct stream_buffer *buffer = stream->filling;
	unsigned int at = (stream->sent_head + stream->sent_count) % STREAM_SENT_MAX;

	if (!buffer)
		return stream_has_failed(stream) ? -ECONNRESET : 0;
	stream->filling = NULL;
	stream->last = NULL;
	stream->batch++;
	remember_opened(stream);
	buffer->head.batch = stream->batch;
	buffer->head.from = stream->batch_to;
	buffer->head.to = stream->position;
	stream->batch_to = stream->position;
	stream->moved_bytes += buffer->head.raw_bytes;
	stream->sent[at] = (struct stream_sent){.batch = stream->batch, .to = stream->position};
	stream->sent_count++;
	os_mutex_lock(&stream->lock);
	stream->put_batch = stream->batch;
	os_mutex_unlock(&stream->lock);
	stream_sender_put(stream->sender, buffer);
	return 0;
}

/* Does it go on where the last one ended? Two captured pieces of one write, mostly. */
static bool is_continued(const struct stream *stream, const struct wire_record *record,
			 uint32_t bytes)
{
	const struct wire_record *last = stream->last;

	if (!last || last->kind != record->kind || last->disk != record->disk ||
	    last->offset + last->length != record->offset)
		return false;
	if (record->kind == WIRE_RECORD_ZERO)
		return true;
	return (record->kind == WIRE_RECORD_WRITE || record->kind == WIRE_RECORD_COPY) &&
	       last->length + bytes <= WIRE_RECORD_DATA_MAX;
}

static uint32_t data_bytes(const struct wire_record *record)
{
	return record->kind == WIRE_RECORD_WRITE || record->kind == WIRE_RECORD_COPY
		       ? (uint32_t)record->length
		       : 0;
}

int stream_add(struct stream *stream, const struct wire_record *record, const void *data)
{
	uint32_t bytes = data_bytes(record);
	struct wire_stream *head;
	int error = 0;

	if (stream->filling &&
	    stream->filling->head.raw_bytes + sizeof(*record) + bytes > stream->raw_max)
		error = stream_flush(stream);
	if (!error && !stream->filling)
		error = get_buffer(stream);
	if (error)
		return error;
	head = &stream->filling->head;
	if (is_continued(stream, record, bytes)) {
		stream->last->length += record->length;
	} else {
		stream->last = (struct wire_record *)(stream->filling->raw + head->raw_bytes);
		*stream->last = *record;
		head->raw_bytes += (uint32_t)sizeof(*record);
		head->records++;
	}
	if (bytes)
		memcpy(stream->filling->raw + head->raw_bytes, data, bytes);
	head->raw_bytes += bytes;
	return 0;
}

int stream_say_gap(struct stream *stream, enum capture_hole reason)
{
	struct wire_record record = {
		.kind = WIRE_RECORD_GAP,
		.offset = os_realtime_ns(),
		.flags = (uint32_t)reason,
	};

	stream->is_consistent = false;
	stream->mark.is_pending = false;
	tell_gap(stream, reason);
	return stream_add(stream, &record, NULL);
}

static int add_captured(struct stream *stream, const struct capture_record *captured)
{
	struct wire_record record = {
		.offset = captured->offset,
		.length = captured->length,
		.disk = (uint16_t)captured->disk,
		.kind = captured->kind == CAPTURE_DATA ? WIRE_RECORD_WRITE : WIRE_RECORD_ZERO,
	};
	int error = 0;

	/* What lies behind a hole is not what a power cut could have left. */
	if (stream->is_consistent && captured->holes > stream->repaired_holes)
		error = stream_say_gap(stream, capture_last_hole(stream->capture));
	if (stream_coalesce_is_overwritten(stream->coalesce, captured))
		stream->coalesced_bytes += captured->length;
	else if (!error)
		error = stream_add(stream, &record, captured->data);
	if (!error)
		source_note_captured(stream->setup.source, captured->disk, captured->offset,
				     captured->length);
	return error;
}

int stream_pump(struct stream *stream, uint64_t until, struct fault *fault)
{
	return stream_pump_until(stream, until, UINT64_MAX, fault);
}

int stream_pump_until(struct stream *stream, uint64_t until, uint64_t deadline_ns,
		      struct fault *fault)
{
	uint64_t stuck_ns = 0;

	if (until > stream->position && stream->position >= stream_coalesce_end(stream->coalesce) &&
	    until - stream->position > capture_ring_bytes(stream->capture) / BEHIND_PARTS)
		stream_coalesce_look(stream->coalesce, stream->capture, stream->position, until,
				     &stream->record);
	while (stream->position < until) {
		uint64_t next = stream->position;
		int error;

		if (!capture_next(stream->capture, &next, &stream->record)) {
			if (!stuck_ns)
				stuck_ns = os_monotonic_ns();
			if (os_monotonic_ns() - stuck_ns > FILL_MOST_NS)
				return fault_set(fault, FAULT_RETRY, EIO,
						 "a record in the capture ring is never completed");
			os_sleep_ns(FILL_PAUSE_NS);
			continue;
		}
		stuck_ns = 0;
		error = add_captured(stream, &stream->record);
		if (error)
			return stream_session_over(fault);
		stream->position = next;
		stream->moved_ns = os_monotonic_ns();
		if (stream->moved_ns >= deadline_ns)
			return 0;
	}
	return 0;
}
