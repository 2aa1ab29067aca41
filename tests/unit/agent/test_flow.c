// SPDX-License-Identifier: GPL-2.0-or-later
/* The flow: bits leave the work bitmap on acknowledgement, and only then (I2, I6). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/flow.h"
#include "common/os_clock.h"
#include "common/os_thread.h"

#define BLOCK  4096u
#define BLOCKS 1000u

struct fixture {
	struct flow *flow;
	struct flow_pass pass;
	struct bitmap work;
	uint64_t words[(BLOCKS + 63) / 64];
	uint64_t acked, opened;
	struct os_thread thread;
	bool is_complete;
	int result;
};

static void run_pass(void *argument)
{
	struct fixture *f = argument;

	f->result = flow_run_pass(f->flow, &f->pass, &f->is_complete);
}

static void begin(struct fixture *f, enum flow_kind kind, unsigned int connections,
		  uint64_t size_bytes, uint32_t block)
{
	struct flow_disk disk = {
		.size_bytes = size_bytes,
		.block_bytes = block,
	};

	memset(f, 0, sizeof(*f));
	disk.acked_epoch = &f->acked;
	disk.opened_epoch = &f->opened;
	f->work = (struct bitmap){.words = f->words, .bits = (size_bytes + block - 1) / block};
	f->pass = (struct flow_pass){.kind = kind, .work = &f->work, .digest_block = 16384};
	assert_int_equal(flow_new(&disk, 1, connections, 7, &f->flow), 0);
}

static void start(struct fixture *f)
{
	assert_int_equal(os_thread_start(&f->thread, "pass", run_pass, f), 0);
}

static void end(struct fixture *f)
{
	os_thread_join(&f->thread);
	flow_free(f->flow);
}

/* Takes steps of a connection up to its next barrier; returns the blocks that it was given. */
static uint64_t take_until_barrier(struct fixture *f, unsigned int connection, uint64_t *ret_epoch)
{
	struct flow_batch batch;
	uint64_t blocks = 0;

	for (;;) {
		enum flow_step step = flow_next(f->flow, connection, true, &batch);

		if (step == FLOW_BARRIER) {
			*ret_epoch = batch.epoch;
			return blocks;
		}
		assert_int_equal(step, FLOW_BATCH);
		for (unsigned int i = 0; i < batch.count; i++)
			blocks += (batch.extents[i].length + BLOCK - 1) / BLOCK;
	}
}

static void bits_stay_until_the_epoch_is_acknowledged(void **state)
{
	struct fixture f;
	uint64_t epoch;

	begin(&f, FLOW_COPY, 1, BLOCKS * BLOCK, BLOCK);
	bitmap_set(&f.work, 3, 500);
	start(&f);
	assert_int_equal(take_until_barrier(&f, 0, &epoch), 500);
	assert_int_equal(bitmap_count(&f.work), 500);
	assert_int_equal(flow_on_ack(f.flow, epoch), 0);
	assert_int_equal(bitmap_count(&f.work), 0);
	end(&f);
	assert_int_equal(f.result, 0);
	assert_true(f.is_complete);
	assert_int_equal(f.acked, epoch);
	assert_true(f.opened >= epoch);
}

static void an_acknowledgement_before_all_barriers_is_refused(void **state)
{
	struct fixture f;
	uint64_t epoch;

	begin(&f, FLOW_COPY, 2, BLOCKS * BLOCK, BLOCK);
	bitmap_set(&f.work, 0, 10);
	start(&f);
	take_until_barrier(&f, 0, &epoch);
	assert_int_equal(flow_on_ack(f.flow, epoch), -EPROTO);
	assert_int_equal(bitmap_count(&f.work), 10);
	take_until_barrier(&f, 1, &epoch);
	assert_int_equal(flow_on_ack(f.flow, epoch), 0);
	assert_int_equal(flow_on_ack(f.flow, epoch), -EPROTO); /* twice */
	end(&f);
}

static void a_failed_session_leaves_every_unacknowledged_bit(void **state)
{
	struct fixture f;
	uint64_t epoch;

	begin(&f, FLOW_COPY, 1, BLOCKS * BLOCK, BLOCK);
	bitmap_set(&f.work, 0, BLOCKS);
	start(&f);
	take_until_barrier(&f, 0, &epoch);
	flow_fail(f.flow);
	end(&f);
	assert_int_equal(f.result, -ECONNRESET);
	assert_int_equal(bitmap_count(&f.work), BLOCKS);
}

static void what_could_not_be_read_stays_set(void **state)
{
	struct flow_batch batch;
	struct fixture f;
	uint64_t epoch;

	begin(&f, FLOW_COPY, 1, BLOCKS * BLOCK, BLOCK);
	bitmap_set(&f.work, 8, 8);
	start(&f);
	assert_int_equal(flow_next(f.flow, 0, true, &batch), FLOW_BATCH);
	assert_int_equal(flow_read_failed(f.flow, &batch, 10 * BLOCK, BLOCK), 0);
	take_until_barrier(&f, 0, &epoch);
	assert_int_equal(flow_on_ack(f.flow, epoch), 0);
	end(&f);
	assert_int_equal(bitmap_count(&f.work), 1);
	assert_true(bitmap_test(&f.work, 10));
}

static bool is_told_to_stop(void *flag)
{
	return __atomic_load_n((bool *)flag, __ATOMIC_ACQUIRE);
}

static void an_interrupted_pass_is_incomplete_and_keeps_the_rest(void **state)
{
	struct flow_batch batch;
	struct fixture f;
	bool must_stop = false;
	uint64_t epoch;

	begin(&f, FLOW_COPY, 1, BLOCKS * BLOCK, BLOCK);
	bitmap_set(&f.work, 0, BLOCKS);
	f.pass.should_stop = is_told_to_stop;
	f.pass.stop_context = &must_stop;
	start(&f);
	assert_int_equal(flow_next(f.flow, 0, true, &batch), FLOW_BATCH);
	__atomic_store_n(&must_stop, true, __ATOMIC_RELEASE);
	os_sleep_ns(NS_PER_S / 2); /* it is asked every 50 ms */
	assert_int_equal(take_until_barrier(&f, 0, &epoch), 0);
	assert_int_equal(flow_on_ack(f.flow, epoch), 0);
	end(&f);
	assert_int_equal(f.result, 0);
	assert_false(f.is_complete);
	assert_int_equal(bitmap_count(&f.work), BLOCKS - FLOW_BATCH_BYTES / BLOCK);
}

static void the_last_block_may_be_short(void **state)
{
	struct flow_batch batch;
	struct fixture f;
	uint64_t epoch;

	begin(&f, FLOW_COPY, 1, 10 * BLOCK + 512, BLOCK);
	bitmap_set(&f.work, 10, 1);
	start(&f);
	assert_int_equal(flow_next(f.flow, 0, true, &batch), FLOW_BATCH);
	assert_int_equal(batch.extents[0].offset, 10 * BLOCK);
	assert_int_equal(batch.extents[0].length, 512);
	take_until_barrier(&f, 0, &epoch);
	assert_int_equal(flow_on_ack(f.flow, epoch), 0);
	end(&f);
	assert_int_equal(bitmap_count(&f.work), 0);
}

struct seen {
	unsigned int differs, never_copied;
};

static void see(void *context, unsigned int disk, uint64_t offset, uint32_t length,
		enum wire_digest_verdict verdict)
{
	struct seen *seen = context;

	if (verdict == WIRE_DIGEST_DIFFERS)
		seen->differs += length / BLOCK;
	else
		seen->never_copied += length / BLOCK;
}

static void only_what_is_the_same_leaves_and_only_on_acknowledgement(void **state)
{
	static const uint8_t verdicts[] = {WIRE_DIGEST_SAME, WIRE_DIGEST_DIFFERS,
					   WIRE_DIGEST_NEVER_COPIED, WIRE_DIGEST_SAME};
	struct seen seen = {0};
	struct flow_batch batch;
	struct fixture f;
	uint64_t epoch, number;

	begin(&f, FLOW_COMPARE, 1, BLOCKS * BLOCK, BLOCK);
	f.pass.differs = see;
	f.pass.context = &seen;
	bitmap_set(&f.work, 0, 16);
	start(&f);
	assert_int_equal(flow_next(f.flow, 0, true, &batch), FLOW_BATCH);
	assert_int_equal(flow_digest_number(f.flow, &batch, &batch.extents[0], &number), 0);
	take_until_barrier(&f, 0, &epoch);
	assert_int_equal(flow_on_verdicts(f.flow, number, verdicts, 3), -EPROTO); /* one too few */
	assert_int_equal(flow_on_verdicts(f.flow, number, verdicts, 4), 0);
	assert_int_equal(flow_on_verdicts(f.flow, number, verdicts, 4), -EPROTO); /* twice */
	assert_int_equal(bitmap_count(&f.work), 16);
	assert_int_equal(flow_on_ack(f.flow, epoch), 0);
	end(&f);
	assert_int_equal(bitmap_count(&f.work), 8);
	assert_true(bitmap_test(&f.work, 4) && bitmap_test(&f.work, 11));
	assert_int_equal(seen.differs, 4);
	assert_int_equal(seen.never_copied, 4);
}

static void a_digest_is_never_smaller_than_a_tracker_block(void **state)
{
	struct flow_batch batch;
	struct fixture f;

	begin(&f, FLOW_COMPARE, 1, 64 * 65536, 65536);
	bitmap_set(&f.work, 0, 4);
	start(&f);
	assert_int_equal(flow_next(f.flow, 0, true, &batch), FLOW_BATCH);
	assert_int_equal(batch.digest_block, 65536);
	flow_fail(f.flow);
	end(&f);
}

/* More than the epochs can hold: everything is handed out once and settled once, whatever the order. */
static void a_long_pass_goes_through_many_epochs(void **state)
{
	enum { MANY = 300000 };
	struct flow_disk disk = {.size_bytes = (uint64_t)MANY * BLOCK, .block_bytes = BLOCK};
	struct flow_batch batch;
	struct fixture f;
	uint64_t blocks = 0, epochs = 0;

	memset(&f, 0, sizeof(f));
	disk.acked_epoch = &f.acked;
	disk.opened_epoch = &f.opened;
	f.work.bits = MANY;
	f.work.words = calloc(bitmap_words(MANY), sizeof(uint64_t));
	f.pass = (struct flow_pass){.kind = FLOW_COPY, .work = &f.work};
	assert_int_equal(flow_new(&disk, 1, 1, 1, &f.flow), 0);
	for (uint64_t i = 0; i < MANY; i += 2)
		bitmap_set(&f.work, i, 1); /* scattered: one entry each */
	start(&f);
	while (blocks < MANY / 2 || bitmap_count(&f.work)) {
		enum flow_step step = flow_next(f.flow, 0, true, &batch);

		if (step == FLOW_BATCH) {
			blocks += batch.count;
		} else {
			assert_int_equal(step, FLOW_BARRIER);
			assert_int_equal(flow_on_ack(f.flow, batch.epoch), 0);
			epochs++;
		}
	}
	end(&f);
	assert_int_equal(blocks, MANY / 2);
	assert_true(epochs > FLOW_EPOCHS);
	assert_true(f.is_complete);
	free(f.work.words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bits_stay_until_the_epoch_is_acknowledged),
		cmocka_unit_test(an_acknowledgement_before_all_barriers_is_refused),
		cmocka_unit_test(a_failed_session_leaves_every_unacknowledged_bit),
		cmocka_unit_test(what_could_not_be_read_stays_set),
		cmocka_unit_test(an_interrupted_pass_is_incomplete_and_keeps_the_rest),
		cmocka_unit_test(the_last_block_may_be_short),
		cmocka_unit_test(only_what_is_the_same_leaves_and_only_on_acknowledgement),
		cmocka_unit_test(a_digest_is_never_smaller_than_a_tracker_block),
		cmocka_unit_test(a_long_pass_goes_through_many_epochs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
