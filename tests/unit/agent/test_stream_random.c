// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The stream under anything that may happen, in any order: writes, holes, discards, completions that nobody sees,
 * acknowledgements that come late, cut connections, killed agents, full rings. Each confirmed mark has to be a
 * state that a power cut could have left (fake_receiver.h judges), and in the end all is the same.
 *
 * STREAM_SEED=N repeats a round; STREAM_ROUNDS=N runs more of them.
 */
#include "tests/unit/agent/fake_receiver.h"

#include <errno.h>
#include <stdio.h>

#define STEPS 400

static uint64_t next_value;

static unsigned int dice(unsigned int sides)
{
	return (unsigned int)rand() % sides;
}

static void write_something(void)
{
	struct fake_pending *pending = &fake.pending[dice(PENDING_MAX)];
	unsigned int disk = dice(DISKS);
	uint64_t block = dice(BLOCKS), value = dice(8) ? ++next_value : 0;

	for (unsigned int i = 0; i < PENDING_MAX; i++)
		if (fake.pending[i].id && fake.pending[i].disk == disk &&
		    fake.pending[i].block == block)
			return; /* two writes to one block at the same time: the guest's own fault */
	switch (dice(16)) {
	case 0:
		fake.disk[disk][block] = fake.stable[disk][block] = value;
		fake.is_nobodys[disk][block] = false;
		fake_hole(disk, block);
		return;
	case 1:
		fake_discard(disk, block, value);
		return;
	case 2:
	case 3:
	case 4:
		(void)fake_issue(disk, block, value);
		return;
	case 5:
	case 6:
	case 7:
		if (!pending->id)
			return;
		if (pending->is_unseen)
			fake_find(pending);
		else if (dice(4))
			fake_finish(pending);
		else
			fake_finish_unseen(pending);
		return;
	default:
		fake_write(disk, block, value);
	}
}

static void meanwhile(void)
{
	if (!dice(3))
		write_something();
}

static struct stream *reopen(struct stream *stream)
{
	bool is_joined;

	if (stream) {
		stream_fail(stream);
		receiver_cut();
		stream_free(stream);
	}
	stream = open_stream(true);
	assert_int_equal(stream_join(stream, &is_joined, NULL), 0);
	stream_begin(
		stream); /* without a join everything is in todo, and is copied in the stream */
	return stream;
}

static void *leave(void *argument)
{
	return stream_leave(argument, CAPTURE_HOLE_RING_FULL, NULL) ? argument : NULL;
}

static void leave_and_begin(struct stream *stream)
{
	pthread_t thread;
	void *failed;

	assert_int_equal(pthread_create(&thread, NULL, leave, stream), 0);
	while (pthread_tryjoin_np(thread, &failed) != 0) {
		receive(256);
		fake_ack(stream);
	}
	assert_null(failed);
	stream_begin(stream);
}

static void step_once(struct stream *stream)
{
	int error = step(stream);

	if (error == -ENOBUFS)
		leave_and_begin(stream);
	else
		assert_int_equal(error, 0);
}

static void finish_everything(struct stream *stream)
{
	uint64_t deadline = os_monotonic_ns() + 20 * NS_PER_S, from;

	fake.during_read = NULL;
	for (unsigned int i = 0; i < PENDING_MAX; i++) {
		if (fake.pending[i].id && fake.pending[i].is_unseen)
			fake_find(&fake.pending[i]);
		else if (fake.pending[i].id)
			fake_finish(&fake.pending[i]);
	}
	from = receiver.durable.mark + 1;
	while (receiver.confirmed < from || !stream_round_is_over(stream) ||
	       source_todo_bytes(&source) + source_dirty_bytes(&source) > 0 ||
	       receiver.durable.position != fake.produced) {
		assert_true(os_monotonic_ns() < deadline);
		stream->look_due_ns = 0;
		step_once(stream);
		receive(256);
		fake_ack(stream);
	}
}

static void run_round(unsigned int seed)
{
	struct stream *stream = NULL;

	srand(seed);
	fake_reset();
	receiver_reset();
	next_value = 0;
	fake.during_read = meanwhile;
	fake.room = dice(2) ? 40 : RING_MAX;
	stream = reopen(NULL);
	for (unsigned int i = 0; i < STEPS; i++) {
		unsigned int what = dice(40);

		if (what < 20)
			write_something();
		else if (what < 30)
			step_once(stream);
		else if (what < 33)
			stream_flush(stream);
		else if (what < 36)
			receive(dice(3));
		else if (what < 39)
			fake_ack(stream);
		else if (!dice(4))
			stream = reopen(stream);
		if (!dice(8))
			stream->look_due_ns = 0;
		if (!dice(4))
			stream->mark_due_ns = 0;
		if (receiver.durable.mark > MARKS_MAX - 100)
			break;
	}
	finish_everything(stream);
	assert_memory_equal(receiver.replica, fake.disk, sizeof(fake.disk));
	stream_fail(stream);
	receiver_cut();
	stream_free(stream);
}

static void every_confirmed_mark_is_consistent(void **state)
{
	const char *seed_text = getenv("STREAM_SEED"), *rounds_text = getenv("STREAM_ROUNDS");
	unsigned int seed = seed_text ? (unsigned int)atoi(seed_text) : 1;
	unsigned int rounds = rounds_text ? (unsigned int)atoi(rounds_text) : 150;

	if (seed_text)
		rounds = 1;
	for (unsigned int i = 0; i < rounds; i++) {
		print_message("STREAM_SEED=%u\n", seed + i);
		run_round(seed + i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_confirmed_mark_is_consistent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
