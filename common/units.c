// SPDX-License-Identifier: GPL-2.0-or-later
/* Sizes, rates and durations as text; see units.h. */
#include "common/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/os_clock.h"

#define FRACTION_DIGITS_MAX 9
#define KB		    1000ull

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{"", 1},
	{"B", 1},
	{"KiB", KIB},
	{"MiB", MIB},
	{"GiB", GIB},
	{"TiB", KIB *GIB},
	{"PiB", MIB *GIB},
	{"K", KIB},
	{"M", MIB},
	{"G", GIB},
	{"T", KIB *GIB},
	{"P", MIB *GIB},
	{"KB", KB},
	{"MB", KB *KB},
	{"GB", KB *KB *KB},
	{"TB", KB *KB *KB *KB},
	{"PB", KB *KB *KB *KB *KB},
	{NULL, 0},
};

static const struct unit duration_units[] = {
	{"", NS_PER_S},		 {"ms", NS_PER_MS},
	{"s", NS_PER_S},	 {"m", 60 * NS_PER_S},
	{"min", 60 * NS_PER_S},	 {"h", 3600 * NS_PER_S},
	{"d", 86400 * NS_PER_S}, {NULL, 0},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The unit that text (of length bytes) names, case does not matter; 0 when there is none. */
static uint64_t find_unit(const struct unit *units, const char *text, size_t length)
{
	for (; units->name; units++)
		if (strlen(units->name) == length && strncasecmp(units->name, text, length) == 0)
			return units->factor;
	return 0;
}

/* [blanks] digits[.digits] [blanks] unit [blanks]; the unit ends at `end`. */
static int parse(const struct unit *units, const char *text, const char *end, uint64_t *ret_value)
{
	uint64_t whole = 0, fraction = 0, scale = 1, factor, value;

	while (text < end && *text == ' ')
		text++;
	while (end > text && end[-1] == ' ')
		end--;
	if (text == end || !is_digit(*text))
		return -EINVAL;
	for (; text < end && is_digit(*text); text++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*text - '0'), &whole))
			return -ERANGE;
	if (text < end && *text == '.') {
		unsigned int digits = 0;

		for (text++; text < end && is_digit(*text); text++) {
			if (++digits > FRACTION_DIGITS_MAX)
				return -EINVAL;
			fraction = fraction * 10 + (uint64_t)(*text - '0');
			scale *= 10;
		}
		if (digits == 0)
			return -EINVAL;
	}
	while (text < end && *text == ' ')
		text++;
	factor = find_unit(units, text, (size_t)(end - text));
	if (factor == 0)
		return -EINVAL;
	if (__builtin_mul_overflow(whole, factor, &value) ||
	    __builtin_add_overflow(value, (uint64_t)((unsigned __int128)fraction * factor / scale),
				   &value))
		return -ERANGE;
	*ret_value = value;
	return 0;
}

int units_parse_bytes(const char *text, uint64_t *ret_bytes)
{
	return parse(size_units, text, text + strlen(text), ret_bytes);
}

int units_parse_rate(const char *text, uint64_t *ret_bytes_per_s)
{
	size_t length = strlen(text);

	if (strcasecmp(text, "none") == 0 || strcasecmp(text, "off") == 0) {
		*ret_bytes_per_s = 0;
		return 0;
	}
	if (length > 2 && strcasecmp(text + length - 2, "/s") == 0)
		length -= 2;
	return parse(size_units, text, text + length, ret_bytes_per_s);
}

int units_parse_duration(const char *text, uint64_t *ret_ns)
{
	return parse(duration_units, text, text + strlen(text), ret_ns);
}

char *units_format_bytes(uint64_t bytes, char *text, unsigned int size)
{
	static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	/* In tenths of a unit, rounded: 1048575 is 1.0 MiB, never 1024.0 KiB. */
	unsigned __int128 tenths = ((unsigned __int128)bytes * 10 + KIB / 2) / KIB;
	unsigned __int128 unit = KIB;
	unsigned int i = 0;

	if (bytes < KIB) {
		snprintf(text, size, "%" PRIu64 " B", bytes);
		return text;
	}
	while (tenths >= KIB * 10 && i + 1 < sizeof(names) / sizeof(names[0])) {
		unit *= KIB;
		tenths = ((unsigned __int128)bytes * 10 + unit / 2) / unit;
		i++;
	}
	snprintf(text, size, "%" PRIu64 ".%u %s", (uint64_t)(tenths / 10),
		 (unsigned int)(tenths % 10), names[i]);
	return text;
}

char *units_format_duration(uint64_t ns, char *text, unsigned int size)
{
	uint64_t ms = (ns + NS_PER_MS / 2) / NS_PER_MS;
	uint64_t tenths = (ns + NS_PER_S / 20) / (NS_PER_S / 10);
	uint64_t seconds = (ns + NS_PER_S / 2) / NS_PER_S;

	if (ns < NS_PER_MS)
		snprintf(text, size, "%.2f ms", (double)ns / NS_PER_MS);
	else if (ms < 1000)
		snprintf(text, size, "%" PRIu64 " ms", ms);
	else if (tenths < 600)
		snprintf(text, size, "%" PRIu64 ".%" PRIu64 " s", tenths / 10, tenths % 10);
	else if (seconds < 3600)
		snprintf(text, size, "%" PRIu64 " min %" PRIu64 " s", seconds / 60, seconds % 60);
	else if (seconds < 86400)
		snprintf(text, size, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600,
			 seconds % 3600 / 60);
	else
		snprintf(text, size, "%" PRIu64 " d %" PRIu64 " h", seconds / 86400,
			 seconds % 86400 / 3600);
	return text;
}

char *units_format_time(uint64_t since_1970_ns, char *text, unsigned int size)
{
	time_t seconds = (time_t)(since_1970_ns / NS_PER_S);
	struct tm local;

	if (!localtime_r(&seconds, &local) || strftime(text, size, "%F %T", &local) == 0)
		snprintf(text, size, "?");
	return text;
}
