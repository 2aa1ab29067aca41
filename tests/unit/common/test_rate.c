// SPDX-License-Identifier: GPL-2.0-or-later
/* The bandwidth limit, by what it tells callers to sleep; none of these sleeps. */
#include "common/rate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/os_clock.h"
#include "common/units.h"

/* The clock runs on while a test runs: waits may be shorter than computed by that much. */
static void assert_about(uint64_t wait_ns, uint64_t expected_ns, uint64_t since_ns)
{
	uint64_t passed = os_monotonic_ns() - since_ns;

	assert_true(wait_ns <= expected_ns);
	assert_true(wait_ns + passed >= expected_ns);
}

static void no_limit_never_waits(void **state)
{
	struct rate_limit *limit = rate_limit_new(0);

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(rate_limit_take(limit, GIB), 0);
	rate_limit_free(limit);
}

static void a_full_bucket_gives_a_tenth_of_a_second(void **state)
{
	struct rate_limit *limit = rate_limit_new(10 * MIB);

	(void)state;
	assert_int_equal(rate_limit_take(limit, MIB), 0);
	assert_true(rate_limit_take(limit, MIB) > 0);
	rate_limit_free(limit);
}

static void a_slow_bucket_still_holds_64_kib(void **state)
{
	struct rate_limit *limit = rate_limit_new(1024);

	(void)state;
	assert_int_equal(rate_limit_take(limit, 64 * KIB), 0);
	assert_true(rate_limit_take(limit, 1024) > NS_PER_S / 2);
	rate_limit_free(limit);
}

static void debts_add_up_to_the_rate(void **state)
{
	uint64_t since = os_monotonic_ns(), wait = 0;
	struct rate_limit *limit = rate_limit_new(100 * MIB);

	(void)state;
	for (int i = 0; i < 1000; i++)
		wait = rate_limit_take(limit, MIB);
	/* 1000 MiB at 100 MiB/s, less the tenth of a second that the bucket held. */
	assert_about(wait, 10 * NS_PER_S - NS_PER_S / 10, since);
	rate_limit_free(limit);
}

static void a_changed_rate_rescales_the_debt(void **state)
{
	uint64_t since = os_monotonic_ns();
	struct rate_limit *limit = rate_limit_new(MIB);

	(void)state;
	rate_limit_take(limit, 101 * MIB); /* 100.9 s of debt */
	rate_limit_set(limit, 100 * MIB);
	assert_true(rate_limit_get(limit) == 100 * MIB);
	assert_true(rate_limit_take(limit, 0) <= 1009 * NS_PER_MS);
	assert_true(rate_limit_take(limit, 0) + (os_monotonic_ns() - since) >= NS_PER_S);
	rate_limit_free(limit);
}

static void lifting_the_limit_forgives_the_debt(void **state)
{
	struct rate_limit *limit = rate_limit_new(MIB);

	(void)state;
	rate_limit_take(limit, 100 * MIB);
	rate_limit_set(limit, 0);
	assert_int_equal(rate_limit_take(limit, GIB), 0);
	rate_limit_set(limit, 10 * MIB);
	assert_int_equal(rate_limit_take(limit, 1), 0);
	rate_limit_free(limit);
}

static void absurd_amounts_do_not_overflow(void **state)
{
	struct rate_limit *limit = rate_limit_new(1);

	(void)state;
	assert_true(rate_limit_take(limit, UINT64_MAX) > NS_PER_S);
	assert_true(rate_limit_take(limit, UINT64_MAX) > NS_PER_S);
	rate_limit_set(limit, UINT64_MAX);
	assert_true(rate_limit_take(limit, 1) < 100 * NS_PER_S);
	rate_limit_free(limit);
	rate_limit_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_limit_never_waits),
		cmocka_unit_test(a_full_bucket_gives_a_tenth_of_a_second),
		cmocka_unit_test(a_slow_bucket_still_holds_64_kib),
		cmocka_unit_test(debts_add_up_to_the_rate),
		cmocka_unit_test(a_changed_rate_rescales_the_debt),
		cmocka_unit_test(lifting_the_limit_forgives_the_debt),
		cmocka_unit_test(absurd_amounts_do_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
