// SPDX-License-Identifier: GPL-2.0-or-later
/* The stream's sender: batches arrive in their order, restorable, and are compressed unless that holds them up. */
#include "agent/stream_sender.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/digest.h"
#include "common/os_clock.h"
#include "common/os_thread.h"
#include "common/units.h"

#define BATCH_BYTES (256 * KIB)

/* The other end: a link of so many bytes a second, 0 for one that takes no time. */
struct link {
	uint64_t bytes_a_second;
	struct os_mutex lock;
	uint64_t frames, raw_frames, wire_bytes;
	bool is_wrong;
	uint8_t restored[BATCH_BYTES];
};

/* Half of it compresses. */
static void fill(uint8_t *raw, uint64_t number)
{
	uint64_t word = number * 0x9e3779b97f4a7c15ull + 1;

	for (size_t i = 0; i < BATCH_BYTES; i += sizeof(word)) {
		word = word * 6364136223846793005ull + 1442695040888963407ull;
		memcpy(raw + i, i % 128 < 64 ? &word : &number, sizeof(word));
	}
}

static int take(void *context, const void *bytes, size_t size, struct fault *fault)
{
	const struct wire_stream *head =
		(const void *)((const uint8_t *)bytes + sizeof(struct wire_header));
	struct link *link = context;

	(void)fault;
	if (link->bytes_a_second)
		os_sleep_ns(size * NS_PER_S / link->bytes_a_second);
	os_mutex_lock(&link->lock);
	link->frames++;
	link->wire_bytes += size;
	if (head->codec == COMPRESS_RAW)
		link->raw_frames++;
	/* In their order, and what was put. */
	if (head->batch != link->frames || head->raw_bytes != BATCH_BYTES ||
	    compress_restore(head->codec, head + 1, head->stored_bytes, link->restored,
			     head->raw_bytes) != 0 ||
	    digest_checksum(link->restored, head->raw_bytes) != head->checksum)
		link->is_wrong = true;
	os_mutex_unlock(&link->lock);
	return 0;
}

static void failed(void *context, const struct fault *fault)
{
	struct link *link = context;

	(void)fault;
	link->is_wrong = true;
}

/* Sends so many batches over the link; pause_ns between two of them. */
static void run(struct link *link, unsigned int batches, uint64_t pause_ns)
{
	const struct stream_sender_setup setup = {
		.codec = COMPRESS_LZ4,
		.buffers = 4,
		.threads = 2,
		.raw_max = BATCH_BYTES,
		.send = take,
		.failed = failed,
		.context = link,
	};
	struct stream_sender *sender;

	os_mutex_init(&link->lock);
	assert_int_equal(stream_sender_new(&setup, &sender), 0);
	for (unsigned int number = 1; number <= batches; number++) {
		struct stream_buffer *buffer =
			stream_sender_get(sender, os_monotonic_ns() + 10 * NS_PER_S);

		assert_non_null(buffer);
		buffer->head = (struct wire_stream){.batch = number, .raw_bytes = BATCH_BYTES};
		fill(buffer->raw, number);
		stream_sender_put(sender, buffer);
		os_sleep_ns(pause_ns);
	}
	for (;;) {
		uint64_t frames;

		os_mutex_lock(&link->lock);
		frames = link->frames;
		os_mutex_unlock(&link->lock);
		if (frames == batches)
			break;
		os_sleep_ns(NS_PER_MS);
	}
	stream_sender_free(sender);
	os_mutex_fini(&link->lock);
	assert_false(link->is_wrong);
}

/* Nobody waits: fewer bytes on the wire. */
static void what_comes_slowly_is_compressed(void **state)
{
	struct link link = {0};

	(void)state;
	run(&link, 40, 20 * NS_PER_MS);
	/* A machine that stands still for a moment lets two of them meet. */
	assert_true(link.raw_frames < 10);
}

/* The link is what limits: compressed frames move twice as many bytes, raw ones are only tried. */
static void a_slow_link_gets_compressed_frames(void **state)
{
	struct link link = {.bytes_a_second = 5 * MIB};

	(void)state;
	run(&link, 100, 0);
	assert_true(link.raw_frames < 40);
	assert_true(link.wire_bytes < 100 * BATCH_BYTES * 3 / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_comes_slowly_is_compressed),
		cmocka_unit_test(a_slow_link_gets_compressed_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
