/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which connections of strangers are kept, and how many lines are written about them. */
#include "receiver/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/os_clock.h"

static struct admission admission;
static struct admission_slot slots[4 * ADMISSION_MAX];

static int begin(void **state)
{
	memset(&admission, 0, sizeof(admission));
	memset(slots, 0, sizeof(slots));
	return 0;
}

static void enter_free(unsigned int index, const char *peer)
{
	assert_null(admission_enter(&admission, &slots[index], peer));
	assert_true(slots[index].is_inside);
}

static void one_address_drops_its_own_oldest(void **state)
{
	enter_free(0, "192.0.2.1");
	for (unsigned int i = 1; i <= ADMISSION_ADDRESS_MAX; i++)
		enter_free(i, "192.0.2.2");
	assert_ptr_equal(admission_enter(&admission, &slots[100], "192.0.2.2"), &slots[1]);
	assert_false(slots[1].is_inside);
	assert_true(slots[0].is_inside);
	assert_int_equal(admission.count, ADMISSION_ADDRESS_MAX + 1);
}

static void the_busiest_address_makes_room_for_others(void **state)
{
	char peer[32];

	enter_free(0, "192.0.2.1");
	for (unsigned int i = 1; i < ADMISSION_MAX; i++) {
		snprintf(peer, sizeof(peer), "198.51.100.%u", i);
		enter_free(i, i >= ADMISSION_MAX - 3 ? "192.0.2.2" : peer);
	}
	assert_ptr_equal(admission_enter(&admission, &slots[100], "203.0.113.1"),
			 &slots[ADMISSION_MAX - 3]);
	assert_int_equal(admission.count, ADMISSION_MAX);
}

static void who_has_proven_it_is_never_dropped(void **state)
{
	enter_free(0, "192.0.2.1");
	admission_leave(&admission, &slots[0]);
	admission_leave(&admission, &slots[0]);
	assert_int_equal(admission.count, 0);
	for (unsigned int i = 1; i < 4 * ADMISSION_MAX; i++)
		assert_ptr_not_equal(admission_enter(&admission, &slots[i], "192.0.2.1"),
				     &slots[0]);
	assert_int_equal(admission.count, ADMISSION_ADDRESS_MAX);
}

static void one_network_of_ipv6_is_one_address(void **state)
{
	char peer[48];

	for (unsigned int i = 0; i < ADMISSION_ADDRESS_MAX; i++) {
		snprintf(peer, sizeof(peer), "2001:db8:1:2::%x", i + 1);
		enter_free(i, peer);
	}
	enter_free(60, "2001:db8:1:3::1");
	enter_free(61, "::ffff:192.0.2.1");
	enter_free(62, "::ffff:192.0.2.2");
	assert_string_not_equal(slots[61].address, slots[62].address);
	assert_ptr_equal(admission_enter(&admission, &slots[63], "2001:db8:1:2:ffff::1"),
			 &slots[0]);
}

static void a_flood_gets_a_burst_of_lines_and_then_one_a_second(void **state)
{
	struct stranger_lines lines = {0};
	unsigned long long withheld = 0;
	uint64_t now_ns = 1000 * NS_PER_S;

	for (unsigned int i = 0; i < STRANGER_LINES_MAX; i++) {
		assert_true(stranger_lines_take(&lines, now_ns, &withheld));
		assert_int_equal(withheld, 0);
	}
	for (unsigned int i = 0; i < 500; i++)
		assert_false(stranger_lines_take(&lines, now_ns + NS_PER_S - 1, &withheld));
	assert_true(stranger_lines_take(&lines, now_ns + NS_PER_S, &withheld));
	assert_int_equal(withheld, 500);
	assert_false(stranger_lines_take(&lines, now_ns + NS_PER_S, &withheld));
	/* Quiet times fill it again, and not beyond the burst. */
	now_ns += 3600 * NS_PER_S;
	for (unsigned int i = 0; i < STRANGER_LINES_MAX; i++)
		assert_true(stranger_lines_take(&lines, now_ns, &withheld));
	assert_false(stranger_lines_take(&lines, now_ns, &withheld));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, begin)
	const struct CMUnitTest tests[] = {
		TEST(one_address_drops_its_own_oldest),
		TEST(the_busiest_address_makes_room_for_others),
		TEST(who_has_proven_it_is_never_dropped),
		TEST(one_network_of_ipv6_is_one_address),
		TEST(a_flood_gets_a_burst_of_lines_and_then_one_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
