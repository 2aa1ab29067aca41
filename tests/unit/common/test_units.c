// SPDX-License-Identifier: GPL-2.0-or-later
/* Sizes, rates and durations: what is understood, what is refused, how they are written. */
#include "common/units.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/os_clock.h"

struct parsed {
	const char *text;
	uint64_t value;
};

static const char *const never[] = {"",	    " ",      "-1",   "+1",   "x",     "1x",
				    "KiB",  "1 Ki B", "1..5", "1.",   ".5",    "1e3",
				    "0x10", "1,5",    "1/s",  "1\t ", "1KiBs", "1.0000000001G"};

static void sizes_are_understood(void **state)
{
	static const struct parsed rows[] = {
		{"0", 0},
		{"4096", 4096},
		{"64KiB", 65536},
		{"64kib", 65536},
		{"50 MiB", 50 * MIB},
		{" 50  MiB ", 50 * MIB},
		{"10GB", 10000000000ull},
		{"1.5GiB", GIB + GIB / 2},
		{"0.5KiB", 512},
		{"512B", 512},
		{"2M", 2 * MIB},
		{"3T", 3 * KIB * GIB},
		{"1TB", 1000000000000ull},
		{"18446744073709551615", UINT64_MAX},
		{"1.999999999B", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t value = 99;

		assert_int_equal(units_parse_bytes(rows[i].text, &value), 0);
		assert_true(value == rows[i].value);
	}
}

static void what_is_no_size_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		uint64_t value = 99;

		assert_int_equal(units_parse_bytes(never[i], &value), -EINVAL);
		assert_int_equal(value, 99);
	}
}

static void sizes_too_large_are_out_of_range(void **state)
{
	static const char *const texts[] = {"18446744073709551616", "16384PiB",
					    "20000000000GB",	    "99999999999999999999999",
					    "16383.9999999999P",    "18446744073709551615.9K"};
	uint64_t value = 99;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_true(units_parse_bytes(texts[i], &value) < 0);
	assert_int_equal(units_parse_bytes(texts[0], &value), -ERANGE);
	assert_int_equal(units_parse_bytes(texts[1], &value), -ERANGE);
	assert_int_equal(value, 99);
}

static void rates_are_understood(void **state)
{
	static const struct parsed rows[] = {
		{"50MiB/s", 50 * MIB},
		{"50 MiB /s", 50 * MIB},
		{"1GB/S", 1000000000ull},
		{"1000", 1000},
		{"0", 0},
		{"none", 0},
		{"OFF", 0},
		{"0/s", 0},
	};
	uint64_t value = 99;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		value = 99;
		assert_int_equal(units_parse_rate(rows[i].text, &value), 0);
		assert_true(value == rows[i].value);
	}
	value = 99;
	assert_int_equal(units_parse_rate("/s", &value), -EINVAL);
	assert_int_equal(units_parse_rate("50MiB/m", &value), -EINVAL);
	assert_int_equal(units_parse_rate("", &value), -EINVAL);
	assert_int_equal(value, 99);
}

static void durations_are_understood(void **state)
{
	static const struct parsed rows[] = {
		{"10", 10 * NS_PER_S},	  {"10s", 10 * NS_PER_S},     {"500ms", 500 * NS_PER_MS},
		{"5m", 300 * NS_PER_S},	  {"5 min", 300 * NS_PER_S},  {"2h", 7200 * NS_PER_S},
		{"1d", 86400 * NS_PER_S}, {"1.5s", 1500 * NS_PER_MS}, {"0", 0},
	};
	uint64_t value = 99;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(units_parse_duration(rows[i].text, &value), 0);
		assert_true(value == rows[i].value);
	}
	assert_int_equal(units_parse_duration("5 KiB", &value), -EINVAL);
	assert_int_equal(units_parse_duration("-5s", &value), -EINVAL);
	assert_int_equal(units_parse_duration("300000d", &value), -ERANGE);
}

static void sizes_are_written_without_odd_edges(void **state)
{
	char text[32];

	(void)state;
	assert_string_equal(units_format_bytes(0, text, sizeof(text)), "0 B");
	assert_string_equal(units_format_bytes(1023, text, sizeof(text)), "1023 B");
	assert_string_equal(units_format_bytes(1024, text, sizeof(text)), "1.0 KiB");
	assert_string_equal(units_format_bytes(12897485, text, sizeof(text)), "12.3 MiB");
	assert_string_equal(units_format_bytes(MIB - 1, text, sizeof(text)), "1.0 MiB");
	assert_string_equal(units_format_bytes(GIB - 1, text, sizeof(text)), "1.0 GiB");
	assert_string_equal(units_format_bytes(UINT64_MAX, text, sizeof(text)), "16.0 EiB");
}

static void durations_are_written_without_odd_edges(void **state)
{
	char text[32];

	(void)state;
	assert_string_equal(units_format_duration(0, text, sizeof(text)), "0.00 ms");
	assert_string_equal(units_format_duration(350000, text, sizeof(text)), "0.35 ms");
	assert_string_equal(units_format_duration(850 * NS_PER_MS, text, sizeof(text)), "850 ms");
	assert_string_equal(units_format_duration(NS_PER_S - 1, text, sizeof(text)), "1.0 s");
	assert_string_equal(units_format_duration(12400 * NS_PER_MS, text, sizeof(text)), "12.4 s");
	assert_string_equal(units_format_duration(59990 * NS_PER_MS, text, sizeof(text)),
			    "1 min 0 s");
	assert_string_equal(units_format_duration(200 * NS_PER_S, text, sizeof(text)),
			    "3 min 20 s");
	assert_string_equal(units_format_duration(7500 * NS_PER_S, text, sizeof(text)),
			    "2 h 5 min");
	assert_string_equal(units_format_duration(86400 * NS_PER_S * 3, text, sizeof(text)),
			    "3 d 0 h");
	assert_non_null(units_format_duration(UINT64_MAX, text, sizeof(text)));
}

static void what_is_written_is_cut_at_the_buffer(void **state)
{
	char text[4] = "xyz";

	(void)state;
	assert_string_equal(units_format_bytes(12897485, text, sizeof(text)), "12.");
}

static void times_are_formatted(void **state)
{
	char text[32];

	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	assert_string_equal(units_format_time(1795269787 * NS_PER_S + 999, text, sizeof(text)),
			    "2026-11-21 14:03:07");
	assert_string_equal(units_format_time(0, text, 5), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_understood),
		cmocka_unit_test(what_is_no_size_is_refused),
		cmocka_unit_test(sizes_too_large_are_out_of_range),
		cmocka_unit_test(rates_are_understood),
		cmocka_unit_test(durations_are_understood),
		cmocka_unit_test(sizes_are_written_without_odd_edges),
		cmocka_unit_test(durations_are_written_without_odd_edges),
		cmocka_unit_test(what_is_written_is_cut_at_the_buffer),
		cmocka_unit_test(times_are_formatted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
