/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A receiver that is made up for a test of the stream: it keeps batches, applies them, and judges each confirmed
 * mark by what the disks of fake_capture.h held when it was made. */
#ifndef BLKFERRY_TESTS_UNIT_AGENT_FAKE_RECEIVER_H
#define BLKFERRY_TESTS_UNIT_AGENT_FAKE_RECEIVER_H

#include "tests/unit/agent/fake_capture.h"

#define MARKS_MAX 4096

/* What a block may hold at a mark: two numbers, since a write on its way may have come or not. */
struct fake_state {
	uint64_t stable[DISKS][BLOCKS], disk[DISKS][BLOCKS];
	bool is_nobodys[DISKS][BLOCKS];
};

static struct {
	struct os_mutex lock;
	struct wire_stream heads[256]; /* came, not yet taken by receive_all */
	uint8_t *stored[256];
	unsigned int count;
	bool has_failed, is_cut;
	struct wire_stream_ready durable;
	uint64_t applied;
	uint64_t replica[DISKS][BLOCKS];
	struct fake_state made[MARKS_MAX];	    /* when the agent made that mark */
	uint64_t at_mark[MARKS_MAX][DISKS][BLOCKS]; /* the replica at it */
	uint64_t marks, confirms, gaps, copies, writes;
	uint64_t confirmed; /* newest */
	uint32_t flags[MARKS_MAX];
	char order[64]; /* the first records, a letter each */
} receiver = {.lock = OS_MUTEX_INITIALIZER};

static inline int fake_send(void *context, const void *bytes, size_t size, struct fault *fault)
{
	const struct wire_header *header = bytes;
	struct fault why = {0};

	os_mutex_lock(&receiver.lock);
	if (receiver.is_cut || receiver.count == 256 || wire_check_header(header, &why) ||
	    header->length + sizeof(*header) != size ||
	    wire_check_payload(header->type, (void *)(header + 1), header->length, &why)) {
		os_mutex_unlock(&receiver.lock);
		return fault_set(fault, FAULT_RETRY, ECONNRESET, "cut: %s", why.text);
	}
	memcpy(&receiver.heads[receiver.count], header + 1, sizeof(struct wire_stream));
	receiver.stored[receiver.count] = malloc(header->length - sizeof(struct wire_stream) + 1);
	memcpy(receiver.stored[receiver.count],
	       (const uint8_t *)(header + 1) + sizeof(struct wire_stream),
	       header->length - sizeof(struct wire_stream));
	receiver.count++;
	os_mutex_unlock(&receiver.lock);
	return 0;
}

static inline void fake_failed(void *context, const struct fault *fault)
{
	receiver.has_failed = true;
}

static inline void note_order(char letter)
{
	size_t length = strlen(receiver.order);

	if (length < sizeof(receiver.order) - 1)
		receiver.order[length] = letter;
}

/* A confirmed mark is a state that a power cut could have left. */
static inline void judge_mark(uint64_t number)
{
	const struct fake_state *made = &receiver.made[number];

	for (unsigned int disk = 0; disk < DISKS; disk++)
		for (uint64_t block = 0; block < BLOCKS; block++) {
			uint64_t is = receiver.at_mark[number][disk][block];

			if (is != made->stable[disk][block] && is != made->disk[disk][block] &&
			    !made->is_nobodys[disk][block])
				fail_msg("mark %llu: disk %u block %llu holds %llu, not %llu",
					 (unsigned long long)number, disk,
					 (unsigned long long)block, (unsigned long long)is,
					 (unsigned long long)made->stable[disk][block]);
		}
}

static inline void apply_blocks(const struct wire_record *record)
{
	const uint8_t *data = wire_record_data(record);

	for (uint64_t at = 0; at < record->length; at += BLOCK_BYTES) {
		uint64_t *block =
			&receiver.replica[record->disk][(record->offset + at) / BLOCK_BYTES];

		*block = 0;
		if (record->kind != WIRE_RECORD_ZERO)
			memcpy(block, data + at, sizeof(*block));
	}
}

static inline void apply(const struct wire_record *record)
{
	switch ((enum wire_record_kind)record->kind) {
	case WIRE_RECORD_WRITE:
	case WIRE_RECORD_ZERO:
	case WIRE_RECORD_COPY:
		receiver.copies += record->kind == WIRE_RECORD_COPY;
		receiver.writes += record->kind == WIRE_RECORD_WRITE;
		note_order(record->kind == WIRE_RECORD_WRITE  ? 'w'
			   : record->kind == WIRE_RECORD_COPY ? 'c'
							      : 'z');
		apply_blocks(record);
		return;
	case WIRE_RECORD_MARK:
		assert_true(record->length > receiver.durable.mark);
		assert_true(record->length < MARKS_MAX);
		receiver.durable.mark = record->length;
		receiver.flags[record->length] = record->flags;
		memcpy(receiver.at_mark[record->length], receiver.replica,
		       sizeof(receiver.replica));
		receiver.marks++;
		note_order('m');
		return;
	case WIRE_RECORD_CONFIRM:
		receiver.confirms++;
		receiver.confirmed = record->length;
		note_order('!');
		judge_mark(record->length);
		return;
	case WIRE_RECORD_GAP:
		receiver.gaps++;
		note_order('g');
		return;
	case WIRE_RECORD_DIGEST:
		break;
	}
	fail_msg("a record of kind %u", record->kind);
}

/* Makes up to most of the batches that came durable and applies them. */
static inline void receive(unsigned int most)
{
	static uint8_t raw[WIRE_STREAM_RAW_MAX];
	static const uint64_t disk_bytes[DISKS] = {BLOCKS * BLOCK_BYTES, BLOCKS * BLOCK_BYTES};

	os_mutex_lock(&receiver.lock);
	for (; most && receiver.count; most--) {
		const struct wire_stream head = receiver.heads[0];
		const struct wire_record *record = (const struct wire_record *)raw;

		assert_int_equal(head.batch, head.stream == receiver.durable.stream
						     ? receiver.durable.batch + 1
						     : 1);
		assert_int_equal(compress_restore(head.codec, receiver.stored[0], head.stored_bytes,
						  raw, head.raw_bytes),
				 0);
		free(receiver.stored[0]);
		receiver.count--;
		memmove(&receiver.heads[0], &receiver.heads[1],
			receiver.count * sizeof(receiver.heads[0]));
		memmove(&receiver.stored[0], &receiver.stored[1],
			receiver.count * sizeof(receiver.stored[0]));
		assert_int_equal(wire_check_records(raw, head.raw_bytes, head.records, disk_bytes,
						    DISKS, NULL),
				 0);
		receiver.durable.stream = head.stream;
		receiver.durable.batch = head.batch;
		receiver.durable.position = head.to;
		for (uint32_t i = 0; i < head.records; i++, record = wire_record_next(record))
			apply(record);
	}
	os_mutex_unlock(&receiver.lock);
}

static inline void fake_ack(struct stream *stream)
{
	struct wire_stream_ack ack = {
		.stream = receiver.durable.stream,
		.batch = receiver.durable.batch,
		.applied = receiver.durable.batch,
	};

	if (ack.stream)
		assert_int_equal(stream_on_ack(stream, &ack), 0);
}

/* What came and was not durable is lost with the connection. */
static inline void receiver_cut(void)
{
	os_mutex_lock(&receiver.lock);
	receiver.is_cut = true;
	while (receiver.count)
		free(receiver.stored[--receiver.count]);
	os_mutex_unlock(&receiver.lock);
}

static inline void receiver_reset(void)
{
	receiver_cut();
	memset(receiver.heads, 0, sizeof(receiver) - offsetof(__typeof__(receiver), heads));
}

static inline struct stream *open_stream(bool has_capture)
{
	struct stream_setup setup = {
		.source = &source,
		.capture = has_capture ? &fake.capture : NULL,
		.id = has_capture ? STREAM_ID : STREAM_ID + 1,
		.ready = receiver.durable,
		.interval_ns = NS_PER_MS,
		.codec = COMPRESS_LZ4,
		.threads = 2,
		.send = fake_send,
		.failed = fake_failed,
	};
	struct stream *stream = NULL;

	receiver.is_cut = false;
	receiver.has_failed = false;
	assert_int_equal(stream_new(&setup, &stream), 0);
	return stream;
}

/* A step of the agent; a mark that it made is judged by this moment. */
static inline int step(struct stream *stream)
{
	uint64_t before = stream->mark_number;
	int error = stream_step(stream, NULL);

	if (stream->mark_number != before) {
		struct fake_state *made = &receiver.made[stream->mark_number];

		assert_int_equal(stream->mark_number, before + 1);
		memcpy(made->stable, fake.stable, sizeof(made->stable));
		memcpy(made->disk, fake.disk, sizeof(made->disk));
		memcpy(made->is_nobodys, fake.is_nobodys, sizeof(made->is_nobodys));
	}
	return error;
}

#endif
