// SPDX-License-Identifier: GPL-2.0-or-later
/* test-boot, with shell commands in the place of machines. */
#include "tests/unit/receiver/view_fixture.h"

#include "receiver/test_boot.h"

static bool go_on(void *context, const char *text)
{
	(void)context;
	(void)text;
	return true;
}

static int test_boot(struct test_boot_result *result)
{
	struct test_boot_options test_options = {
		.point = "#2", .timeout_ns = 20 * NS_PER_S, .tell = go_on};

	return test_boot_run(machines, machine, &test_options, result, &fault);
}

/* The "machine" copies its disk to a file, and goes on; the check looks at that. */
static int set_up_boot(void **state)
{
	(void)state;
	make_folder();
	begin_with(
		"test-start-command = test \"$BLKFERRY_DISKS\" = 2 && nbdcopy "
		"\"$BLKFERRY_DISK1_URI\" "
		"\"$BLKFERRY_FOLDER/d\" && touch \"$BLKFERRY_FOLDER/up\" && exec tail -f "
		"/dev/null\n"
		"check-command = echo looking; test -e \"$BLKFERRY_FOLDER/up\" && cmp "
		"\"$BLKFERRY_FOLDER/d\" \"$(dirname \"$(dirname \"$BLKFERRY_FOLDER\")\")/copy2.1\" "
		"&& "
		"echo it is up",
		NULL);
	return 0;
}

static void a_test_boot_reports_what_the_check_says(void **state)
{
	struct test_boot_result result;

	(void)state;
	if (test_boot(&result))
		fail_msg("%s", fault.text);
	assert_string_equal(result.text, "it is up");
	assert_int_equal(result.point.number, 2);
	assert_int_not_equal(try_run(text_of("ls -d %s/storage/test-boot* 2>/dev/null", folder)),
			     0);
}

static int set_up_failing_boot(void **state)
{
	(void)state;
	make_folder();
	begin_with("test-start-command = echo no such machine; exit 3\ncheck-command = false",
		   NULL);
	return 0;
}

static void a_start_that_fails_ends_the_test(void **state)
{
	struct test_boot_result result;

	(void)state;
	assert_int_equal(test_boot(&result), -ETIME);
	assert_non_null(strstr(fault.text, "exit status 3: no such machine"));
}

static int set_up_slow_boot(void **state)
{
	(void)state;
	make_folder();
	begin_with(
		"test-start-command = exec tail -f /dev/null\ncheck-command = echo not yet; false\n"
		"test-stop-command = touch \"$(dirname \"$(dirname "
		"\"$BLKFERRY_FOLDER\")\")/stopped\"",
		NULL);
	return 0;
}

static bool go_on_for_a_while(void *context, const char *text)
{
	unsigned int *asked = context;

	(void)text;
	return ++*asked < 20;
}

static void whoever_leaves_ends_the_test(void **state)
{
	unsigned int asked = 0;
	struct test_boot_options test_options = {
		.point = "latest", .tell = go_on_for_a_while, .context = &asked};
	struct test_boot_result result;

	(void)state;
	assert_int_equal(test_boot_run(machines, machine, &test_options, &result, &fault),
			 -ECANCELED);
	assert_true(os_file_exists(in_folder("stopped")));
}

static void a_machine_that_does_not_come_up_is_said(void **state)
{
	struct test_boot_options test_options = {
		.point = "latest", .timeout_ns = NS_PER_S, .tell = go_on};
	struct test_boot_result result;

	(void)state;
	assert_int_equal(test_boot_run(machines, machine, &test_options, &result, &fault), -ETIME);
	assert_non_null(strstr(fault.text, "exit status 1: not yet"));
}

static void a_mix_of_moments_is_not_booted(void **state)
{
	struct test_boot_options test_options = {
		.point = "before-rollback", .timeout_ns = NS_PER_S, .tell = go_on};
	struct history_point point;
	struct test_boot_result result;

	(void)state;
	assert_int_equal(history_mark(history, 100, os_realtime_ns(), HISTORY_MIXED, &fault), 0);
	assert_int_equal(history_confirm(history, 100, &fault), 0);
	assert_int_equal(history_label(history, 100, "before-rollback", &fault), 0);
	assert_int_equal(test_boot_run(machines, machine, &test_options, &result, &fault), -EINVAL);
	assert_int_equal(history_find(history, "latest", &point, &fault), 0);
	assert_int_equal(point.number, POINT_COUNT);
	assert_int_equal(history_find(history, "-0s", &point, &fault), 0);
	assert_int_equal(point.number, POINT_COUNT);
}

#define BOOT(name, setup) cmocka_unit_test_setup_teardown(name, setup, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOOT(a_test_boot_reports_what_the_check_says, set_up_boot),
		BOOT(a_start_that_fails_ends_the_test, set_up_failing_boot),
		BOOT(whoever_leaves_ends_the_test, set_up_slow_boot),
		BOOT(a_machine_that_does_not_come_up_is_said, set_up_slow_boot),
		BOOT(a_mix_of_moments_is_not_booted, set_up_slow_boot),
	};

	if (!has_tools())
		return SKIP;
	bring_plugin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
