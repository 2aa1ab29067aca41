// SPDX-License-Identifier: GPL-2.0-or-later
/* The stream through a replica: random batches against a model in memory, with the replica closed or its journal read
 * again at any moment. */
#include <signal.h>
#include <sys/resource.h>

#include "receiver/history_internal.h"
#include "tests/unit/receiver/replica_fixture.h"

static void test_any_order_and_overlap_is_what_the_model_says(void **state)
{
	start_with(file_uri);
	hold();
	for (int i = 0; i < 400; i++) {
		make_batch();
		assert_int_equal(append(), 0);
		if (randomly(4) == 0)
			sync_now();
		if (randomly(60) == 0) {
			sync_now();
			drain();
			expect_model();
		}
		if (randomly(40) == 0) {
			sync_now();
			release();
			hold();
			expect_model(); /* all was applied on opening */
		}
	}
	sync_now();
	drain();
	expect_model();
	stop();
}

static void test_zeroes_longer_than_a_group_are_in_order(void **state)
{
	start_with(file_uri);
	hold();
	for (int i = 0; i < 20; i++) {
		make_batch();
		add_record(WIRE_RECORD_ZERO, 1, 4096, DISK_BYTES - 4096, 0);
		memset(model[1] + 4096, 0, DISK_BYTES - 4096);
		add_write();
		assert_int_equal(append(), 0);
	}
	sync_now();
	drain();
	expect_model();
	stop();
}

static void test_applying_again_from_an_earlier_place_changes_nothing(void **state)
{
	char points[1024];

	start_with(file_uri);
	hold();
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 30; i++) {
			make_batch();
			assert_int_equal(append(), 0);
		}
		sync_now();
		/* As after a power cut that the note of what is applied did not survive. */
		run(text_of("rm -rf %s/copy && cp -r %s/machines/web1/journal %s/copy", folder,
			    folder, folder));
		drain();
		snprintf(points, sizeof(points), "%s", points_text());
		release();
		run(text_of("rm -rf %s/machines/web1/journal && mv %s/copy "
			    "%s/machines/web1/journal",
			    folder, folder, folder));
		hold();
		expect_model();
		assert_string_equal(points_text(), points);
	}
	stop();
}

static void test_what_was_not_mapped_is_refused(void **state)
{
	start_with(file_uri);
	hold();
	raw_bytes = records = 0;
	add_record(WIRE_RECORD_ZERO, DISKS, 0, 4096, 0);
	assert_int_equal(append(), -EPROTO);
	raw_bytes = records = 0;
	add_record(WIRE_RECORD_ZERO, 0, DISK_BYTES, 512, 0);
	assert_int_equal(append(), -EPROTO);
	sync_now();
	drain();
	expect_model();
	stop();
}

static void test_disks_in_another_order_begin_another_stream(void **state)
{
	static const unsigned int swapped[DISKS] = {1, 0};

	start_with(file_uri);
	hold();
	raw_bytes = records = 0;
	memset(add_record(WIRE_RECORD_WRITE, 0, 0, 4096, 4096), 'a', 4096);
	memset(model[0], 'a', 4096);
	assert_int_equal(append(), 0);
	sync_now();
	assert_int_equal(replica_stream_map(replica, swapped, DISKS, &fault), 0);
	expect_model();
	expect_no_stream();
	raw_bytes = records = 0;
	memset(add_record(WIRE_RECORD_WRITE, 0, 0, 4096, 4096), 'b', 4096);
	memset(model[1], 'b', 4096);
	assert_int_equal(append(), 0);
	sync_now();
	drain();
	expect_model();
	stop();
}

/* By a clock that is a day ahead: for retention all of them are new. */
static void test_too_many_marks_drop_the_oldest(void **state)
{
	start_with(file_uri);
	hold();
	replica_history(replica)->points_max = 4;
	for (unsigned int i = 0; i < 9; i++) {
		raw_bytes = records = 0;
		add_write();
		add_record(WIRE_RECORD_MARK, 0, os_realtime_ns() + (86400 + i) * NS_PER_S,
			   ++mark_number, 0);
		add_record(WIRE_RECORD_CONFIRM, 0, 0, mark_number, 0);
		assert_int_equal(append(), 0);
	}
	sync_now();
	drain();
	expect_model();
	assert_string_equal(points_text(), "6 7 8 9 ");
	stop();
}

/* The undo records of an interval just fit, what ends their file does not. */
static void test_a_mark_without_space_drops_the_oldest(void **state)
{
	struct rlimit unlimited, limit;

	start_with(file_uri);
	run(text_of("head -c %u /dev/urandom >%s", DISK_BYTES, target_path(0)));
	hold();
	raw_bytes = records = 0;
	add_mark();
	add_record(WIRE_RECORD_ZERO, 0, 0, DISK_BYTES, 0);
	assert_int_equal(append(), 0);
	sync_now();
	drain();
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
	limit = unlimited;
	limit.rlim_cur = replica_history(replica)->part.end;
	assert_true(limit.rlim_cur > DISK_BYTES);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	raw_bytes = records = 0;
	add_mark();
	assert_int_equal(append(), 0);
	sync_now();
	drain();
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
	assert_string_equal(points_text(), "2 ");
	expect_model();
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_order_and_overlap_is_what_the_model_says),
		cmocka_unit_test(test_zeroes_longer_than_a_group_are_in_order),
		cmocka_unit_test(test_applying_again_from_an_earlier_place_changes_nothing),
		cmocka_unit_test(test_what_was_not_mapped_is_refused),
		cmocka_unit_test(test_too_many_marks_drop_the_oldest),
		cmocka_unit_test(test_a_mark_without_space_drops_the_oldest),
		cmocka_unit_test(test_disks_in_another_order_begin_another_stream),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
