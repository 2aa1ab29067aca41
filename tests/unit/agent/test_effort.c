// SPDX-License-Identifier: GPL-2.0-or-later
/* Compressing is chosen where it moves more, and where it makes no difference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "agent/effort.h"

#define FRAME 262144u

/* How many of `frames` went raw when a frame takes so long each way. */
static unsigned int run(uint64_t compressed_ns, uint64_t raw_ns, unsigned int frames)
{
	struct effort effort;
	unsigned int raw = 0;

	effort_init(&effort);
	for (unsigned int i = 0; i < frames; i++) {
		raw += effort.choice == EFFORT_RAW;
		effort_note(&effort, FRAME, effort.choice == EFFORT_RAW ? raw_ns : compressed_ns);
	}
	return raw;
}

static void a_slow_link_is_compressed_for(void **state)
{
	assert_true(run(1000000, 2000000, 10000) < 1000);
}

static void a_fast_link_is_sent_raw_to(void **state)
{
	assert_true(run(600000, 300000, 10000) > 8500);
}

static void where_it_makes_no_difference_fewer_bytes_win(void **state)
{
	assert_true(run(500000, 480000, 10000) < 1000);
}

static void it_follows_a_link_that_changes(void **state)
{
	struct effort effort;
	unsigned int raw = 0;

	effort_init(&effort);
	for (unsigned int i = 0; i < 4000; i++)
		effort_note(&effort, FRAME, effort.choice == EFFORT_RAW ? 300000 : 600000);
	for (unsigned int i = 0; i < 4000; i++) {
		raw += i >= 500 && effort.choice == EFFORT_RAW;
		effort_note(&effort, FRAME, effort.choice == EFFORT_RAW ? 2000000 : 1000000);
	}
	assert_true(raw < 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slow_link_is_compressed_for),
		cmocka_unit_test(a_fast_link_is_sent_raw_to),
		cmocka_unit_test(where_it_makes_no_difference_fewer_bytes_win),
		cmocka_unit_test(it_follows_a_link_that_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
