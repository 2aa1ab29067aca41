// SPDX-License-Identifier: GPL-2.0-or-later
/* Rounds: blocks that are read and copied inside the stream (I5); see stream.h. */
#include <errno.h>
#include <string.h>

#include "agent/stream_internal.h"
#include "common/digest.h"
#include "common/log.h"

struct piece {
	unsigned int disk;
	uint64_t first, count; /* blocks */
	struct read_request request;
	bool is_unreadable;
};

bool stream_round_is_over(const struct stream *stream)
{
	return !stream->round.is_copying && stream->copied_count == 0;
}

void stream_round_begin(struct stream *stream)
{
	stream->round = (struct stream_round){.is_copying = true};
}

int stream_take(struct stream *stream, struct fault *fault)
{
	/* Bits are set before a hole is counted: the take finds those of each up to here. */
	uint64_t holes = capture_holes(stream->capture);
	int error = source_take_captured(stream->setup.source, stream->capture, fault);

	if (error)
		return error;
	stream_round_begin(stream);
	stream->round.has_taken = true;
	stream->round.holes = holes;
	return 0;
}

static void end_round(struct stream *stream)
{
	struct stream_round *round = &stream->round;

	round->is_copying = false;
	round->ended_ns = os_monotonic_ns();
	/* With a hole more by now there is another round to come, and only its end is consistent. */
	if (!round->has_taken || round->has_unreadable ||
	    capture_holes(stream->capture) != round->holes)
		return;
	stream->repaired_holes = round->holes;
	stream->is_consistent = true;
	stream->told_gap = 0;
}

/* The next blocks that todo lists, as many as are read at once. Returns how many pieces. */
static unsigned int choose_pieces(struct stream *stream, struct piece *pieces)
{
	struct source *source = stream->setup.source;
	struct stream_round *round = &stream->round;
	unsigned int count = 0;
	uint32_t bytes = 0;

	while (count < STREAM_READS && round->disk < source->count) {
		const struct source_disk *disk = &source->disks[round->disk];
		uint64_t most = (STREAM_READ_BYTES - bytes) / disk->block_bytes;
		struct piece *piece = &pieces[count];
		uint64_t offset, length;

		if (most > WIRE_RECORD_DATA_MAX / disk->block_bytes)
			most = WIRE_RECORD_DATA_MAX / disk->block_bytes;
		if (!most)
			break;
		if (!bitmap_next_run(&disk->todo, round->block, most, &piece->first,
				     &piece->count)) {
			round->disk++;
			round->block = 0;
			continue;
		}
		round->block = piece->first + piece->count;
		offset = piece->first * disk->block_bytes;
		length = piece->count * disk->block_bytes;
		if (length > disk->disk.size_bytes - offset)
			length = disk->disk.size_bytes - offset;
		piece->disk = round->disk;
		piece->is_unreadable = false;
		piece->request = (struct read_request){
			.disk = round->disk,
			.offset = offset,
			.length = (uint32_t)length,
			.buffer = stream->read_buffer + bytes,
		};
		bytes += (uint32_t)(piece->count * disk->block_bytes);
		count++;
	}
	return count;
}

/* What cannot be read stays in todo; the rest of the piece is tried again with it, later. */
static int read_pieces(struct stream *stream, struct piece *pieces, unsigned int count,
		       struct fault *fault)
{
	for (unsigned int i = 0; i < count; i++)
		reader_submit(stream->reader, &pieces[i].request);
	for (unsigned int i = 0; i < count; i++)
		if (!reader_wait(stream->reader))
			return fault_set(fault, FAULT_RETRY, EIO, "reading the source failed");
	for (unsigned int i = 0; i < count; i++) {
		const struct read_request *request = &pieces[i].request;

		if (!request->error)
			continue;
		pieces[i].is_unreadable = true;
		if (!stream->round.has_unreadable)
			log_warning("disk %u: %u bytes at %llu cannot be read: %s", request->disk,
				    request->length, (unsigned long long)request->offset,
				    strerror(request->error));
		stream->round.has_unreadable = true;
	}
	return 0;
}

static int wait_for_room(struct stream *stream)
{
	int error = 0;

	while (!error && stream->copied_count == STREAM_COPIED_MAX) {
		error = stream_flush(stream);
		stream_rest(stream);
		stream_settle(stream);
	}
	return error;
}

/* Block by block, since some are zeroes; neighbours of a kind become one record. */
static int add_piece(struct stream *stream, const struct piece *piece)
{
	const struct source_disk *disk = &stream->setup.source->disks[piece->disk];
	const struct read_request *request = &piece->request;
	int error = wait_for_room(stream);
	unsigned int at;

	for (uint32_t done = 0; !error && done < request->length; done += disk->block_bytes) {
		const uint8_t *data = (const uint8_t *)request->buffer + done;
		uint32_t left = request->length - done;
		uint32_t length = left < disk->block_bytes ? left : disk->block_bytes;
		struct wire_record record = {
			.kind = digest_is_zero(data, length) ? WIRE_RECORD_ZERO : WIRE_RECORD_COPY,
			.disk = (uint16_t)piece->disk,
			.offset = request->offset + done,
			.length = length,
		};

		error = stream_add(stream, &record, data);
	}
	if (error)
		return error;
	at = (stream->copied_head + stream->copied_count) % STREAM_COPIED_MAX;
	stream->copied[at] = (struct stream_copied){
		.batch = stream_next_batch(stream),
		.first = piece->first,
		.count = piece->count,
		.disk = piece->disk,
	};
	stream->copied_count++;
	return 0;
}

/* I5: what was captured before the reads began goes into batches first, then the blocks, and only then what is
 * captured meanwhile. */
static int copy_pieces(struct stream *stream, struct piece *pieces, unsigned int count,
		       struct fault *fault)
{
	int error = stream_pump(stream, capture_produced(stream->capture), fault);

	if (!error)
		error = read_pieces(stream, pieces, count, fault);
	for (unsigned int i = 0; !error && i < count; i++)
		if (!pieces[i].is_unreadable && add_piece(stream, &pieces[i]))
			error = stream_session_over(fault);
	return error;
}

int stream_round_step(struct stream *stream, uint64_t budget_ns, struct fault *fault)
{
	uint64_t until_ns = os_monotonic_ns() + budget_ns;
	struct piece pieces[STREAM_READS];
	int error = 0;

	do {
		unsigned int count = choose_pieces(stream, pieces);

		if (!count) {
			end_round(stream);
			return 0;
		}
		error = copy_pieces(stream, pieces, count, fault);
		stream_settle(stream);
	} while (!error && os_monotonic_ns() < until_ns);
	return error;
}
