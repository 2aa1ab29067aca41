// SPDX-License-Identifier: GPL-2.0-or-later
/* The stream's rules, one by one: I5, I6, marks only where it is consistent, resuming, gaps. */
#include "tests/unit/agent/fake_receiver.h"

#include <errno.h>

static int begin(void **state)
{
	fake_reset();
	receiver_reset();
	return 0;
}

static struct stream *open_joined(bool *ret_is_joined)
{
	struct stream *stream = open_stream(true);

	assert_int_equal(stream_join(stream, ret_is_joined, NULL), 0);
	return stream;
}

static void close_stream(struct stream *stream)
{
	stream_fail(stream);
	receiver_cut();
	stream_free(stream);
}

/* Steps until the condition holds; the receiver takes and acknowledges everything. */
#define RUN_UNTIL(stream, condition)                                                               \
	do {                                                                                       \
		uint64_t until_ns = os_monotonic_ns() + 20 * NS_PER_S;                             \
		while (!(condition)) {                                                             \
			assert_true(os_monotonic_ns() < until_ns);                                 \
			assert_int_equal(step(stream), 0);                                         \
			receive(256);                                                              \
			fake_ack(stream);                                                          \
		}                                                                                  \
	} while (0)

static struct stream *begin_streaming(void)
{
	bool is_joined = true;
	struct stream *stream = open_joined(&is_joined);

	assert_false(is_joined);
	stream_begin(stream);
	RUN_UNTIL(stream, receiver.confirms > 0);
	return stream;
}

static void catches_up_then_marks(void **state)
{
	struct stream *stream;

	fake.disk[0][3] = fake.stable[0][3] = 33;
	fake_mark_dirty(0, 3);
	stream = begin_streaming();
	assert_int_equal(receiver.replica[0][3], 33);
	assert_memory_equal(receiver.order, "cm!", 3);
	assert_true(stream_is_consistent(stream));
	assert_int_equal(receiver.flags[1], WIRE_MARK_QUIET);
	stream_settle(stream);
	assert_int_not_equal(stream_marked_ns(stream), 0);
	close_stream(stream);
}

static void write_during_read(void)
{
	fake.during_read = NULL;
	fake_write(0, 5, 55);
}

/* I5: what completed before the read began stands before the copy, what came meanwhile behind it. */
static void a_copy_stands_before_writes_that_came_during_the_read(void **state)
{
	struct stream *stream = begin_streaming();

	memset(receiver.order, 0, sizeof(receiver.order));
	fake_discard(0, 5, 1);
	fake_write(1, 9, 99);
	fake.during_read = write_during_read;
	stream->look_due_ns = 0;
	RUN_UNTIL(stream, receiver.copies == 1 && receiver.writes == 2);
	assert_non_null(strstr(receiver.order, "w"));
	assert_true(strchr(receiver.order, 'c') > strchr(receiver.order, 'w'));
	assert_true(strchr(receiver.order, 'c') < strrchr(receiver.order, 'w'));
	assert_int_equal(receiver.replica[0][5], 55);
	close_stream(stream);
}

static void bits_stay_until_the_batch_is_acknowledged(void **state)
{
	struct stream *stream;
	bool is_joined;
	uint64_t deadline = os_monotonic_ns() + 20 * NS_PER_S;

	fake.disk[0][7] = 7;
	fake_mark_dirty(0, 7);
	stream = open_joined(&is_joined);
	stream_begin(stream);
	fake_write(1, 1, 11);
	while (!receiver.confirms) {
		assert_true(os_monotonic_ns() < deadline);
		assert_int_equal(step(stream), 0);
		receive(256);
		assert_true(bitmap_test(&source.disks[0].todo, 7));
		assert_int_equal(fake.released, 0);
	}
	/* A new hole: no take may merge with bits that an old acknowledgement clears. */
	fake_hole(0, 7);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(step(stream), 0);
	assert_true(bitmap_test(&source.disks[0].dirty, 7));
	fake_ack(stream);
	stream_settle(stream);
	assert_false(bitmap_test(&source.disks[0].todo, 7));
	assert_true(bitmap_test(&source.disks[0].dirty, 7));
	assert_int_equal(fake.released, 1);
	RUN_UNTIL(stream, stream_is_consistent(stream) && stream_round_is_over(stream));
	assert_int_equal(receiver.copies, 2);
	close_stream(stream);
}

/* Behind by more than a part of the ring: what is overwritten before the next mark does not travel. */
static void what_is_overwritten_while_behind_does_not_travel(void **state)
{
	struct stream *stream = begin_streaming();
	uint64_t confirmed = receiver.confirms, writes = receiver.writes;

	fake.room = 400;
	for (uint64_t i = 1; i <= 200; i++)
		fake_write(i % 2, 10 + i % 4, i);
	fake_write(1, 60, 61);
	RUN_UNTIL(stream, receiver.confirms > confirmed && receiver.replica[1][60] == 61);
	assert_int_equal(receiver.writes - writes, 5);
	assert_int_equal(stream->coalesced_bytes, 196 * BLOCK_BYTES);
	for (uint64_t i = 197; i <= 200; i++)
		assert_int_equal(receiver.replica[i % 2][10 + i % 4], i);

	/* Not behind: everything travels. */
	fake.room = RING_MAX;
	writes = receiver.writes;
	for (uint64_t i = 1; i <= 50; i++)
		fake_write(0, 20, i);
	RUN_UNTIL(stream, receiver.replica[0][20] == 50);
	assert_int_equal(receiver.writes - writes, 50);
	assert_int_equal(stream->coalesced_bytes, 196 * BLOCK_BYTES);
	close_stream(stream);
}

static void a_hole_is_a_gap_and_is_mended(void **state)
{
	struct stream *stream = begin_streaming();
	uint64_t confirmed;

	fake.disk[1][4] = fake.stable[1][4] = 44;
	fake_hole(1, 4);
	fake_write(0, 1, 10);
	assert_int_equal(step(stream), 0);
	confirmed = receiver.confirmed;
	RUN_UNTIL(stream, receiver.confirmed > confirmed && receiver.copies == 1);
	assert_int_equal(receiver.gaps, 1);
	assert_int_equal(fake.gaps, 1);
	assert_int_equal(receiver.replica[1][4], 44);
	assert_true(strchr(receiver.order, 'g') < strchr(receiver.order, 'w'));
	close_stream(stream);
}

static void a_mark_waits_for_the_requests_on_their_way(void **state)
{
	struct stream *stream = begin_streaming();
	struct fake_pending *pending = fake_issue(0, 2, 22);
	uint64_t number = stream->mark_number + 1;

	RUN_UNTIL(stream, receiver.durable.mark == number);
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(step(stream), 0);
		receive(256);
	}
	assert_true(stream->mark.is_pending);
	assert_true(receiver.confirmed < number);
	fake_finish(pending);
	RUN_UNTIL(stream, receiver.confirmed >= number);
	close_stream(stream);
}

static void a_mark_before_an_unseen_completion_is_never_confirmed(void **state)
{
	struct stream *stream = begin_streaming();
	struct fake_pending *pending = fake_issue(0, 2, 22);
	uint64_t number = stream->mark_number + 1;

	fake_finish_unseen(pending);
	RUN_UNTIL(stream, receiver.durable.mark == number);
	assert_true(receiver.confirmed < number);
	fake_find(pending);
	RUN_UNTIL(stream, receiver.confirmed > number);
	assert_int_equal(receiver.replica[0][2], 22); /* judge_mark: and no mark was false */
	close_stream(stream);
}

static void no_mark_is_confirmed_while_a_disk_is_suspect(void **state)
{
	struct stream *stream = begin_streaming();
	uint64_t confirms;

	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(step(stream), 0);
	receive(256);
	fake.is_suspect = true;
	while (stream->mark.is_pending)
		assert_int_equal(step(stream), 0);
	receive(256);
	confirms = receiver.confirms;
	fake_write(0, 1, 1);
	for (unsigned int i = 0; i < 50; i++) {
		assert_int_equal(step(stream), 0);
		receive(256);
		fake_ack(stream);
	}
	assert_int_equal(receiver.confirms, confirms);
	close_stream(stream);
}

static void goes_on_where_the_receiver_is(void **state)
{
	struct stream *stream = begin_streaming();
	bool is_joined = false;
	uint64_t gaps = receiver.gaps, confirmed;

	for (uint64_t i = 0; i < 50; i++)
		fake_write(i % DISKS, i, i + 100);
	RUN_UNTIL(stream, receiver.writes == 50);
	for (uint64_t i = 0; i < 50; i++)
		fake_write(i % DISKS, i, i + 1000);
	assert_int_equal(step(stream), 0);
	close_stream(stream); /* with batches that the receiver never got */
	fake_write(0, 0, 7777);
	stream = open_joined(&is_joined);
	assert_true(is_joined);
	stream_begin(stream);
	confirmed = receiver.confirmed;
	RUN_UNTIL(stream, receiver.confirmed > confirmed && receiver.writes == 101);
	assert_int_equal(receiver.gaps, gaps);
	assert_int_equal(receiver.replica[0][0], 7777);
	assert_int_equal(receiver.replica[1][49], 1049);
	close_stream(stream);
}

static void a_stream_that_cannot_be_joined_becomes_bits(void **state)
{
	struct stream *stream = begin_streaming();
	bool is_joined = true;

	fake_write(0, 9, 9);
	fake_write(1, 8, 8);
	close_stream(stream);
	receiver.durable = (struct wire_stream_ready){.stream = 5, .batch = 4, .mark = 100};
	stream = open_joined(&is_joined);
	assert_false(is_joined);
	assert_false(stream_is_left(stream));
	assert_int_equal(fake.mode, CAPTURE_OFF);
	assert_true(bitmap_test(&source.disks[0].todo, 9));
	assert_true(bitmap_test(&source.disks[1].todo, 8));
	stream_begin(stream);
	RUN_UNTIL(stream, receiver.confirmed > 100);
	assert_int_equal(receiver.replica[1][8], 8);
	close_stream(stream);
}

static void *leave(void *argument)
{
	struct stream *stream = argument;

	return stream_leave(stream, CAPTURE_HOLE_NONE, NULL) ? stream : NULL;
}

static void leave_and_receive(struct stream *stream)
{
	pthread_t thread;
	void *failed = NULL;
	uint64_t deadline = os_monotonic_ns() + 20 * NS_PER_S;

	assert_int_equal(pthread_create(&thread, NULL, leave, stream), 0);
	while (pthread_tryjoin_np(thread, &failed) != 0) {
		assert_true(os_monotonic_ns() < deadline);
		receive(256);
		fake_ack(stream);
	}
	assert_null(failed);
}

/* A write that another processor captured just after the ring was full. */
static void a_full_ring_that_a_record_tells_of_is_one_gap(void **state)
{
	struct stream *stream = begin_streaming();

	fake.room = 1;
	fake_write(0, 0, 1);
	fake_write(0, 2, 2);
	assert_int_equal(fake.mode, CAPTURE_FULL);
	fake.last_hole = CAPTURE_HOLE_RING_FULL;
	fake.ring[fake.produced] = fake.ring[fake.produced - 1];
	fake.ring[fake.produced++].holes = fake.holes;
	assert_int_equal(step(stream), -ENOBUFS);
	leave_and_receive(stream);
	assert_int_equal(receiver.gaps, 2);
	assert_int_equal(fake.gaps, 1);
	close_stream(stream);
}

static void a_full_ring_ends_streaming_and_nothing_is_lost(void **state)
{
	struct stream *stream = begin_streaming();

	fake.room = 10;
	for (uint64_t i = 0; i < 20; i++)
		fake_write(0, 2 * i, i + 1); /* apart, or they become one record */
	assert_int_equal(fake.mode, CAPTURE_FULL);
	assert_int_equal(step(stream), -ENOBUFS);
	leave_and_receive(stream);
	assert_true(stream_is_left(stream));
	assert_int_equal(receiver.gaps, 1);
	assert_int_equal(fake.gaps, 1);
	assert_int_equal(receiver.writes, 10); /* what the ring had was good */
	for (uint64_t i = 0; i < 20; i++)
		assert_true(receiver.replica[0][2 * i] == i + 1 ||
			    bitmap_test(&source.disks[0].dirty, 2 * i));
	fake.room = RING_MAX;
	stream_begin(stream);
	RUN_UNTIL(stream, stream_is_consistent(stream) && stream_round_is_over(stream));
	assert_int_equal(receiver.replica[0][38], 20);
	close_stream(stream);
}

static void what_cannot_be_read_stays_listed_and_nothing_is_marked(void **state)
{
	struct stream *stream;
	bool is_joined;

	fake.is_unreadable[0][6] = true;
	fake_mark_dirty(0, 6);
	fake_mark_dirty(0, 80);
	fake.disk[0][80] = fake.stable[0][80] = 80;
	stream = open_joined(&is_joined);
	stream_begin(stream);
	RUN_UNTIL(stream, receiver.replica[0][80] == 80 && stream_round_is_over(stream));
	assert_true(bitmap_test(&source.disks[0].todo, 6));
	assert_int_equal(receiver.marks, 0);
	assert_true(stream_has_unreadable(stream));
	fake.is_unreadable[0][6] = false;
	RUN_UNTIL(stream, receiver.confirms > 0);
	close_stream(stream);
}

static void a_forced_mark_names_a_confirmed_and_durable_one(void **state)
{
	struct stream *stream = open_stream(false);
	bool is_joined = true;
	uint64_t number = 0;

	assert_int_equal(stream_join(stream, &is_joined, NULL), 0);
	assert_false(is_joined);
	assert_true(stream_is_left(stream));
	assert_int_equal(stream_mark_left(stream, WIRE_MARK_FROZEN, os_monotonic_ns() + NS_PER_MS,
					  &number, NULL),
			 -ETIMEDOUT);
	receive(256);
	fake_ack(stream);
	assert_int_equal(receiver.confirmed, 1);
	assert_int_equal(receiver.flags[1], WIRE_MARK_FROZEN);
	assert_false(stream_is_left(stream)); /* DATA only behind a GAP */
	leave_and_receive(stream);
	assert_true(stream_is_left(stream));
	assert_string_equal(receiver.order, "m!g");
	close_stream(stream);
}

static void an_acknowledgement_of_what_was_not_sent_is_refused(void **state)
{
	struct stream *stream = begin_streaming();
	struct wire_stream_ack ack = {.stream = STREAM_ID, .batch = stream->batch + 1};

	assert_int_equal(stream_on_ack(stream, &ack), -EPROTO);
	ack.batch = 0;
	assert_int_equal(stream_on_ack(stream, &ack), -EPROTO);
	ack.stream++; /* an earlier one */
	assert_int_equal(stream_on_ack(stream, &ack), 0);
	close_stream(stream);
}

/* The receiver tells what is applied on its own, as soon as there is a connection. */
static void an_acknowledgement_may_come_before_the_join(void **state)
{
	struct wire_stream_ack ack = {.stream = STREAM_ID, .batch = 5, .applied = 5};
	struct stream *stream;
	bool is_joined;

	receiver.durable.stream = STREAM_ID;
	receiver.durable.batch = 5;
	stream = open_stream(true);
	assert_int_equal(stream_on_ack(stream, &ack), 0);
	assert_int_equal(stream_join(stream, &is_joined, NULL), 0);
	assert_int_equal(stream_on_ack(stream, &ack), 0);
	ack.batch = 6;
	assert_int_equal(stream_on_ack(stream, &ack), -EPROTO);
	close_stream(stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(catches_up_then_marks, begin),
		cmocka_unit_test_setup(what_is_overwritten_while_behind_does_not_travel, begin),
		cmocka_unit_test_setup(a_copy_stands_before_writes_that_came_during_the_read,
				       begin),
		cmocka_unit_test_setup(bits_stay_until_the_batch_is_acknowledged, begin),
		cmocka_unit_test_setup(a_hole_is_a_gap_and_is_mended, begin),
		cmocka_unit_test_setup(a_mark_waits_for_the_requests_on_their_way, begin),
		cmocka_unit_test_setup(a_mark_before_an_unseen_completion_is_never_confirmed,
				       begin),
		cmocka_unit_test_setup(no_mark_is_confirmed_while_a_disk_is_suspect, begin),
		cmocka_unit_test_setup(goes_on_where_the_receiver_is, begin),
		cmocka_unit_test_setup(a_stream_that_cannot_be_joined_becomes_bits, begin),
		cmocka_unit_test_setup(a_full_ring_ends_streaming_and_nothing_is_lost, begin),
		cmocka_unit_test_setup(a_full_ring_that_a_record_tells_of_is_one_gap, begin),
		cmocka_unit_test_setup(what_cannot_be_read_stays_listed_and_nothing_is_marked,
				       begin),
		cmocka_unit_test_setup(a_forced_mark_names_a_confirmed_and_durable_one, begin),
		cmocka_unit_test_setup(an_acknowledgement_of_what_was_not_sent_is_refused, begin),
		cmocka_unit_test_setup(an_acknowledgement_may_come_before_the_join, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
