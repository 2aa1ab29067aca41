// SPDX-License-Identifier: GPL-2.0-or-later
/* TLS streams: bytes both ways at once, deadlines, cancelling, cuts, last words, new keys. */
#include "tls_fixture.h"

#include <unistd.h>

#include "common/tls_internal.h"

#define BULK_BYTES  (100u * 1024 * 1024)
#define PIECE_BYTES (256u * 1024)

/* Bytes that anyone can compute: 64-bit words of a counter, stirred. */
static void fill(uint8_t *data, size_t size, uint64_t offset)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t word = (offset + i) * 0x9e3779b97f4a7c15ull;

		memcpy(data + i, &word, 8);
	}
}

struct flow {
	struct tls_stream *stream;
	uint64_t bytes;
	int error;
	bool is_wrong;
};

static void send_bulk(void *argument)
{
	struct flow *flow = argument;
	uint8_t *data = malloc(PIECE_BYTES);

	for (uint64_t done = 0; done < flow->bytes && !flow->error; done += PIECE_BYTES) {
		fill(data, PIECE_BYTES, done);
		flow->error = tls_stream_write(flow->stream, data, PIECE_BYTES, 0);
	}
	free(data);
}

static void receive_bulk(void *argument)
{
	struct flow *flow = argument;
	uint8_t *data = malloc(PIECE_BYTES), *expected = malloc(PIECE_BYTES);

	for (uint64_t done = 0; done < flow->bytes && !flow->error; done += PIECE_BYTES) {
		flow->error = tls_stream_read(flow->stream, data, PIECE_BYTES, 0);
		fill(expected, PIECE_BYTES, done);
		flow->is_wrong |= !flow->error && memcmp(data, expected, PIECE_BYTES) != 0;
	}
	free(expected);
	free(data);
}

static void run_both_ways(struct pair *pair, uint64_t bytes)
{
	struct flow flows[4] = {{.stream = pair->agent.stream, .bytes = bytes},
				{.stream = pair->receiver.stream, .bytes = bytes},
				{.stream = pair->receiver.stream, .bytes = bytes},
				{.stream = pair->agent.stream, .bytes = bytes}};
	struct os_thread threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(os_thread_start(&threads[i], "flow",
						 i % 2 ? receive_bulk : send_bulk, &flows[i]),
				 0);
	for (int i = 0; i < 4; i++)
		os_thread_join(&threads[i]);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(flows[i].error, 0);
		assert_false(flows[i].is_wrong);
	}
}

static void a_hundred_mib_go_both_ways_at_once(void **state)
{
	struct pair pair;

	(void)state;
	pair_connect(&pair);
	run_both_ways(&pair, BULK_BYTES);
	pair_free(&pair);
}

/* New keys every megabyte, in both directions, while both threads of each side are at work. */
static void keys_change_under_way(void **state)
{
	struct pair pair;

	(void)state;
	pair_connect(&pair);
	pair.agent.stream->key_bytes_max = 1024 * 1024;
	pair.receiver.stream->key_bytes_max = 700 * 1000;
	run_both_ways(&pair, BULK_BYTES / 4);
	assert_true(pair.agent.stream->key_bytes <= 1024 * 1024);
	pair_free(&pair);
}

static void pieces_of_any_size_arrive_whole(void **state)
{
	static const size_t sizes[] = {1, 7, 16383, 16384, 16385, 70000, 300001, 1};
	static uint8_t sent[300001], got[300001];
	struct pair pair;

	(void)state;
	pair_connect(&pair);
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 31 >> 3);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		memset(got, 0, sizeof(got));
		assert_int_equal(tls_stream_write(pair.agent.stream, sent, sizes[i], patience()),
				 0);
		/* Read in two halves: pieces need not match. */
		assert_int_equal(
			tls_stream_read(pair.receiver.stream, got, sizes[i] / 2, patience()), 0);
		assert_int_equal(tls_stream_read(pair.receiver.stream, got + sizes[i] / 2,
						 sizes[i] - sizes[i] / 2, patience()),
				 0);
		assert_memory_equal(sent, got, sizes[i]);
	}
	pair_free(&pair);
}

static void reading_ends_at_the_deadline(void **state)
{
	uint64_t deadline = os_monotonic_ns() + 30 * NS_PER_MS;
	struct pair pair;
	char byte;

	(void)state;
	pair_connect(&pair);
	assert_int_equal(tls_stream_wait_readable(pair.agent.stream, deadline), -ETIMEDOUT);
	assert_int_equal(tls_stream_read(pair.agent.stream, &byte, 1, deadline), -ETIMEDOUT);
	assert_true(os_monotonic_ns() >= deadline);
	pair_free(&pair);
}

static void writing_to_a_peer_that_does_not_read_ends_at_the_deadline(void **state)
{
	static uint8_t data[PIECE_BYTES];
	struct pair pair;
	int error = 0;

	(void)state;
	pair_connect(&pair);
	for (int i = 0; i < 4000 && !error; i++)
		error = tls_stream_write(pair.agent.stream, data, sizeof(data),
					 os_monotonic_ns() + 100 * NS_PER_MS);
	assert_int_equal(error, -ETIMEDOUT);
	pair_free(&pair);
}

static void read_one(void *argument)
{
	struct flow *flow = argument;
	char byte;

	flow->error = tls_stream_read(flow->stream, &byte, 1, 0);
}

static void write_for_ever(void *argument)
{
	struct flow *flow = argument;
	uint8_t *data = calloc(1, PIECE_BYTES);

	while (!flow->error)
		flow->error = tls_stream_write(flow->stream, data, PIECE_BYTES, 0);
	free(data);
}

static void cancelling_ends_reads_and_writes_under_way(void **state)
{
	struct flow reader = {0}, writer = {0};
	struct os_thread threads[2];
	struct pair pair;
	char byte = 0;

	(void)state;
	pair_connect(&pair);
	reader.stream = writer.stream = pair.agent.stream;
	assert_int_equal(os_thread_start(&threads[0], "read", read_one, &reader), 0);
	assert_int_equal(os_thread_start(&threads[1], "write", write_for_ever, &writer), 0);
	/* The writer is under way when its bytes arrive. */
	assert_int_equal(tls_stream_read(pair.receiver.stream, &byte, 1, patience()), 0);
	tls_stream_cancel(pair.agent.stream);
	os_thread_join(&threads[0]);
	os_thread_join(&threads[1]);
	assert_int_equal(reader.error, -ECANCELED);
	assert_int_equal(writer.error, -ECANCELED);
	assert_int_equal(tls_stream_read(pair.agent.stream, &byte, 1, patience()), -ECANCELED);
	assert_int_equal(tls_stream_write(pair.agent.stream, &byte, 1, patience()), -ECANCELED);
	assert_int_equal(tls_stream_wait_readable(pair.agent.stream, patience()), -ECANCELED);
	pair_free(&pair);
}

static void a_peer_that_closes_is_noticed(void **state)
{
	struct pair pair;
	char byte = 0;
	int error = 0;

	(void)state;
	pair_connect(&pair);
	tls_stream_cancel(pair.receiver.stream);
	tls_stream_free(pair.receiver.stream);
	pair.receiver.stream = NULL;
	assert_int_equal(tls_stream_wait_readable(pair.agent.stream, patience()), 0);
	assert_int_equal(tls_stream_read(pair.agent.stream, &byte, 1, patience()), -ECONNRESET);
	for (int i = 0; i < 1000 && !error; i++) /* until its reset has come */
		error = tls_stream_write(pair.agent.stream, &byte, 1, patience());
	assert_int_equal(error, -ECONNRESET);
	pair_free(&pair);
}

static void bytes_that_came_are_readable_at_once(void **state)
{
	struct pair pair;
	char bytes[2] = "ab";

	(void)state;
	pair_connect(&pair);
	assert_int_equal(tls_stream_write(pair.agent.stream, bytes, 2, patience()), 0);
	assert_int_equal(tls_stream_read(pair.receiver.stream, bytes, 1, patience()), 0);
	/* The second one is in OpenSSL's buffer, no longer in the socket's. */
	assert_int_equal(tls_stream_wait_readable(pair.receiver.stream, patience()), 0);
	assert_int_equal(tls_stream_read(pair.receiver.stream, bytes, 1, patience()), 0);
	pair_free(&pair);
}

static void tampered_bytes_are_a_protocol_error(void **state)
{
	static const uint8_t record[] = {0x17, 0x03, 0x03, 0x00, 0x20, 1, 2, 3, 4, 5, 6, 7, 8,
					 9,    10,   11,   12,	 13,   1, 2, 3, 4, 5, 6, 7, 8,
					 9,    10,   11,   12,	 13,   1, 2, 3, 4, 5, 6};
	struct pair pair;
	char byte;

	(void)state;
	pair_connect(&pair);
	assert_int_equal(os_socket_send(pair.agent.socket, record, sizeof(record)), sizeof(record));
	assert_int_equal(tls_stream_read(pair.receiver.stream, &byte, 1, patience()), -EPROTO);
	pair_free(&pair);
}

static void free_stream(void *argument)
{
	tls_stream_free(argument);
}

/* The receiver says why and closes, while bytes of the agent are unread, for which a plain close would
 * send a reset, and throw away what is not delivered yet. The agent must see a proper end. */
static void last_words_arrive_though_bytes_were_unread(void **state)
{
	static uint8_t data[PIECE_BYTES];
	struct os_thread thread;
	struct pair pair;
	char words[7] = "";
	long got;

	(void)state;
	pair_connect(&pair);
	assert_int_equal(tls_stream_write(pair.agent.stream, data, sizeof(data), patience()), 0);
	assert_int_equal(os_socket_wait(pair.receiver.socket, OS_WAIT_READ, patience()),
			 OS_WAIT_READ);
	assert_int_equal(tls_stream_write(pair.receiver.stream, "sorry!", 7, patience()), 0);
	assert_int_equal(os_thread_start(&thread, "free", free_stream, pair.receiver.stream), 0);
	pair.receiver.stream = NULL;
	assert_int_equal(tls_stream_read(pair.agent.stream, words, 7, patience()), 0);
	assert_string_equal(words, "sorry!");
	os_thread_join(&thread);
	do /* past TLS's own word for the end */
		got = os_socket_receive(pair.agent.socket, data, sizeof(data));
	while (got > 0);
	assert_int_equal(got, 0);
	pair_free(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hundred_mib_go_both_ways_at_once),
		cmocka_unit_test(keys_change_under_way),
		cmocka_unit_test(pieces_of_any_size_arrive_whole),
		cmocka_unit_test(reading_ends_at_the_deadline),
		cmocka_unit_test(writing_to_a_peer_that_does_not_read_ends_at_the_deadline),
		cmocka_unit_test(cancelling_ends_reads_and_writes_under_way),
		cmocka_unit_test(a_peer_that_closes_is_noticed),
		cmocka_unit_test(bytes_that_came_are_readable_at_once),
		cmocka_unit_test(tampered_bytes_are_a_protocol_error),
		cmocka_unit_test(last_words_arrive_though_bytes_were_unread),
	};

	return cmocka_run_group_tests(tests, set_up_folder, remove_folder);
}
