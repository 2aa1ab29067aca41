// SPDX-License-Identifier: GPL-2.0-or-later
/* Damaged files of the history: they cost the checkpoints that need them, loudly, and no other. */
#include "tests/unit/receiver/history_fixture.h"

#include <dirent.h>

/* An overwrite in place of what is on disk, without the history's doing. */
static void damage(const char *prefix, size_t at)
{
	DIR *stream = opendir(folder);
	struct dirent *entry;
	char path[400] = "";

	while ((entry = readdir(stream)))
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
		    (path[0] == '\0' || strcmp(entry->d_name, strrchr(path, '/') + 1) < 0))
			snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
	closedir(stream);
	assert_true(path[0] != '\0');
	if (at == SIZE_MAX) {
		assert_int_equal(unlink(path), 0);
	} else {
		int fd = open(path, O_RDWR);
		uint8_t byte;

		assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
		byte ^= 0x40;
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		close(fd);
	}
}

static void five_checkpoints(void)
{
	fill_bytes(target, sizeof(target), 2);
	for (unsigned int i = 0; i < 5; i++) {
		checkpoint();
		write_bytes(0, i * BLOCK, 8 * BLOCK, 2 + 3 * i);
	}
}

static void a_missing_undo_file_costs_only_what_needs_it(void **state)
{
	five_checkpoints();
	history_close(history);
	damage("undo-", SIZE_MAX);
	open_it();
	assert_int_equal(check_points(), 4);
	assert_false(has_point(1));
}

static void a_damaged_head_costs_only_what_needs_it(void **state)
{
	five_checkpoints();
	history_close(history);
	damage("undo-", 9);
	open_it();
	assert_int_equal(check_points(), 4);
	reopen();
	assert_int_equal(check_points(), 4);
}

/* Of the newest file, which a crash may have torn, what was durable is told from what was not. */
static void damage_to_what_was_durable_is_no_torn_end(void **state)
{
	fill_bytes(target, sizeof(target), 2);
	checkpoint();
	for (unsigned int i = 0; i < 5; i++)
		write_bytes(0, i * BLOCK, BLOCK, 5);
	history_close(history);
	damage("undo-", 2000);
	open_it();
	assert_int_equal(check_points(), 0);
	checkpoint();
	write_bytes(0, 0, BLOCK, 8);
	reopen();
	assert_int_equal(check_points(), 1);
}

static void a_damaged_index_is_made_again(void **state)
{
	five_checkpoints();
	history_close(history);
	damage("index-", 100);
	open_it();
	assert_int_equal(check_points(), 5);
}

static void a_damaged_record_is_told_when_read(void **state)
{
	static uint8_t data[ALL_BYTES];
	struct history_reader *reader;

	five_checkpoints();
	reopen();
	damage("undo-", 2000);
	assert_int_equal(history_reader_open(history, 1, NULL, &reader, &fault), 0);
	assert_int_equal(history_reader_read(reader, 0, data, 0, DISK0_BYTES, &fault), -EBADMSG);
	assert_non_null(strstr(fault.text, "newer"));
	history_reader_close(reader);
	for (uint64_t number = 2; number <= 5; number++)
		check_point(number);
}

static void a_damaged_record_found_by_a_merge_costs_only_what_needs_it(void **state)
{
	static const struct history_rule rules[] = {{2 * NS_PER_S, NS_PER_S},
						    {100 * NS_PER_S, 100 * NS_PER_S}};

	setup.rules = rules;
	setup.rule_count = 2;
	reopen();
	five_checkpoints();
	for (unsigned int i = 0; i < 200; i++)
		checkpoint();
	damage("undo-", 2000);
	assert_int_equal(history_thin(history, 400 * NS_PER_S, &fault), 0);
	assert_false(has_point(1));
	assert_true(check_points() > 0);
}

static void damaged_points_are_refused_or_passed_over(void **state)
{
	struct history *other;

	five_checkpoints();
	history_close(history);
	damage("points", sizeof(struct history_log) + 2 * sizeof(struct history_entry) + 20);
	open_it();
	assert_int_equal(check_points(), 4);
	history_close(history);
	damage("points", 10);
	assert_int_equal(history_open(&setup, &other, &fault), -EBADMSG);
	assert_int_equal(fault.class, FAULT_STOP);
	damage("points", 10);
	open_it();
}

static int failing_sync; /* how many syncs from now; 0: none fails */

/* Takes the place of libc's. */
int fdatasync(int fd)
{
	if (failing_sync > 0 && --failing_sync == 0) {
		errno = EIO;
		return -1;
	}
	return 0;
}

static bool is_fsync_failing;
int fsync(int fd)
{
	errno = EIO;
	return is_fsync_failing ? -1 : 0;
}

static void a_failed_sync_of_undo_records_is_final_until_all_is_dropped(void **state)
{
	struct history_extent extent = {0, 0, BLOCK};

	five_checkpoints();
	failing_sync = 1;
	extent.offset = 60 * BLOCK;
	assert_int_equal(history_protect(history, &extent, 1, &fault), -EIO);
	assert_int_equal(history_protect(history, &extent, 1, &fault), -EIO);
	assert_int_equal(history_mark(history, next_mark, 1, 0, &fault), -EIO);
	check_points();
	assert_int_equal(history_clear(history, &fault), 0);
	write_bytes(0, 60 * BLOCK, BLOCK, 1);
	checkpoint();
	write_bytes(0, 60 * BLOCK, BLOCK, 2);
	reopen();
	assert_int_equal(check_points(), 1);
}

static void a_failed_sync_of_the_points_is_no_point(void **state)
{
	five_checkpoints();
	flush_target();
	failing_sync = 2; /* the part's END, then the points */
	assert_int_equal(history_mark(history, next_mark, 1, HISTORY_CONFIRMED, &fault), -EIO);
	assert_int_equal(failing_sync, 0);
	assert_false(has_point(next_mark));
	/* Protected in its interval already, so not again: it must not come back. */
	write_bytes(0, 4 * BLOCK, BLOCK, 50);
	reopen();
	assert_false(has_point(next_mark));
	assert_int_equal(check_points(), 5);
	failing_sync = 1;
	assert_int_equal(history_label(history, 1, "mine", &fault), -EIO);
	assert_int_equal(history_label(history, 1, "mine", &fault), 0);
	reopen();
	assert_int_equal(check_points(), 5);
}

static void points_that_cannot_be_written_stop_what_they_would_have_to_know(void **state)
{
	struct history_extent extent = {0, 4 * BLOCK, BLOCK};

	five_checkpoints();
	failing_sync = 2;
	is_fsync_failing = true;
	note_copy(next_mark);
	assert_int_equal(history_mark(history, next_mark, 1, HISTORY_CONFIRMED, &fault), -EIO);
	assert_int_equal(history_protect(history, &extent, 1, &fault), -EIO);
	assert_int_equal(history_clear(history, &fault), -EIO);
	is_fsync_failing = false;
	reopen(); /* the mark may be there: nothing was overwritten since */
	check_points();
	write_bytes(0, 4 * BLOCK, BLOCK, 50);
	check_points();
}

static void the_points_outlive_being_written_anew(void **state)
{
	five_checkpoints();
	for (unsigned int i = 0; i < 2 * HISTORY_LOG_SPARE; i++)
		assert_int_equal(history_label(history, 1 + i % 5, i % 2 ? "" : "a", &fault) |
					 history_label(history, 1 + i % 5, "", &fault),
				 0);
	assert_int_equal(history_label(history, 4, "here", &fault), 0);
	assert_true(history->log_slots < 2 * HISTORY_LOG_SPARE);
	reopen();
	assert_int_equal(check_points(), 5);
	assert_int_equal(history_newest_mark(history), 5);
	assert_int_equal(history_drop_oldest(history, &fault), 0);
	reopen();
	assert_int_equal(check_points(), 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(a_missing_undo_file_costs_only_what_needs_it),
		TEST(a_damaged_head_costs_only_what_needs_it),
		TEST(damage_to_what_was_durable_is_no_torn_end),
		TEST(a_failed_sync_of_undo_records_is_final_until_all_is_dropped),
		TEST(a_failed_sync_of_the_points_is_no_point),
		TEST(points_that_cannot_be_written_stop_what_they_would_have_to_know),
		TEST(the_points_outlive_being_written_anew),
		TEST(a_damaged_index_is_made_again),
		TEST(a_damaged_record_is_told_when_read),
		TEST(a_damaged_record_found_by_a_merge_costs_only_what_needs_it),
		TEST(damaged_points_are_refused_or_passed_over),
	};
	int failed;

	begin();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	finish();
	return failed;
}
