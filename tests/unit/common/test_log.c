// SPDX-License-Identifier: GPL-2.0-or-later
/* Log lines: levels, held lines, journal prefix, one line a message. */
#include "common/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int saved_stderr;
static FILE *captured;

static int set_up(void **state)
{
	(void)state;
	captured = tmpfile();
	saved_stderr = dup(STDERR_FILENO);
	dup2(fileno(captured), STDERR_FILENO);
	unsetenv("JOURNAL_STREAM");
	log_init("tester", LOG_LEVEL_INFO);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	fclose(captured);
	return 0;
}

static const char *output(void)
{
	static char text[256 * 1024];
	ssize_t got = pread(fileno(captured), text, sizeof(text) - 1, 0);

	text[got > 0 ? got : 0] = '\0';
	return text;
}

static unsigned int count_lines(void)
{
	unsigned int lines = 0;

	for (const char *at = output(); *at; at++)
		lines += *at == '\n';
	return lines;
}

static void a_line_has_time_program_and_level(void **state)
{
	unsigned int parts[6];

	(void)state;
	log_warning("disk %d", 3);
	assert_int_equal(sscanf(output(), "%u-%u-%u %u:%u:%u tester: warning: disk 3", &parts[0],
				&parts[1], &parts[2], &parts[3], &parts[4], &parts[5]),
			 6);
	assert_non_null(strstr(output(), " tester: warning: disk 3\n"));
}

static void details_above_the_level_are_left_out(void **state)
{
	(void)state;
	log_debug("hidden");
	log_info("seen");
	assert_null(strstr(output(), "hidden"));
	log_init("tester", LOG_LEVEL_DEBUG);
	log_debug("now");
	assert_non_null(strstr(output(), "debug: now\n"));
}

static void the_journal_gets_a_level_number(void **state)
{
	char stream[64];
	struct stat status;

	(void)state;
	assert_int_equal(fstat(STDERR_FILENO, &status), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)status.st_dev,
		 (unsigned long long)status.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("tester", LOG_LEVEL_INFO);
	log_error("broken");
	assert_string_equal(output(), "<3>broken\n");
}

static void a_journal_that_is_not_ours_is_ignored(void **state)
{
	(void)state;
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_init("tester", LOG_LEVEL_INFO);
	log_error("broken");
	assert_non_null(strstr(output(), "tester: error: broken"));
}

static void held_lines_come_at_release_in_order(void **state)
{
	const char *first;

	(void)state;
	log_hold();
	log_info("first");
	log_info("second");
	assert_string_equal(output(), "");
	log_release();
	first = strstr(output(), "first");
	assert_non_null(first);
	assert_non_null(strstr(first, "second"));
	log_info("third");
	assert_int_equal(count_lines(), 3);
}

static void lines_that_do_not_fit_are_counted(void **state)
{
	unsigned int kept, lost = 0;

	(void)state;
	log_hold();
	for (int i = 0; i < 2000; i++)
		log_info("a line that takes some room in the buffer, number %d", i);
	log_release();
	kept = count_lines() - 1;
	assert_true(kept > 100 && kept < 2000);
	assert_int_equal(sscanf(strstr(output(), "warning: "), "warning: %u more", &lost), 1);
	assert_int_equal(kept + lost, 2000);
}

static void a_message_stays_one_line(void **state)
{
	char text[5000];

	(void)state;
	log_info("evil\n2026-01-01 00:00:00 tester: all is well\x1b[2J");
	assert_int_equal(count_lines(), 1);
	assert_null(strchr(output(), '\x1b'));
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	assert_int_equal(count_lines(), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_line_has_time_program_and_level),
		TEST(details_above_the_level_are_left_out),
		TEST(the_journal_gets_a_level_number),
		TEST(a_journal_that_is_not_ours_is_ignored),
		TEST(held_lines_come_at_release_in_order),
		TEST(lines_that_do_not_fit_are_counted),
		TEST(a_message_stays_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
