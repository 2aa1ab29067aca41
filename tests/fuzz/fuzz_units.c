// SPDX-License-Identifier: GPL-2.0-or-later
/* Any text as a size, a rate, a duration; and any number as text. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define UNTOUCHED 0x5a5a5a5a5a5a5a5aull

static void try(int (*parse)(const char *text, uint64_t *ret_value), const char *text)
{
	uint64_t value = UNTOUCHED;
	char written[24];

	if (parse(text, &value) < 0 && value != UNTOUCHED)
		abort();
	units_format_bytes(value, written, sizeof(written));
	if (strlen(written) > 12)
		abort();
	units_format_duration(value, written, sizeof(written));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text = malloc(size + 1);

	if (size > 0)
		memcpy(text, bytes, size);
	text[size] = '\0';
	try(units_parse_bytes, text);
	try(units_parse_rate, text);
	try(units_parse_duration, text);
	free(text);
	return 0;
}
