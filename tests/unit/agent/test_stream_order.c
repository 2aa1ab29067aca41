// SPDX-License-Identifier: GPL-2.0-or-later
/* Batches are compressed by several threads, and sent in the order in which they were put, whatever takes longer. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/stream_sender.h"
#include "common/digest.h"
#include "common/os_clock.h"

#define BATCHES	    2000u
#define RAW_MAX	    (256u * 1024)
#define DEADLINE_NS (60 * NS_PER_S)
#define FAILS_AT    100u

/* What arrived; only the thread whose turn it is comes here. */
static struct arrived {
	uint64_t batches;
	bool is_in_send, has_overlapped;
	uint64_t fails_at; /* 0: never */
	unsigned int failures;
	uint8_t plain[RAW_MAX];
} arrived;

static int receive(void *context, const void *bytes, size_t size, struct fault *fault)
{
	const struct wire_header *frame = bytes;
	const struct wire_stream *head = (const void *)(frame + 1);
	const uint8_t *plain = (const uint8_t *)(head + 1);

	(void)context;
	arrived.has_overlapped |= __atomic_exchange_n(&arrived.is_in_send, true, __ATOMIC_SEQ_CST);
	assert_int_equal(size, sizeof(*frame) + sizeof(*head) + head->stored_bytes);
	assert_int_equal(head->batch, arrived.batches + 1);
	if (head->codec != COMPRESS_RAW) {
		assert_int_equal(compress_restore(head->codec, plain, head->stored_bytes,
						  arrived.plain, head->raw_bytes),
				 0);
		plain = arrived.plain;
	}
	assert_true(digest_checksum(plain, head->raw_bytes) == head->checksum);
	for (uint32_t i = 0; i < head->raw_bytes; i += 4096)
		assert_int_equal(plain[i], (uint8_t)head->batch);
	arrived.batches++;
	__atomic_store_n(&arrived.is_in_send, false, __ATOMIC_SEQ_CST);
	if (arrived.batches == arrived.fails_at)
		return fault_set(fault, FAULT_RETRY, ECONNRESET, "cut");
	return 0;
}

static void note_failure(void *context, const struct fault *fault)
{
	(void)context;
	assert_int_equal(fault->error, ECONNRESET);
	arrived.failures++;
}

/* Sizes and contents that take different times: little, much, random, all the same. */
static void fill(struct stream_buffer *buffer, uint64_t batch, unsigned int *seed)
{
	uint32_t bytes = rand_r(seed) % 3 ? 1 + (uint32_t)rand_r(seed) % 600 : RAW_MAX;

	buffer->head.batch = batch;
	buffer->head.raw_bytes = bytes;
	memset(buffer->raw, (int)(uint8_t)batch, bytes);
	if (rand_r(seed) % 2)
		for (uint32_t i = 0; i < bytes; i++)
			if (i % 4096)
				buffer->raw[i] = (uint8_t)rand_r(seed);
}

/* Returns how many were put before it failed. */
static uint64_t send_all(enum compress_codec codec, unsigned int threads)
{
	struct stream_sender_setup setup = {
		.codec = codec,
		.buffers = threads + 2,
		.threads = threads,
		.raw_max = RAW_MAX,
		.send = receive,
		.failed = note_failure,
	};
	struct stream_sender *sender;
	unsigned int seed = 7 + threads;
	uint64_t put = 0, deadline_ns = os_monotonic_ns() + DEADLINE_NS;

	assert_int_equal(stream_sender_new(&setup, &sender), 0);
	while (put < BATCHES) {
		struct stream_buffer *buffer = stream_sender_get(sender, deadline_ns);

		if (!buffer)
			break;
		memset(&buffer->head, 0, sizeof(buffer->head));
		fill(buffer, ++put, &seed);
		stream_sender_put(sender, buffer);
	}
	/* All buffers are free again when all were sent. Whoever failed may not have said so yet. */
	for (unsigned int i = 0; i < setup.buffers && put == BATCHES; i++)
		assert_non_null(stream_sender_get(sender, deadline_ns));
	stream_sender_free(sender);
	return put;
}

static int begin(void **state)
{
	(void)state;
	memset(&arrived, 0, sizeof(arrived));
	return 0;
}

static void several_threads_keep_the_order(void **state)
{
	static const enum compress_codec codecs[] = {COMPRESS_RAW, COMPRESS_LZ4, COMPRESS_ZSTD};

	for (unsigned int i = 0; i < 3; i++) {
		begin(state);
		assert_int_equal(send_all(codecs[i], 4), BATCHES);
		assert_int_equal(arrived.batches, BATCHES);
		assert_false(arrived.has_overlapped);
	}
}

static void nothing_is_sent_behind_what_failed(void **state)
{
	(void)state;
	arrived.fails_at = FAILS_AT;
	assert_true(send_all(COMPRESS_LZ4, 4) < BATCHES);
	assert_int_equal(arrived.batches, FAILS_AT);
	assert_int_equal(arrived.failures, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(several_threads_keep_the_order, begin),
		cmocka_unit_test_setup(nothing_is_sent_behind_what_failed, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
