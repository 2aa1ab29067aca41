/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The scan tracker knows nothing, and says so. */
#include "agent/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

static const struct tracker_options options = {.bitmap_bytes = 1 << 20};

static struct tracker *open_one(uint64_t size_bytes)
{
	struct tracked_disk disk = {.size_bytes = size_bytes, .logical_block_bytes = 512};
	struct tracker *tracker = NULL;

	assert_int_equal(tracker_scan_open(&options, &disk, 1, &tracker, NULL), 0);
	return tracker;
}

static void take_lists_every_block(void **state)
{
	struct tracker *tracker = open_one(10 * 4096 + 512);
	struct bitmap dirty, todo;

	(void)state;
	tracker->ops->bitmaps(tracker, 0, &dirty, &todo);
	assert_null(dirty.words);
	assert_int_equal(todo.bits, 11);
	assert_true(bitmap_is_empty(&todo));
	assert_int_equal(tracker->ops->take(tracker, 0, NULL), 0);
	assert_int_equal(bitmap_count(&todo), 11);
	tracker->ops->close(tracker);
}

static void is_never_continuous(void **state)
{
	struct tracker *tracker = open_one(1 << 20);
	struct tracker_disk_state now = {.is_continuous = true};

	(void)state;
	tracker->ops->memory(tracker, 0)->replica_id[0] = 1;
	assert_int_equal(tracker->ops->poll(tracker, 0, &now, NULL), 0);
	assert_false(now.is_continuous);
	assert_non_null(now.why);
	assert_false(now.is_suspect);
	tracker->ops->close(tracker);
}

static void bitmap_stays_under_the_ceiling(void **state)
{
	struct tracker *tracker = open_one(1ull << 41);
	struct bitmap dirty, todo;

	(void)state;
	tracker->ops->bitmaps(tracker, 0, &dirty, &todo);
	assert_true(bitmap_words(todo.bits) * 8 <= options.bitmap_bytes);
	assert_int_equal(todo.bits * tracker->ops->block_bytes(tracker, 0), 1ull << 41);
	tracker->ops->close(tracker);
}

static void blocks_larger_than_a_batch_are_refused(void **state)
{
	struct tracked_disk disk = {.size_bytes = (1ull << 41) + 512};
	struct tracker *tracker = NULL;
	struct fault fault = {0};

	(void)state;
	assert_int_equal(tracker_scan_open(&options, &disk, 1, &tracker, &fault), -ENOMEM);
	assert_null(tracker);
	assert_int_equal(fault.class, FAULT_STOP);
	assert_non_null(strstr(fault.text, "raise 'memory ='"));
}

static void a_large_disk_takes_its_share_from_small_ones(void **state)
{
	struct tracked_disk disks[] = {{.size_bytes = 1ull << 40}, {.size_bytes = 1ull << 30}};
	struct tracker *tracker = NULL;

	(void)state;
	assert_int_equal(tracker_scan_open(&options, disks, 2, &tracker, NULL), 0);
	assert_int_equal(tracker->ops->block_bytes(tracker, 0), 256 * 1024);
	assert_int_equal(tracker->ops->block_bytes(tracker, 1), 4096);
	tracker->ops->close(tracker);
}

static void empty_disk_is_refused(void **state)
{
	struct tracked_disk disk = {.size_bytes = 0};
	struct tracker *tracker = NULL;

	(void)state;
	assert_int_equal(tracker_scan_open(&options, &disk, 1, &tracker, NULL), -EINVAL);
	assert_null(tracker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(take_lists_every_block),
		cmocka_unit_test(is_never_continuous),
		cmocka_unit_test(bitmap_stays_under_the_ceiling),
		cmocka_unit_test(blocks_larger_than_a_batch_are_refused),
		cmocka_unit_test(a_large_disk_takes_its_share_from_small_ones),
		cmocka_unit_test(empty_disk_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
