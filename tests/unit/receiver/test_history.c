// SPDX-License-Identifier: GPL-2.0-or-later
/* The history against a model that keeps a copy of the disks for every mark. Threads, crashes, damage: test_history_*.c. */
#include "tests/unit/receiver/history_fixture.h"

#include <sys/resource.h>
#include <signal.h>
#include <time.h>

#include "common/bitmap.h"

static void without_a_checkpoint_nothing_is_protected(void **state)
{
	write_bytes(0, 0, DISK0_BYTES, 1);
	assert_int_equal(reads, 0);
	assert_int_equal(history_bytes(history), 0);
	assert_int_equal(history_newest_mark(history), 0);
}

static void a_checkpoint_reads_as_it_was(void **state)
{
	uint64_t number = checkpoint();

	write_bytes(0, 3 * BLOCK + 512, 1024, 2);
	write_bytes(1, 0, DISK1_BYTES, 1);
	check_point(number);
	write_bytes(0, 0, DISK0_BYTES, 4);
	check_point(number);
	reopen();
	check_point(number);
}

static void a_block_is_kept_once_an_interval(void **state)
{
	uint64_t bytes;

	checkpoint();
	reads = 0;
	write_bytes(0, 0, 8 * BLOCK, 2);
	assert_int_equal(reads, 1); /* one run */
	bytes = history_bytes(history);
	write_bytes(0, BLOCK, 4 * BLOCK, 5);
	assert_int_equal(reads, 1);
	assert_int_equal(history_bytes(history), bytes);
	checkpoint();
	write_bytes(0, BLOCK, 4 * BLOCK, 8);
	assert_int_equal(reads, 2);
	check_points();
}

static void an_interval_without_writes_costs_no_file(void **state)
{
	checkpoint();
	write_bytes(0, 0, BLOCK, 1);
	for (unsigned int i = 0; i < 20; i++)
		checkpoint();
	assert_int_equal(count_files("undo"), 1);
	assert_int_equal(check_points(), 21);
	reopen();
	assert_int_equal(check_points(), 21);
}

static void ranges_outside_a_disk_are_refused(void **state)
{
	static const struct history_extent wrong[] = {
		{2, 0, BLOCK},	    {0, DISK0_BYTES, 1},    {1, 0, DISK1_BYTES + 1},
		{0, UINT64_MAX, 1}, {0, BLOCK, UINT64_MAX}, {0, 0, 0},
	};

	checkpoint();
	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(history_protect(history, &wrong[i], 1, &fault), -EINVAL);
}

static void a_pending_mark_goes_when_a_newer_one_is_confirmed(void **state)
{
	uint64_t first = checkpoint(), pending, later;

	write_random();
	pending = mark_now(0, 5);
	write_random();
	assert_false(has_point(pending));
	assert_int_equal(history_newest_mark(history), pending);
	reopen();
	assert_int_equal(history_newest_mark(history), pending);
	later = mark_now(0, 6);
	write_random();
	assert_int_equal(history_confirm(history, later, &fault), 0);
	assert_int_equal(history_confirm(history, pending, &fault), 0); /* gone: fine */
	assert_int_equal(history_confirm(history, 999, &fault), 0);
	assert_false(has_point(pending));
	assert_int_equal(check_points(), 2);
	reopen();
	assert_false(has_point(pending));
	assert_true(has_point(first) && has_point(later));
	assert_int_equal(check_points(), 2);
}

static void an_unconfirmed_newest_mark_can_be_confirmed_after_reopening(void **state)
{
	uint64_t pending;

	pending = mark_now(0, 5);
	write_random();
	reopen();
	write_random();
	assert_int_equal(history_confirm(history, pending, &fault), 0);
	check_point(pending);
}

static void replayed_marks_change_nothing(void **state)
{
	checkpoint();
	write_random();
	checkpoint();
	assert_int_equal(history_mark(history, 1, 77, HISTORY_CONFIRMED, &fault), 0);
	assert_int_equal(history_mark(history, 2, 77, 0, &fault), 0);
	assert_int_equal(check_points(), 2);
}

static void labels_pin_and_are_unique(void **state)
{
	struct history_point point;
	uint64_t first = checkpoint(), second;

	write_random();
	second = checkpoint();
	assert_int_equal(history_label(history, first, "before update", &fault), 0);
	assert_int_equal(history_label(history, second, "before update", &fault), -EEXIST);
	assert_int_equal(history_label(history, 99, "x", &fault), -ENOENT);
	assert_int_equal(history_label(history, second, "latest", &fault), -EINVAL);
	reopen();
	assert_int_equal(history_find(history, "before update", &point, &fault), 0);
	assert_int_equal(point.number, first);
	assert_true(point.flags & HISTORY_PINNED);
	assert_int_equal(history_drop_oldest(history, &fault), 0);
	assert_true(has_point(first));
	assert_false(has_point(second));
	assert_int_equal(history_drop_oldest(history, &fault), -ENOENT);
	check_point(first);
	assert_int_equal(history_label(history, first, "", &fault), 0);
	assert_int_equal(history_drop_oldest(history, &fault), 0);
	assert_int_equal(history_bytes(history), 0);
}

static void checkpoints_are_found_by_what_people_call_them(void **state)
{
	struct history_point point;
	uint64_t now_ns = os_realtime_ns(), first, second;
	time_t seconds = (time_t)(now_ns / NS_PER_S) - 100;
	char text[64];

	assert_int_equal(history_find(history, "latest", &point, &fault), -ENOENT);
	first = mark_now(HISTORY_CONFIRMED, now_ns - 100 * NS_PER_S);
	second = mark_now(HISTORY_CONFIRMED, now_ns - 50 * NS_PER_S);
	assert_int_equal(history_find(history, "latest", &point, &fault), 0);
	assert_int_equal(point.number, second);
	assert_int_equal(history_find(history, "#1", &point, &fault), 0);
	assert_int_equal(point.number, first);
	assert_int_equal(history_find(history, "-60s", &point, &fault), 0);
	assert_int_equal(point.number, first);
	assert_int_equal(history_find(history, "-5m", &point, &fault), -ENOENT);
	assert_non_null(strstr(fault.text, "#1"));
	assert_int_equal(history_find(history, "#7", &point, &fault), -ENOENT);
	assert_non_null(strstr(fault.text, "#2"));
	assert_int_equal(history_find(history, "nonsense", &point, &fault), -ENOENT);
	strftime(text, sizeof(text), "%F %T", localtime(&seconds));
	assert_int_equal(history_find(history, text, &point, &fault), 0);
	assert_int_equal(point.number, first);
}

static void thinning_merges_and_keeps_what_is_left_readable(void **state)
{
	static const struct history_rule rules[] = {{20 * NS_PER_S, NS_PER_S},
						    {200 * NS_PER_S, 10 * NS_PER_S}};
	struct history_point *points;
	unsigned int count;
	uint64_t labelled;

	setup.rules = rules;
	setup.rule_count = 2;
	reopen();
	for (unsigned int i = 0; i < 100; i++) {
		mark_now(HISTORY_CONFIRMED, i * NS_PER_S);
		for (unsigned int k = 0; k < 5; k++)
			write_random();
		if (i == 33)
			assert_int_equal(history_label(history, next_mark - 1, "mine", &fault), 0);
	}
	labelled = 34;
	assert_int_equal(history_thin(history, 100 * NS_PER_S, &fault), 0);
	check_points();
	assert_int_equal(history_list(history, &points, &count), 0);
	for (unsigned int i = 0; i + 1 < count; i++) {
		uint64_t age_s = 100 - points[i].time_ns / NS_PER_S;
		uint64_t gap_s = (points[i + 1].time_ns - points[i].time_ns) / NS_PER_S;

		if (age_s > 40 && points[i].number != labelled && points[i + 1].number != labelled)
			assert_int_equal(gap_s, 10);
		if (age_s < 20)
			assert_int_equal(gap_s, 1);
	}
	free(points);
	assert_true(has_point(labelled));
	assert_true(count_files("undo") < 60);
	reopen();
	check_points();
	assert_int_equal(history_thin(history, 10000 * NS_PER_S, &fault), 0);
	assert_int_equal(check_points(), 2); /* the labelled one and the newest */
	assert_true(has_point(labelled) && has_point(100));
}

static void the_size_limit_is_kept(void **state)
{
	setup.size_limit_bytes = 400000;
	reopen();
	for (unsigned int i = 0; i < 200; i++) {
		checkpoint();
		write_random();
		if (i == 20)
			assert_int_equal(history_label(history, 10, "mine", &fault), 0);
		assert_int_equal(history_thin(history, next_mark * NS_PER_S, &fault), 0);
		assert_true(history_bytes(history) <= setup.size_limit_bytes || i < 3);
	}
	assert_true(has_point(200));
	assert_true(check_points() > 3);
}

static void dropping_behind_a_pinned_one_makes_room(void **state)
{
	uint64_t bytes;

	for (unsigned int i = 0; i < 12; i++) {
		checkpoint();
		write_bytes(0, 0, 16 * BLOCK, 2 + 3 * i);
	}
	assert_int_equal(history_label(history, 1, "mine", &fault), 0);
	for (unsigned int i = 0; i < 10; i++) {
		bytes = history_bytes(history);
		assert_int_equal(history_drop_oldest(history, &fault), 0);
		assert_true(history_bytes(history) < bytes);
		check_points();
	}
	assert_true(has_point(1) && has_point(12));
}

static void everything_can_be_cleared(void **state)
{
	for (unsigned int i = 0; i < 10; i++) {
		checkpoint();
		write_random();
	}
	assert_int_equal(history_clear(history, &fault), 0);
	assert_int_equal(history_bytes(history), 0);
	assert_int_equal(history_newest_mark(history), 10);
	write_random();
	assert_int_equal(history_bytes(history), 0);
	reopen();
	assert_int_equal(history_newest_mark(history), 10);
	checkpoint();
	write_random();
	assert_int_equal(check_points(), 1);
}

static void a_full_disk_is_told_and_harms_nothing(void **state)
{
	struct history_extent extent = {0, 0, DISK0_BYTES};
	struct rlimit limit = {20000, RLIM_INFINITY}, old;

	fill_bytes(target, sizeof(target), 2);
	checkpoint();
	write_bytes(1, 0, BLOCK, 1);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(history_protect(history, &extent, 1, &fault), -ENOSPC);
	assert_int_equal(fault.class, FAULT_RETRY);
	setrlimit(RLIMIT_FSIZE, &old);
	check_points();
	write_bytes(0, 0, DISK0_BYTES, 4);
	check_points();
	reopen();
	assert_int_equal(check_points(), 1);
}

static void the_map_has_a_bit_for_what_differs(void **state)
{
	char path[96];
	struct history_reader *reader;
	uint64_t offset = 0, length, number, *words;
	size_t size;
	char *map;

	snprintf(path, sizeof(path), "%s/map", top);
	number = checkpoint();
	write_bytes(0, 2 * BLOCK, BLOCK, 1);
	checkpoint();
	write_bytes(0, 40 * BLOCK, 2 * BLOCK, 1);
	assert_int_equal(history_reader_open(history, number, path, &reader, &fault), 0);
	write_bytes(0, 5 * BLOCK + 100, BLOCK, 2);
	write_bytes(1, DISK1_BYTES - 1, 1, 2);
	assert_int_equal(os_file_read(path, 1 << 20, &map, &size), 0);
	assert_int_equal(size, 2 * 4096);
	words = (uint64_t *)map;
	assert_int_equal(words[0], 1ull << 2 | 3ull << 5 | 3ull << 40);
	assert_int_equal(words[4096 / 8], 1ull << 23);
	free(map);
	assert_true(history_reader_next_changed(reader, 0, &offset, &length));
	assert_int_equal(offset, 2 * BLOCK);
	assert_int_equal(length, BLOCK);
	offset += length;
	assert_true(history_reader_next_changed(reader, 0, &offset, &length));
	assert_int_equal(offset, 5 * BLOCK);
	assert_int_equal(length, 2 * BLOCK);
	offset = 0;
	assert_true(history_reader_next_changed(reader, 1, &offset, &length));
	assert_int_equal(length, 512);
	offset += length;
	assert_false(history_reader_next_changed(reader, 1, &offset, &length));
	check_reader(reader, number);
	history_reader_close(reader);
	unlink(path);
}

static void what_a_reader_reads_is_not_dropped(void **state)
{
	struct history_reader *reader;
	uint64_t number = checkpoint();

	assert_int_equal(history_reader_open(history, 77, NULL, &reader, &fault), -ENOENT);
	assert_int_equal(history_reader_open(history, number, NULL, &reader, &fault), 0);
	for (unsigned int i = 0; i < 30; i++) {
		write_random();
		checkpoint();
		if (i > 2)
			assert_int_equal(history_drop_oldest(history, &fault), 0);
		check_reader(reader, number);
	}
	assert_int_equal(history_clear(history, &fault), 0);
	assert_int_equal(history_reader_read(reader, 0, target, 0, BLOCK, &fault), -ESTALE);
	history_reader_close(reader);
}

static void random_use_matches_the_model(void **state)
{
	static const struct history_rule rules[] = {{15 * NS_PER_S, NS_PER_S},
						    {60 * NS_PER_S, 7 * NS_PER_S},
						    {300 * NS_PER_S, 50 * NS_PER_S}};

	setup.rules = rules;
	setup.rule_count = 3;
	reopen();
	for (unsigned int step = 0; step < 3000; step++) {
		unsigned int what = random_below(100);

		if (what < 60)
			write_random();
		else if (what < 75)
			checkpoint();
		else if (what < 82)
			mark_now(0, next_mark * NS_PER_S);
		else if (what < 88)
			assert_int_equal(history_confirm(history, next_mark - 1 - random_below(2),
							 &fault),
					 0);
		else if (what < 92)
			assert_int_equal(history_thin(history, next_mark * NS_PER_S, &fault), 0);
		else if (what < 94)
			(void)history_drop_oldest(history, &fault);
		else if (what < 95)
			(void)history_label(history, 1 + random_below((unsigned int)next_mark),
					    random_below(2) ? "a" : "", &fault);
		else if (what < 97)
			reopen();
		else if (what < 98 && random_below(20) == 0)
			assert_int_equal(history_clear(history, &fault), 0);
		else
			check_points();
	}
	check_points();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(without_a_checkpoint_nothing_is_protected),
		TEST(a_checkpoint_reads_as_it_was),
		TEST(a_block_is_kept_once_an_interval),
		TEST(an_interval_without_writes_costs_no_file),
		TEST(ranges_outside_a_disk_are_refused),
		TEST(a_pending_mark_goes_when_a_newer_one_is_confirmed),
		TEST(an_unconfirmed_newest_mark_can_be_confirmed_after_reopening),
		TEST(replayed_marks_change_nothing),
		TEST(labels_pin_and_are_unique),
		TEST(checkpoints_are_found_by_what_people_call_them),
		TEST(thinning_merges_and_keeps_what_is_left_readable),
		TEST(the_size_limit_is_kept),
		TEST(dropping_behind_a_pinned_one_makes_room),
		TEST(everything_can_be_cleared),
		TEST(a_full_disk_is_told_and_harms_nothing),
		TEST(the_map_has_a_bit_for_what_differs),
		TEST(what_a_reader_reads_is_not_dropped),
		TEST(random_use_matches_the_model),
	};
	int failed;

	begin();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	finish();
	return failed;
}
