// SPDX-License-Identifier: GPL-2.0-or-later
/* The retention rules: their text, and which checkpoints stay. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/os_clock.h"
#include "receiver/retention.h"

#define S	   NS_PER_S
#define POINTS_MAX 4000u

static struct history_rule rules[HISTORY_RULES_MAX];
static unsigned int count;
static struct fault fault;
static struct retention_point points[POINTS_MAX];
static unsigned int point_count;

static void parse(const char *text)
{
	if (retention_parse(text, rules, &count, &fault) != 0)
		fail_msg("%s", fault.text);
}

static void the_usual_text_is_understood(void **state)
{
	parse("5m:1s, 1h:1m, 24h:10m, 7d:1h");
	assert_int_equal(count, 4);
	assert_int_equal(rules[0].age_ns, 300 * S);
	assert_int_equal(rules[0].every_ns, S);
	assert_int_equal(rules[3].age_ns, 7 * 86400 * S);
	assert_int_equal(rules[3].every_ns, 3600 * S);
	parse(" 10m : 500ms ");
	assert_int_equal(count, 1);
	assert_int_equal(rules[0].every_ns, S / 2);
}

static void what_is_wrong_is_said(void **state)
{
	static const char *const wrong[][2] = {
		{"", "empty"},		 {"5m:1s,", "empty"},	    {"5m", "AGE:DISTANCE"},
		{"5x:1s", "no age"},	 {"0:1s", "no age"},	    {"5m:", "no distance"},
		{"5m:0", "no distance"}, {"1s:5m", "up to an age"}, {"1h:1m,5m:1s", "grow"},
		{"1h:1m,1h:1m", "grow"}, {"1h:1m,2h:1s", "closer"}, {"1m:1s:1s", "no distance"},
	};
	char many[400] = "1m:1s";

	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		count = 77;
		assert_int_equal(retention_parse(wrong[i][0], rules, &count, &fault), -EINVAL);
		if (!strstr(fault.text, wrong[i][1]))
			fail_msg("%s: %s", wrong[i][0], fault.text);
		assert_int_equal(count, 77);
	}
	for (unsigned int i = 2; i <= HISTORY_RULES_MAX + 1; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), ",%um:1s", i);
	assert_int_equal(retention_parse(many, rules, &count, &fault), -EINVAL);
}

/* One point a second, from 0 on, and the rules applied every second: as in life. */
static void live(uint64_t seconds)
{
	point_count = 0;
	for (uint64_t now = 0; now < seconds; now++) {
		unsigned int kept = 0;

		assert_true(point_count < POINTS_MAX);
		points[point_count++] = (struct retention_point){.time_ns = now * S};
		retention_decide(rules, count, now * S, points, point_count);
		for (unsigned int i = 0; i < point_count; i++)
			if (points[i].is_kept)
				points[kept++] = points[i];
		point_count = kept;
	}
}

static void ages_have_their_distances(void **state)
{
	uint64_t now = 7200;

	parse("60s:1s, 10m:10s, 1h:60s");
	live(now + 1);
	assert_int_equal(points[point_count - 1].time_ns, now * S);
	for (unsigned int i = 0; i + 1 < point_count; i++) {
		uint64_t age = now - points[i].time_ns / S;
		uint64_t gap = (points[i + 1].time_ns - points[i].time_ns) / S;

		if (age <= 60)
			assert_int_equal(gap, 1);
		else if (age > 80 && age <= 600)
			assert_int_equal(gap, 10);
		else if (age > 680)
			assert_int_equal(gap, 60);
		assert_true(age <= 3600 + 60);
	}
	assert_true(now - points[0].time_ns / S >= 3500);
}

static void a_cell_goes_over_as_a_whole(void **state)
{
	unsigned int steps = 0;

	parse("60s:1s, 1h:60s");
	point_count = 0;
	for (uint64_t i = 0; i < 600; i++)
		points[point_count++] = (struct retention_point){.time_ns = i * S};
	for (uint64_t now = 600; now < 720; now++) {
		static unsigned int before;
		unsigned int going = retention_decide(rules, count, now * S, points, point_count);

		steps += going != before;
		before = going;
	}
	assert_in_range(steps, 1, 3);
}

static void pinned_ones_and_the_newest_stay(void **state)
{
	parse("60s:1s");
	for (unsigned int i = 0; i < 10; i++)
		points[i] = (struct retention_point){.time_ns = i * S, .is_pinned = i == 3};
	assert_int_equal(retention_decide(rules, count, 10000 * S, points, 10), 8);
	assert_true(points[3].is_kept && points[9].is_kept && !points[0].is_kept);
}

static void without_rules_all_stay(void **state)
{
	for (unsigned int i = 0; i < 10; i++)
		points[i] = (struct retention_point){.time_ns = i};
	assert_int_equal(retention_decide(rules, 0, 10000 * S, points, 10), 0);
}

static void a_clock_that_jumps_harms_nothing(void **state)
{
	parse("60s:1s, 1h:60s");
	points[0] = (struct retention_point){.time_ns = UINT64_MAX};
	points[1] = (struct retention_point){.time_ns = 5 * S};
	points[2] = (struct retention_point){.time_ns = 9000 * S};
	assert_int_equal(retention_decide(rules, count, 6 * S, points, 3), 0);
	assert_int_equal(retention_decide(rules, count, UINT64_MAX, points, 3), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_usual_text_is_understood),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(ages_have_their_distances),
		cmocka_unit_test(a_cell_goes_over_as_a_whole),
		cmocka_unit_test(pinned_ones_and_the_newest_stay),
		cmocka_unit_test(without_rules_all_stay),
		cmocka_unit_test(a_clock_that_jumps_harms_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
