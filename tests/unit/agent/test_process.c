/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hooks and their end, and the parsers of what the kernel says about a process. */
#include "agent/platform.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/linux/process.h"
#include "common/os_clock.h"

#define TIMEOUT_NS (60 * NS_PER_S)

static void a_hook_that_succeeds_is_no_fault(void **state)
{
	struct fault fault = {0};

	assert_int_equal(process_run_hook("hook", "echo fine", TIMEOUT_NS, &fault), 0);
	assert_string_equal(fault.text, "");
}

static void a_hook_that_fails_is_quoted_by_its_last_line(void **state)
{
	struct fault fault = {0};

	assert_int_equal(process_run_hook("pre-freeze-command",
					  "echo first; echo 'no such service' >&2; echo; exit 3",
					  TIMEOUT_NS, &fault),
			 -ECANCELED);
	assert_string_equal(fault.text,
			    "pre-freeze-command ended with exit status 3: no such service");
}

static void a_hook_killed_by_a_signal_says_which(void **state)
{
	struct fault fault = {0};

	assert_int_equal(process_run_hook("hook", "kill -9 $$", TIMEOUT_NS, &fault), -ECANCELED);
	assert_string_equal(fault.text, "hook was killed by signal 9");
}

static void a_hook_that_takes_too_long_is_killed_with_its_children(void **state)
{
	struct fault fault = {0};
	char path[] = "/tmp/blkferry-test-process-XXXXXX";
	char command[200], text[32] = "";
	int fd = mkstemp(path);
	int child;

	snprintf(command, sizeof(command), "sleep 300 & echo $! >%s; echo waiting; wait", path);
	assert_int_equal(process_run_hook("hook", command, NS_PER_S / 2, &fault), -ETIMEDOUT);
	assert_string_equal(fault.text, "hook did not end within 0.5 s and was killed: waiting");
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	child = atoi(text);
	assert_true(child > 1);
	for (int i = 0; i < 1000 && kill(child, 0) == 0; i++) {
		char stat[64], line[256] = "";
		FILE *file;

		/* whoever reaps orphans here may take its time: a zombie is dead enough */
		snprintf(stat, sizeof(stat), "/proc/%d/stat", child);
		file = fopen(stat, "r");
		if (file && fgets(line, sizeof(line), file) && strstr(line, ") Z "))
			child = 0;
		if (file)
			fclose(file);
		if (child == 0)
			break;
		os_sleep_ns(10 * NS_PER_MS);
	}
	assert_true(child == 0 || kill(child, 0) != 0);
	close(fd);
	unlink(path);
}

static void a_hook_may_leave_a_service_that_holds_its_output(void **state)
{
	uint64_t start = os_monotonic_ns();
	char path[] = "/tmp/blkferry-test-process-XXXXXX";
	char command[200], text[32] = "";
	int fd = mkstemp(path);

	snprintf(command, sizeof(command), "sleep 300 & echo $! >%s; exit 0", path);
	assert_int_equal(process_run_hook("hook", command, TIMEOUT_NS, NULL), 0);
	assert_true(os_monotonic_ns() - start < TIMEOUT_NS);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	assert_int_equal(kill(atoi(text), SIGKILL), 0); /* it lived on */
	close(fd);
	unlink(path);
}

static void a_hook_gets_default_signals(void **state)
{
	sigset_t blocked, before;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	signal(SIGTERM, SIG_IGN);
	/* a shell cannot reset what was ignored when it started: it would live on to exit 0 */
	assert_int_equal(process_run_hook("hook", "kill -TERM $$; exit 0", TIMEOUT_NS, NULL),
			 -ECANCELED);
	signal(SIGTERM, SIG_DFL);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void output_longer_than_a_line_is_cut_and_cleaned(void **state)
{
	struct hook_output output = {.length = 0};
	char text[HOOK_LINE_MAX * 2];

	memset(text, 'x', sizeof(text));
	hook_output_feed(&output, text, sizeof(text));
	assert_int_equal(strlen(hook_output_last(&output)), HOOK_LINE_MAX - 1);
	hook_output_feed(&output, "\n\033[31mred", 9);
	assert_string_equal(hook_output_last(&output), "?[31mred");
	hook_output_feed(&output, "\n\n\n", 3);
	assert_string_equal(hook_output_last(&output), "?[31mred");
}

static void boot_id_is_32_hex_digits(void **state)
{
	static const uint8_t expected[16] = {0x1b, 0x9d, 0x6b, 0xcd, 0xbb, 0xfd, 0x4b, 0x2d,
					     0x9b, 0x5d, 0xab, 0x8d, 0xfb, 0xbd, 0x4b, 0xed};
	uint8_t id[16] = {0};

	assert_int_equal(process_parse_boot_id("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", 36, id), 0);
	assert_memory_equal(id, expected, 16);
	assert_int_equal(process_parse_boot_id("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4be", 35, id),
			 -EINVAL);
	assert_int_equal(process_parse_boot_id("1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed0", 33, id),
			 -EINVAL);
	assert_int_equal(process_parse_boot_id("1b9d6bcdbbfd4b2d9b5dab8dfbbd4beg", 32, id),
			 -EINVAL);
	assert_int_equal(process_boot_id(id), 0);
}

static void resident_pages_are_the_second_number(void **state)
{
	uint64_t pages = 7;

	assert_int_equal(process_parse_statm("1000 250 90 1 0 80 0", 20, &pages), 0);
	assert_int_equal(pages, 250);
	assert_int_equal(process_parse_statm("1000 250", 8, &pages), -EINVAL);
	assert_int_equal(process_parse_statm("1000", 4, &pages), -EINVAL);
	assert_int_equal(process_parse_statm("1 -2 3", 6, &pages), -EINVAL);
	assert_true(process_resident_bytes() > 64 * 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hook_that_succeeds_is_no_fault),
		cmocka_unit_test(a_hook_that_fails_is_quoted_by_its_last_line),
		cmocka_unit_test(a_hook_killed_by_a_signal_says_which),
		cmocka_unit_test(a_hook_that_takes_too_long_is_killed_with_its_children),
		cmocka_unit_test(a_hook_may_leave_a_service_that_holds_its_output),
		cmocka_unit_test(a_hook_gets_default_signals),
		cmocka_unit_test(output_longer_than_a_line_is_cut_and_cleaned),
		cmocka_unit_test(boot_id_is_32_hex_digits),
		cmocka_unit_test(resident_pages_are_the_second_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
