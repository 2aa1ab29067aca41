// SPDX-License-Identifier: GPL-2.0-or-later
/* Threads, signals blocked in them, timed waits by the monotonic clock. */
#include "common/os_thread.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <pthread.h>

#include <cmocka.h>

#include "common/os_clock.h"

#define PAST_NS 1 /* a deadline long gone */

struct shared {
	struct os_mutex lock;
	struct os_cond changed;
	int value;
	char name[16];
	size_t stack_bytes;
	bool has_sigterm_blocked;
};

static void shared_init(struct shared *shared)
{
	*shared = (struct shared){0};
	os_mutex_init(&shared->lock);
	os_cond_init(&shared->changed);
}

static void shared_fini(struct shared *shared)
{
	os_cond_fini(&shared->changed);
	os_mutex_fini(&shared->lock);
}

static void look_around(void *argument)
{
	struct shared *shared = argument;
	pthread_attr_t attributes;
	sigset_t mask;

	pthread_getname_np(pthread_self(), shared->name, sizeof(shared->name));
	pthread_getattr_np(pthread_self(), &attributes);
	pthread_attr_getstacksize(&attributes, &shared->stack_bytes);
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	shared->has_sigterm_blocked = sigismember(&mask, SIGTERM);
}

static void a_thread_has_its_name_and_no_signals(void **state)
{
	struct shared shared;
	struct os_thread thread;
	sigset_t mask;

	(void)state;
	shared_init(&shared);
	assert_int_equal(os_thread_start(&thread, "a-name-that-is-too-long", look_around, &shared),
			 0);
	os_thread_join(&thread);
	assert_string_equal(shared.name, "a-name-that-is-");
	assert_true(shared.has_sigterm_blocked);
	assert_true(shared.stack_bytes <= 2048 * 1024);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	assert_false(sigismember(&mask, SIGTERM));
	shared_fini(&shared);
}

static void joining_twice_or_never_started_is_harmless(void **state)
{
	struct os_thread never = {.is_running = false}, thread;
	struct shared shared;

	(void)state;
	shared_init(&shared);
	os_thread_join(&never);
	assert_int_equal(os_thread_start(&thread, "x", look_around, &shared), 0);
	os_thread_join(&thread);
	os_thread_join(&thread);
	shared_fini(&shared);
}

static void count_up(void *argument)
{
	struct shared *shared = argument;

	for (int i = 0; i < 100000; i++) {
		os_mutex_lock(&shared->lock);
		shared->value++;
		os_mutex_unlock(&shared->lock);
	}
}

static void the_lock_excludes(void **state)
{
	struct os_thread threads[4];
	struct shared shared;

	(void)state;
	shared_init(&shared);
	for (int i = 0; i < 4; i++)
		assert_int_equal(os_thread_start(&threads[i], "count", count_up, &shared), 0);
	for (int i = 0; i < 4; i++)
		os_thread_join(&threads[i]);
	assert_int_equal(shared.value, 400000);
	shared_fini(&shared);
}

static void set_value(void *argument)
{
	struct shared *shared = argument;

	os_mutex_lock(&shared->lock);
	shared->value = 1;
	os_cond_broadcast(&shared->changed);
	os_mutex_unlock(&shared->lock);
}

static void a_broadcast_wakes_a_timed_wait(void **state)
{
	uint64_t deadline = os_monotonic_ns() + 30 * NS_PER_S;
	struct os_thread thread;
	struct shared shared;
	int error = 0;

	(void)state;
	shared_init(&shared);
	os_mutex_lock(&shared.lock);
	assert_int_equal(os_thread_start(&thread, "set", set_value, &shared), 0);
	while (!shared.value && !error)
		error = os_cond_wait_until(&shared.changed, &shared.lock, deadline);
	os_mutex_unlock(&shared.lock);
	assert_int_equal(error, 0);
	os_thread_join(&thread);
	shared_fini(&shared);
}

static void a_timed_wait_ends_by_the_monotonic_clock(void **state)
{
	uint64_t start = os_monotonic_ns(), deadline = start + 30 * NS_PER_MS;
	struct shared shared;

	(void)state;
	shared_init(&shared);
	os_mutex_lock(&shared.lock);
	assert_int_equal(os_cond_wait_until(&shared.changed, &shared.lock, PAST_NS), -ETIMEDOUT);
	while (os_cond_wait_until(&shared.changed, &shared.lock, deadline) == 0)
		;
	assert_true(os_monotonic_ns() >= deadline);
	os_mutex_unlock(&shared.lock);
	shared_fini(&shared);
}

static void sleeping_lasts_at_least_as_long(void **state)
{
	uint64_t start = os_monotonic_ns();

	(void)state;
	os_sleep_ns(20 * NS_PER_MS);
	assert_true(os_monotonic_ns() - start >= 20 * NS_PER_MS);
	assert_true(os_realtime_ns() > 1700000000ull * NS_PER_S);
	assert_true(os_process_cpu_ns() > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thread_has_its_name_and_no_signals),
		cmocka_unit_test(joining_twice_or_never_started_is_harmless),
		cmocka_unit_test(the_lock_excludes),
		cmocka_unit_test(a_broadcast_wakes_a_timed_wait),
		cmocka_unit_test(a_timed_wait_ends_by_the_monotonic_clock),
		cmocka_unit_test(sleeping_lasts_at_least_as_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
