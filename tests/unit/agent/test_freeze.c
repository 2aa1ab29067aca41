/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules of the watchdog as long as nothing was committed; test_freeze_commit.c has what comes then. Real
 * file systems: tests/integration/test-freeze.sh.
 */
#include "tests/unit/agent/freeze_fakes.h"

#include <dirent.h>

#include "agent/linux/watchdog_fork.h"

static void freezes_in_the_order_of_the_list_and_thaws(void **state)
{
	assert_int_equal(freeze_for(LONG_NS), 0);
	assert_int_equal(frozen_count(), COUNT);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(fakes[i].order, i + 1);
	assert_true(freezer_is_frozen(freezer));
	freezer_thaw(freezer);
	assert_int_equal(frozen_count(), 0);
	assert_false(freezer_is_frozen(freezer));
	assert_int_equal(freezer_watchdog_pid(freezer), 0);
	freezer_thaw(freezer); /* harmless */
}

static void one_that_fails_thaws_the_others_and_is_named(void **state)
{
	fakes[1].error = EIO;
	assert_int_equal(freeze_for(LONG_NS), -EIO);
	assert_int_equal(frozen_count(), 0);
	assert_non_null(strstr(fault.text, list.entries[1].paths[0].point));
	assert_int_equal(freezer_watchdog_pid(freezer), 0);
}

static void one_that_is_frozen_already_is_a_failure_and_stays_frozen(void **state)
{
	fakes[2].is_frozen = 1;
	assert_int_equal(freeze_for(LONG_NS), -EBUSY);
	assert_non_null(strstr(fault.text, "frozen already"));
	assert_int_equal(frozen_count(), 1);
}

static void one_that_hangs_is_given_up_at_the_deadline(void **state)
{
	uint64_t start = os_monotonic_ns();

	fakes[1].is_stuck = 1;
	assert_int_equal(freeze_for(SOON_NS), -ETIMEDOUT);
	assert_true(os_monotonic_ns() - start >= SOON_NS);
	assert_non_null(strstr(fault.text, list.entries[1].paths[0].point));
	assert_int_equal(frozen_count(), 0);
	/* and when it freezes after all, it is thawed */
	fakes[1].is_stuck = 0;
	await(&fakes[1].is_freezing, 0);
	assert_true(fakes[1].order > 0);
	await_frozen_count(0);
	assert_int_equal(fakes[2].order, 0);
}

/* Stopped in the middle of the call: nobody but the watchdog can know that it has frozen. */
static void a_stopped_agent_is_thawed_at_the_deadline(void **state)
{
	pid_t agent;

	fakes[1].is_stuck = fakes[1].sticks_after = 1;
	agent = fork();
	if (agent == 0) {
		freeze_for(SOON_NS);
		for (;;)
			pause();
	}
	await(&fakes[1].is_frozen, 1);
	assert_int_equal(kill(agent, SIGSTOP), 0);
	await_frozen_count(0);
	assert_int_equal(kill(agent, SIGKILL), 0);
	assert_int_equal(waitpid(agent, NULL, 0), agent);
}

static void a_freezer_freed_while_one_hangs_still_thaws_it(void **state)
{
	fakes[0].is_stuck = fakes[0].sticks_after = 1;
	assert_int_equal(freeze_for(SOON_NS), -ETIMEDOUT);
	freezer_free(freezer);
	freezer = NULL;
	fakes[0].is_stuck = 0;
	await(&fakes[0].is_freezing, 0);
	await_frozen_count(0);
}

static void the_deadline_thaws_and_forbids_the_commit(void **state)
{
	assert_int_equal(freeze_for(SOON_NS), 0);
	await_frozen_count(0);
	assert_false(freezer_is_frozen(freezer));
	assert_int_equal(freezer_commit(freezer, FENCE_POWEROFF, &fault), -ETIMEDOUT);
	assert_int_equal(freezer_uncommit(freezer), -ETIMEDOUT);
	assert_int_equal(*fenced, 0);
}

static void the_death_of_the_agent_thaws_at_once(void **state)
{
	freeze_and_be_killed(STEP_FREEZE, 0);
	await_frozen_count(0);
	assert_int_equal(*fenced, 0);
}

static void the_death_of_the_agent_in_a_freeze_thaws_that_too(void **state)
{
	fakes[1].is_stuck = fakes[1].sticks_after = 1;
	freeze_and_be_killed(STEP_FREEZE, 0);
	await_frozen_count(0);
}

static void what_does_not_thaw_is_tried_again(void **state)
{
	fakes[0].failing_thaws = 5;
	assert_int_equal(freeze_for(LONG_NS), 0);
	freezer_free(freezer);
	freezer = NULL;
	await_frozen_count(0);
}

static void the_watchdog_keeps_only_what_it_needs_and_ignores_signals(void **state)
{
	char path[64];
	struct dirent *entry;
	int open_fds = 0;
	DIR *fds;

	assert_int_equal(freeze_for(LONG_NS), 0);
	snprintf(path, sizeof(path), "/proc/%d/fd", freezer_watchdog_pid(freezer));
	fds = opendir(path);
	assert_non_null(fds);
	while ((entry = readdir(fds)))
		open_fds += entry->d_name[0] != '.';
	closedir(fds);
	assert_int_equal(open_fds, COUNT + 1);
	assert_int_equal(kill(freezer_watchdog_pid(freezer), SIGTERM), 0);
	assert_int_equal(kill(freezer_watchdog_pid(freezer), SIGINT), 0);
	assert_true(freezer_is_frozen(freezer));
	assert_int_equal(freezer_commit(freezer, FENCE_HOLD, &fault), 0);
}

static void large_private_mappings_are_not_forked(void **state)
{
	static const char text[] =
		"560000000000-560000400000 rw-p 00000000 00:00 0                  [heap]\n"
		"7f0000000000-7f0000200000 rw-s 00000000 00:01 7                  /dev/zero\n"
		"7f0001000000-7f0001200000 rw-p 00000000 00:00 0 \n"
		"7f0002000000-7f0002200000 r--p 00000000 00:00 0 \n"
		"7f0003000000-7f0003001000 rw-p 00000000 00:00 0 \n"
		"7f0004000000-7f0004800000 rw-p 00000000 00:00 0 \n"
		"7f0005000000-7f0005200000 rw-p 00001000 08:01 9                  /lib/libc.so\n"
		"nonsense\n7f0006000000-\n-1-2 rw-p 00000000 00:00 0\n"
		"7ffc00000000-7ffc00800000 rw-p 00000000 00:00 0                  [stack]";
	struct fork_regions regions;

	watchdog_fork_parse(text, sizeof(text) - 1, 0x7f0004000123, &regions);
	assert_int_equal(regions.count, 2);
	assert_int_equal(regions.regions[0].start, 0x560000000000);
	assert_int_equal(regions.regions[0].length, 0x400000);
	assert_int_equal(regions.regions[1].start, 0x7f0001000000);
}

static void nothing_to_freeze_is_fine(void **state)
{
	struct freeze_list none = {.entries = NULL};
	struct freezer *empty;

	assert_int_equal(freezer_open(&system_roots_default, &none, &fake_ops, &empty, &fault), 0);
	assert_int_equal(freezer_count(empty), 0);
	assert_int_equal(freezer_freeze(empty, os_monotonic_ns() + LONG_NS, &fault), 0);
	assert_int_equal(freezer_commit(empty, FENCE_HOLD, &fault), 0);
	freezer_free(empty);
}

static void what_cannot_be_frozen_is_named_by_the_check(void **state)
{
	struct freezer *other;

	assert_int_equal(freezer_check(freezer, &fault), 0);
	list.entries[1].method = freeze_method_of("fuseblk");
	assert_int_equal(freezer_open(&system_roots_default, &list, &fake_ops, &other, &fault), 0);
	assert_int_equal(freezer_check(other, &fault), -EOPNOTSUPP);
	assert_non_null(strstr(fault.text, list.entries[1].paths[0].point));
	assert_null(strstr(fault.text, list.entries[0].paths[0].point));
	freezer_free(other);
	assert_int_equal(freeze_method_of("ext4"), FREEZE_BY_IOCTL);
	assert_int_equal(freeze_method_of("vfat"), FREEZE_BY_READ_ONLY);
}

static void fences_have_names(void **state)
{
	enum fence_kind kind = 0;

	for (enum fence_kind each = FENCE_POWEROFF; each <= FENCE_HOLD; each++) {
		assert_int_equal(fence_parse(fence_name(each), &kind), 0);
		assert_int_equal(kind, each);
	}
	assert_int_equal(fence_parse("explode", &kind), -EINVAL);
	assert_int_equal(fence_run(FENCE_HOLD), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(freezes_in_the_order_of_the_list_and_thaws),
		TEST(one_that_fails_thaws_the_others_and_is_named),
		TEST(one_that_is_frozen_already_is_a_failure_and_stays_frozen),
		TEST(one_that_hangs_is_given_up_at_the_deadline),
		TEST(a_stopped_agent_is_thawed_at_the_deadline),
		TEST(a_freezer_freed_while_one_hangs_still_thaws_it),
		TEST(the_deadline_thaws_and_forbids_the_commit),
		TEST(the_death_of_the_agent_thaws_at_once),
		TEST(the_death_of_the_agent_in_a_freeze_thaws_that_too),
		TEST(what_does_not_thaw_is_tried_again),
		TEST(the_watchdog_keeps_only_what_it_needs_and_ignores_signals),
		TEST(nothing_to_freeze_is_fine),
		cmocka_unit_test(large_private_mappings_are_not_forked),
		TEST(what_cannot_be_frozen_is_named_by_the_check),
		cmocka_unit_test(fences_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
