/* SPDX-License-Identifier: GPL-2.0-or-later */
/* After the commit: nobody thaws any more, the commit is taken back, or the watchdog fences. */
#include "tests/unit/agent/freeze_fakes.h"

#include <fcntl.h>
#include <sys/prctl.h>

static void what_was_committed_is_never_thawed(void **state)
{
	pid_t watchdog;
	uint64_t past_ns = os_monotonic_ns() + 2 * SOON_NS;

	assert_int_equal(freezer_freeze(freezer, os_monotonic_ns() + SOON_NS, &fault), 0);
	watchdog = freezer_watchdog_pid(freezer);
	assert_int_equal(freezer_commit(freezer, FENCE_POWEROFF, &fault), 0);
	freezer_thaw(freezer);
	while (os_monotonic_ns() < past_ns)
		os_sleep_ns(NS_PER_MS);
	assert_int_equal(frozen_count(), COUNT);
	assert_true(freezer_is_frozen(freezer));
	/* nor fenced, as long as the agent may do that itself */
	assert_int_equal(waitpid(watchdog, NULL, WNOHANG), 0);
	assert_int_equal(*fenced, 0);
}

static void a_committed_freezer_that_is_freed_is_fenced(void **state)
{
	assert_int_equal(freeze_for(LONG_NS), 0);
	assert_int_equal(freezer_commit(freezer, FENCE_HALT, &fault), 0);
	freezer_free(freezer);
	freezer = NULL;
	await(fenced, FENCE_HALT);
	assert_int_equal(frozen_count(), COUNT);
}

static void a_machine_without_file_systems_is_fenced_too(void **state)
{
	struct freeze_list none = {.entries = NULL};
	struct freezer *empty;

	assert_int_equal(freezer_open(&system_roots_default, &none, &fake_ops, &empty, &fault), 0);
	assert_int_equal(freezer_freeze(empty, os_monotonic_ns() + LONG_NS, &fault), 0);
	assert_int_equal(freezer_commit(empty, FENCE_POWEROFF, &fault), 0);
	freezer_free(empty);
	await(fenced, FENCE_POWEROFF);
}

static void a_commit_that_is_taken_back_thaws_and_ends_the_watchdog(void **state)
{
	pid_t watchdog;

	assert_int_equal(freeze_for(LONG_NS), 0);
	watchdog = freezer_watchdog_pid(freezer);
	assert_int_equal(freezer_commit(freezer, FENCE_POWEROFF, &fault), 0);
	assert_int_equal(freezer_uncommit(freezer), 0);
	assert_int_equal(frozen_count(), 0);
	assert_false(freezer_is_frozen(freezer));
	assert_int_equal(freezer_watchdog_pid(freezer), 0);
	assert_true(kill(watchdog, 0) < 0);
	assert_int_equal(freezer_uncommit(freezer), -ETIMEDOUT);
	freezer_free(freezer);
	freezer = NULL;
	assert_int_equal(*fenced, 0);
}

static void what_does_not_thaw_when_a_commit_is_taken_back_is_tried_again(void **state)
{
	fakes[0].failing_thaws = 5;
	assert_int_equal(freeze_for(LONG_NS), 0);
	assert_int_equal(freezer_commit(freezer, FENCE_POWEROFF, &fault), 0);
	assert_int_equal(freezer_uncommit(freezer), 0);
	await_frozen_count(0);
	assert_int_equal(*fenced, 0);
}

static void a_commit_before_the_freeze_is_refused(void **state)
{
	assert_int_equal(freezer_commit(freezer, FENCE_POWEROFF, &fault), -ETIMEDOUT);
	assert_int_equal(freezer_uncommit(freezer), -ETIMEDOUT);
	assert_int_equal(freeze_for(LONG_NS), 0);
}

static void the_death_of_the_agent_after_the_commit_fences(void **state)
{
	freeze_and_be_killed(STEP_COMMIT, FENCE_POWEROFF);
	await(fenced, FENCE_POWEROFF);
	assert_int_equal(frozen_count(), COUNT);
	assert_int_equal(waitpid(*watchdog_of_agent, NULL, 0), *watchdog_of_agent);
}

static void the_death_of_the_agent_after_the_commit_with_hold_leaves_it_frozen(void **state)
{
	freeze_and_be_killed(STEP_COMMIT, FENCE_HOLD);
	assert_int_equal(waitpid(*watchdog_of_agent, NULL, 0), *watchdog_of_agent);
	assert_int_equal(frozen_count(), COUNT);
	assert_int_equal(*fenced, 0);
}

static void the_death_of_the_agent_that_took_its_commit_back_thaws(void **state)
{
	fakes[2].failing_thaws = 3;
	freeze_and_be_killed(STEP_UNCOMMIT, FENCE_POWEROFF);
	assert_int_equal(waitpid(*watchdog_of_agent, NULL, 0), *watchdog_of_agent);
	assert_int_equal(frozen_count(), 0);
	assert_int_equal(*fenced, 0);
}

/* Freezes with a watchdog that the test holds in its own hand. */
static void start_watchdog(struct watchdog *watchdog, struct freeze_target *targets)
{
	assert_int_equal(watchdog_board_new(watchdog), 0);
	for (int i = 0; i < COUNT; i++) {
		targets[i].method = FREEZE_BY_IOCTL;
		targets[i].fd = open(list.entries[i].paths[0].point, O_RDONLY);
	}
	assert_int_equal(watchdog_start(watchdog, targets, COUNT, &fake_ops,
					os_monotonic_ns() + LONG_NS),
			 0);
	for (unsigned int i = 0; i < COUNT; i++)
		assert_int_equal(watchdog_freeze_one(watchdog->board, i, &targets[i], &fake_ops),
				 0);
}

static void stop_watchdog(struct watchdog *watchdog, struct freeze_target *targets)
{
	watchdog_abandon(watchdog);
	watchdog_board_free(watchdog);
	for (int i = 0; i < COUNT; i++)
		close(targets[i].fd);
}

static void an_agent_that_lives_and_does_not_fence_is_fenced(void **state)
{
	struct watchdog watchdog = {.pid = 0};
	struct freeze_target targets[COUNT];

	start_watchdog(&watchdog, targets);
	assert_true(watchdog_commit(watchdog.board, FENCE_POWEROFF, os_monotonic_ns() + SOON_NS));
	watchdog_nudge(&watchdog);
	await(fenced, FENCE_POWEROFF);
	assert_int_equal(waitpid(watchdog.pid, NULL, 0), watchdog.pid);
	/* too late to take it back */
	assert_false(watchdog_decide(watchdog.board, VERDICT_COMMITTED, VERDICT_THAWED));
	assert_true(watchdog_is_committed(watchdog.board));
	assert_int_equal(frozen_count(), COUNT);
	stop_watchdog(&watchdog, targets);
}

static void an_agent_that_lives_and_holds_is_left_alone(void **state)
{
	struct watchdog watchdog = {.pid = 0};
	struct freeze_target targets[COUNT];

	start_watchdog(&watchdog, targets);
	assert_true(watchdog_commit(watchdog.board, FENCE_HOLD, os_monotonic_ns() + SOON_NS));
	watchdog_nudge(&watchdog);
	assert_int_equal(waitpid(watchdog.pid, NULL, 0), watchdog.pid);
	assert_int_equal(*fenced, 0);
	assert_int_equal(frozen_count(), COUNT);
	stop_watchdog(&watchdog, targets);
}

/* Killed between its decision and its word to the watchdog. */
static void the_decision_to_commit_alone_binds_the_watchdog(void **state)
{
	struct watchdog watchdog = {.pid = 0};
	struct freeze_target targets[COUNT];
	pid_t pid;

	start_watchdog(&watchdog, targets);
	assert_true(watchdog_commit(watchdog.board, FENCE_POWEROFF, os_monotonic_ns() + LONG_NS));
	assert_false(watchdog_decide(watchdog.board, VERDICT_OPEN, VERDICT_THAWED));
	pid = watchdog.pid;
	watchdog_abandon(&watchdog);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(*fenced, FENCE_POWEROFF);
	assert_int_equal(frozen_count(), COUNT);
	stop_watchdog(&watchdog, targets);
}

static void without_a_watchdog_there_is_no_commit(void **state)
{
	assert_int_equal(freeze_for(LONG_NS), 0);
	assert_int_equal(kill(freezer_watchdog_pid(freezer), SIGKILL), 0);
	for (uint64_t until_ns = os_monotonic_ns() + PATIENCE_NS;
	     freezer_is_frozen(freezer) && os_monotonic_ns() < until_ns;)
		os_sleep_ns(NS_PER_MS);
	assert_int_equal(freezer_commit(freezer, FENCE_POWEROFF, &fault), -ETIMEDOUT);
	freezer_thaw(freezer);
	assert_int_equal(frozen_count(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_committed_is_never_thawed),
		TEST(a_committed_freezer_that_is_freed_is_fenced),
		TEST(a_machine_without_file_systems_is_fenced_too),
		TEST(a_commit_that_is_taken_back_thaws_and_ends_the_watchdog),
		TEST(what_does_not_thaw_when_a_commit_is_taken_back_is_tried_again),
		TEST(a_commit_before_the_freeze_is_refused),
		TEST(the_death_of_the_agent_after_the_commit_fences),
		TEST(the_death_of_the_agent_after_the_commit_with_hold_leaves_it_frozen),
		TEST(the_death_of_the_agent_that_took_its_commit_back_thaws),
		TEST(an_agent_that_lives_and_does_not_fence_is_fenced),
		TEST(an_agent_that_lives_and_holds_is_left_alone),
		TEST(the_decision_to_commit_alone_binds_the_watchdog),
		TEST(without_a_watchdog_there_is_no_commit),
	};

	/* The watchdogs of agents that are killed become our children: their end can be waited for. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
