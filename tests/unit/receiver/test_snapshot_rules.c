// SPDX-License-Identifier: GPL-2.0-or-later
/* The rules of xcp-snapshots: their text, when one is due, and which stay. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/os_clock.h"
#include "receiver/snapshot_rules.h"

#define MINUTE	   (60 * NS_PER_S)
#define HOUR	   (60 * MINUTE)
#define DAY	   (24 * HOUR)
#define POINTS_MAX 64

static struct snapshot_rule rules[SNAPSHOT_RULES_MAX];
static unsigned int count;
static struct fault fault;
static struct snapshot_point points[POINTS_MAX];
static unsigned int point_count;

static void parse(const char *text)
{
	if (snapshot_rules_parse(text, rules, &count, &fault))
		fail_msg("%s", fault.text);
}

static void words_and_durations_are_understood(void **state)
{
	parse("hourly:24");
	assert_int_equal(count, 1);
	assert_int_equal(rules[0].every_ns, HOUR);
	assert_int_equal(rules[0].count, 24);
	parse(" 15m:8 , hourly:8,daily:7 ,weekly:4 ");
	assert_int_equal(count, 4);
	assert_int_equal(rules[0].every_ns, 15 * MINUTE);
	assert_int_equal(rules[2].every_ns, DAY);
	assert_int_equal(rules[3].every_ns, 7 * DAY);
	assert_int_equal(rules[3].count, 4);
	parse("none");
	assert_int_equal(count, 0);
}

static void what_is_wrong_is_said(void **state)
{
	static const char *const wrong[][2] = {
		{"", "empty"},
		{"hourly:24,", "empty"},
		{"hourly", "PERIOD:COUNT"},
		{"yearly:1", "neither hourly"},
		{"500ms:2", "neither"},
		{"hourly:0", "no count"},
		{"hourly:x", "no count"},
		{"hourly:-1", "no count"},
		{"hourly:2x", "no count"},
		{"hourly:29", "no count"},
		{"daily:1,hourly:1", "grow"},
		{"hourly:1,60m:1", "grow"},
		{"hourly:24,daily:7", "at most 30"},
		{"none,hourly:2", "PERIOD:COUNT"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		count = 77;
		assert_int_equal(snapshot_rules_parse(wrong[i][0], rules, &count, &fault), -EINVAL);
		if (!strstr(fault.text, wrong[i][1]))
			fail_msg("%s: %s", wrong[i][0], fault.text);
		assert_int_equal(count, 77);
	}
}

static void one_is_due_when_the_clock_strikes(void **state)
{
	uint64_t noon = 20000 * DAY + 12 * HOUR;

	parse("hourly:24");
	assert_true(snapshot_rules_is_due(rules, count, 0, noon));
	assert_false(snapshot_rules_is_due(rules, count, noon, noon + 59 * MINUTE));
	assert_true(snapshot_rules_is_due(rules, count, noon + 59 * MINUTE, noon + 60 * MINUTE));
	/* A clock that was set back must not keep it from happening until it has caught up. */
	assert_true(snapshot_rules_is_due(rules, count, noon, noon - DAY));
	assert_false(snapshot_rules_is_due(rules, 0, 0, noon));
}

static void days_are_local_and_weeks_begin_on_monday(void **state)
{
	uint64_t sunday = 3 * DAY, monday = 4 * DAY; /* 1970-01-04, -05 */

	parse("weekly:1");
	assert_true(snapshot_rules_is_due(rules, count, sunday + 23 * HOUR, monday));
	assert_false(snapshot_rules_is_due(rules, count, monday, monday + 6 * DAY));
	setenv("TZ", "XYZ-5:30", 1); /* 5 hours and a half east */
	tzset();
	parse("daily:1");
	assert_true(snapshot_rules_is_due(rules, count, 18 * HOUR + 29 * MINUTE,
					  18 * HOUR + 30 * MINUTE));
	assert_false(snapshot_rules_is_due(rules, count, 18 * HOUR + 30 * MINUTE, DAY));
	setenv("TZ", "UTC", 1);
	tzset();
}

/* One an hour, thinned after each: as in life. */
static void live(unsigned int hours)
{
	point_count = 0;
	for (unsigned int hour = 0; hour < hours; hour++) {
		unsigned int kept = 0;

		assert_true(point_count < POINTS_MAX);
		points[point_count++] =
			(struct snapshot_point){.made_ns = 20000 * DAY + hour * HOUR + MINUTE};
		snapshot_rules_decide(rules, count, points, point_count);
		for (unsigned int i = 0; i < point_count; i++)
			if (points[i].is_kept)
				points[kept++] = points[i];
		point_count = kept;
	}
}

static void the_newest_hours_stay(void **state)
{
	parse("hourly:3");
	live(10);
	assert_int_equal(point_count, 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(points[i].made_ns, 20000 * DAY + (7 + i) * HOUR + MINUTE);
}

static void the_first_of_each_day_stays_longer(void **state)
{
	parse("hourly:4, daily:3");
	live(5 * 24 + 6);
	/* Days 3, 4 and 5 at midnight, and hours 2 to 5 of the last day. */
	assert_int_equal(point_count, 7);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(points[i].made_ns, (20003 + i) * DAY + MINUTE);
	assert_int_equal(points[3].made_ns, 20005 * DAY + 2 * HOUR + MINUTE);
}

static void the_newest_stays_whatever_the_clock_did(void **state)
{
	parse("hourly:1");
	points[0].made_ns = 20000 * DAY;
	points[1].made_ns = 20000 * DAY + MINUTE;
	snapshot_rules_decide(rules, count, points, 2);
	assert_true(points[0].is_kept);
	assert_true(points[1].is_kept);
	points[1].made_ns = 19999 * DAY;
	snapshot_rules_decide(rules, count, points, 2);
	assert_false(points[0].is_kept);
	assert_true(points[1].is_kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_and_durations_are_understood),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(one_is_due_when_the_clock_strikes),
		cmocka_unit_test(days_are_local_and_weeks_begin_on_monday),
		cmocka_unit_test(the_newest_hours_stay),
		cmocka_unit_test(the_first_of_each_day_stays_longer),
		cmocka_unit_test(the_newest_stays_whatever_the_clock_did),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
