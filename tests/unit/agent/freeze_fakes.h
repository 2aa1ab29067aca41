/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Freezing with file systems that are made up, so that they can hang, fail and count, and with a fence that
 * only takes a note. What they count is shared with the watchdog, and with agents that are killed.
 */
#ifndef BLKFERRY_TESTS_UNIT_AGENT_FREEZE_FAKES_H
#define BLKFERRY_TESTS_UNIT_AGENT_FREEZE_FAKES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/linux/freeze.h"
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
static atomic_int *fenced; /* by this enum fence_kind */
static atomic_int *watchdog_of_agent;

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

static int fake_fence(enum fence_kind kind)
{
	*fenced = (int)kind;
	return 0;
}

static const struct freeze_ops fake_ops = {fake_freeze, fake_thaw, fake_fence};

static inline int setup(void **state)
{
	fakes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	order = (atomic_int *)(fakes + COUNT);
	*order = 1;
	fenced = order + 1;
	watchdog_of_agent = order + 2;
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

static inline int teardown(void **state)
{
	char command[128];

	freezer_free(freezer);
	freezer = NULL;
	freeze_list_fini(&list);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

static inline int frozen_count(void)
{
	int count = 0;

	for (int i = 0; i < COUNT; i++)
		count += fakes[i].is_frozen;
	return count;
}

static inline void await(atomic_int *value, int wanted)
{
	uint64_t until_ns = os_monotonic_ns() + PATIENCE_NS;

	while (*value != wanted && os_monotonic_ns() < until_ns)
		os_sleep_ns(NS_PER_MS);
	assert_int_equal(*value, wanted);
}

static inline void await_frozen_count(int wanted)
{
	uint64_t until_ns = os_monotonic_ns() + PATIENCE_NS;

	while (frozen_count() != wanted && os_monotonic_ns() < until_ns)
		os_sleep_ns(NS_PER_MS);
	assert_int_equal(frozen_count(), wanted);
}

static inline int freeze_for(uint64_t duration_ns)
{
	return freezer_freeze(freezer, os_monotonic_ns() + duration_ns, &fault);
}

enum last_step { STEP_FREEZE = 1, STEP_COMMIT, STEP_UNCOMMIT };

/* An agent of its own that comes as far as that, and is killed. */
static inline void freeze_and_be_killed(enum last_step step, enum fence_kind fence)
{
	int status;
	pid_t agent = fork();

	if (agent == 0) {
		int result = freeze_for(LONG_NS);

		*watchdog_of_agent = freezer_watchdog_pid(freezer);
		if (result == 0 && step >= STEP_COMMIT)
			result = freezer_commit(freezer, fence, &fault);
		if (result == 0 && step >= STEP_UNCOMMIT)
			result = freezer_uncommit(freezer);
		if (result == 0)
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
