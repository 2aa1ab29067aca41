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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(a_missing_undo_file_costs_only_what_needs_it),
		TEST(a_damaged_head_costs_only_what_needs_it),
		TEST(damage_to_what_was_durable_is_no_torn_end),
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
