/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Freezing with file systems that are made up, so that they can hang, fail and count: the rules of the
 * watchdog. Real file systems: tests/integration/test-freeze.sh.
 */
#include "agent/linux/freeze.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/linux/watchdog_fork.h"
#include "common/os_clock.h"

#define COUNT	    3
#define SOON_NS	    (NS_PER_S / 4)
#define LONG_NS	    (120 * NS_PER_S)
#define PATIENCE_NS (60 * NS_PER_S) /* for what has to happen; not part of what is tested */

/* Shared with the watchdog and with agents that are killed. */
static struct fake {
	ino_t inode;
	atomic_int is_frozen;
	atomic_int order;	  /* of its freeze among all */
	atomic_int is_stuck;	  /* freezing waits while this is set */
	atomic_int sticks_after;  /* ... after it has frozen */
	atomic_int error;	  /* freezing fails with it */
	atomic_int failing_thaws; /* so many thaws fail */
	atomic_int is_freezing;
} * fakes;
static atomic_int *order;

static char folder[64];
static struct freeze_list list;
static struct freezer *freezer;
static struct fault fault;

static struct fake *fake_of(int fd)
{
	struct stat info;

	if (fstat(fd, &info) == 0)
		for (int i = 0; i < COUNT; i++)
			if (fakes[i].inode == info.st_ino)
				return &fakes[i];
	abort();
}

static int fake_freeze(enum freeze_method method, int fd)
{
	struct fake *fake = fake_of(fd);

	if (fake->error)
		return -fake->error;
	if (fake->is_frozen)
		return -EBUSY;
	fake->is_freezing = 1;
	while (fake->is_stuck && !fake->sticks_after)
		os_sleep_ns(NS_PER_MS);
	fake->order = (*order)++;
	fake->is_frozen = 1;
	while (fake->is_stuck)
		os_sleep_ns(NS_PER_MS);
	fake->is_freezing = 0;
	return 0;
}

static int fake_thaw(enum freeze_method method, int fd)
{
	struct fake *fake = fake_of(fd);

	/* the kernel holds s_umount while it syncs */
	while (fake->is_freezing && fake->is_stuck && !fake->sticks_after)
		os_sleep_ns(NS_PER_MS);
	if (fake->is_frozen && fake->failing_thaws > 0) {
		fake->failing_thaws--;
		return -EIO;
	}
	fake->is_frozen = 0;
	return 0;
}

static const struct freeze_ops fake_ops = {fake_freeze, fake_thaw};

static int setup(void **state)
{
	fakes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	order = (atomic_int *)(fakes + COUNT);
	*order = 1;
	strcpy(folder, "/tmp/blkferry-test-freeze-XXXXXX");
	assert_non_null(mkdtemp(folder));
	list.entries = calloc(COUNT, sizeof(*list.entries));
	list.count = COUNT;
	for (int i = 0; i < COUNT; i++) {
		struct freeze_entry *entry = &list.entries[i];
		struct stat info;

		snprintf(entry->paths[0].point, FREEZE_POINT_MAX, "%s/%d", folder, i);
		assert_int_equal(mkdir(entry->paths[0].point, 0755), 0);
		assert_int_equal(stat(entry->paths[0].point, &info), 0);
		entry->path_count = 1;
		entry->method = FREEZE_BY_IOCTL;
		strcpy(entry->type, "fake");
		fakes[i].inode = info.st_ino;
	}
	assert_int_equal(freezer_open(&system_roots_default, &list, &fake_ops, &freezer, &fault),
			 0);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	freezer_free(freezer);
	freezer = NULL;
	freeze_list_fini(&list);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

static int frozen_count(void)
{
	int count = 0;

	for (int i = 0; i < COUNT; i++)
		count += fakes[i].is_frozen;
	return count;
}

static void await(atomic_int *value, int wanted)
{
	uint64_t until_ns = os_monotonic_ns() + PATIENCE_NS;

	while (*value != wanted && os_monotonic_ns() < until_ns)
		os_sleep_ns(NS_PER_MS);
	assert_int_equal(*value, wanted);
}

static void await_frozen_count(int wanted)
{
	uint64_t until_ns = os_monotonic_ns() + PATIENCE_NS;

	while (frozen_count() != wanted && os_monotonic_ns() < until_ns)
		os_sleep_ns(NS_PER_MS);
	assert_int_equal(frozen_count(), wanted);
}

static int freeze_for(uint64_t duration_ns)
{
	return freezer_freeze(freezer, os_monotonic_ns() + duration_ns, &fault);
}

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
	assert_int_equal(freezer_commit(freezer, &fault), -ETIMEDOUT);
}

static void what_was_committed_is_never_thawed(void **state)
{
	pid_t watchdog;
	uint64_t past_ns = os_monotonic_ns() + 2 * SOON_NS;

	assert_int_equal(freezer_freeze(freezer, os_monotonic_ns() + SOON_NS, &fault), 0);
	watchdog = freezer_watchdog_pid(freezer);
	assert_int_equal(freezer_commit(freezer, &fault), 0);
	freezer_thaw(freezer);
	freezer_free(freezer);
	freezer = NULL;
	assert_true(kill(watchdog, 0) < 0);
	while (os_monotonic_ns() < past_ns)
		os_sleep_ns(NS_PER_MS);
	assert_int_equal(frozen_count(), COUNT);
}

static void a_commit_before_the_freeze_is_refused(void **state)
{
	assert_int_equal(freezer_commit(freezer, &fault), -ETIMEDOUT);
	assert_int_equal(freeze_for(LONG_NS), 0);
}

/* An agent of its own that freezes, and is killed. */
static void freeze_and_be_killed(bool is_committed)
{
	int status;
	pid_t agent = fork();

	if (agent == 0) {
		if (freeze_for(LONG_NS) == 0 &&
		    (!is_committed || freezer_commit(freezer, &fault) == 0))
			raise(SIGKILL);
		for (;;)
			pause();
	}
	/* one that hangs never gets to kill itself */
	if (fakes[1].is_stuck) {
		await(&fakes[1].is_frozen, 1);
		kill(agent, SIGKILL);
	}
	assert_int_equal(waitpid(agent, &status, 0), agent);
	assert_true(WIFSIGNALED(status));
}

static void the_death_of_the_agent_thaws_at_once(void **state)
{
	freeze_and_be_killed(false);
	await_frozen_count(0);
}

static void the_death_of_the_agent_in_a_freeze_thaws_that_too(void **state)
{
	fakes[1].is_stuck = fakes[1].sticks_after = 1;
	freeze_and_be_killed(false);
	await_frozen_count(0);
}

static void the_death_of_the_agent_after_the_commit_thaws_nothing(void **state)
{
	freeze_and_be_killed(true);
	assert_int_equal(frozen_count(), COUNT);
}

/* Killed between its decision and its word to the watchdog. */
static void the_decision_to_commit_alone_binds_the_watchdog(void **state)
{
	struct watchdog watchdog = {.pid = 0};
	struct freeze_target targets[COUNT];
	pid_t pid;

	assert_int_equal(watchdog_board_new(&watchdog), 0);
	for (int i = 0; i < COUNT; i++) {
		targets[i].method = FREEZE_BY_IOCTL;
		targets[i].fd = open(list.entries[i].paths[0].point, O_RDONLY);
	}
	assert_int_equal(watchdog_start(&watchdog, targets, COUNT, &fake_ops,
					os_monotonic_ns() + LONG_NS),
			 0);
	for (unsigned int i = 0; i < COUNT; i++)
		assert_int_equal(watchdog_freeze_one(watchdog.board, i, &targets[i], &fake_ops), 0);
	assert_true(watchdog_decide(watchdog.board, VERDICT_COMMITTED, NULL));
	assert_false(watchdog_decide(watchdog.board, VERDICT_THAWED, NULL));
	pid = watchdog.pid;
	watchdog_abandon(&watchdog);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(frozen_count(), COUNT);
	watchdog_board_free(&watchdog);
	for (int i = 0; i < COUNT; i++)
		close(targets[i].fd);
}

static void what_does_not_thaw_is_tried_again(void **state)
{
	fakes[0].failing_thaws = 5;
	assert_int_equal(freeze_for(LONG_NS), 0);
	freezer_free(freezer);
	freezer = NULL;
	await_frozen_count(0);
}

static void without_a_watchdog_there_is_no_commit(void **state)
{
	assert_int_equal(freeze_for(LONG_NS), 0);
	assert_int_equal(kill(freezer_watchdog_pid(freezer), SIGKILL), 0);
	for (uint64_t until_ns = os_monotonic_ns() + PATIENCE_NS;
	     freezer_is_frozen(freezer) && os_monotonic_ns() < until_ns;)
		os_sleep_ns(NS_PER_MS);
	assert_int_equal(freezer_commit(freezer, &fault), -ETIMEDOUT);
	freezer_thaw(freezer);
	assert_int_equal(frozen_count(), 0);
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
	assert_int_equal(freezer_commit(freezer, &fault), 0);
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
	assert_int_equal(freezer_commit(empty, &fault), 0);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
		TEST(what_was_committed_is_never_thawed),
		TEST(a_commit_before_the_freeze_is_refused),
		TEST(the_death_of_the_agent_thaws_at_once),
		TEST(the_death_of_the_agent_in_a_freeze_thaws_that_too),
		TEST(the_death_of_the_agent_after_the_commit_thaws_nothing),
		TEST(the_decision_to_commit_alone_binds_the_watchdog),
		TEST(what_does_not_thaw_is_tried_again),
		TEST(without_a_watchdog_there_is_no_commit),
		TEST(the_watchdog_keeps_only_what_it_needs_and_ignores_signals),
		TEST(nothing_to_freeze_is_fine),
		cmocka_unit_test(large_private_mappings_are_not_forked),
		TEST(what_cannot_be_frozen_is_named_by_the_check),
		cmocka_unit_test(fences_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
