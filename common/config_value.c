// SPDX-License-Identifier: GPL-2.0-or-later
/* Values of configuration keys: text into the field of a struct; see config.h. */
#include "common/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/units.h"

static void *field_of(const struct config_key *key, void *target)
{
	return (char *)target + key->offset;
}

static int set_string(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int parse_number(const char *text, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number))
			return -ERANGE;
	}
	*ret_number = number;
	return 0;
}

static int parse_switch(const char *text, bool *ret_value)
{
	static const char *const on[] = {"yes", "true", "on"}, *const off[] = {"no", "false",
									       "off"};

	for (size_t i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
		if (strcasecmp(text, on[i]) == 0 || strcasecmp(text, off[i]) == 0) {
			*ret_value = strcasecmp(text, on[i]) == 0;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_choice(const struct config_key *key, const char *text, int *ret_value)
{
	for (int i = 0; key->choices[i]; i++) {
		if (strcmp(text, key->choices[i]) == 0) {
			*ret_value = i + 1;
			return 0;
		}
	}
	return -EINVAL;
}

static int check_range(const struct config_key *key, uint64_t value, bool is_bytes,
		       struct fault *fault)
{
	char least[32], most[32];

	if (value >= key->least && (key->most == 0 || value <= key->most))
		return 0;
	if (is_bytes) {
		units_format_bytes(key->least, least, sizeof(least));
		units_format_bytes(key->most, most, sizeof(most));
	} else {
		snprintf(least, sizeof(least), "%" PRIu64, key->least);
		snprintf(most, sizeof(most), "%" PRIu64, key->most);
	}
	if (key->most == 0)
		return fault_set(fault, FAULT_STOP, ERANGE, "'%s' has to be at least %s", key->name,
				 least);
	return fault_set(fault, FAULT_STOP, ERANGE, "'%s' has to be between %s and %s", key->name,
			 least, most);
}

/* What a value of this kind looks like. Choices are listed in text. */
static const char *describe(const struct config_key *key, char *text, size_t size)
{
	size_t used = 0;

	switch (key->type) {
	case CONFIG_STRING:
		return "a text";
	case CONFIG_BYTES:
		return "a size like 64KiB, 512MiB or 1.5GiB";
	case CONFIG_RATE:
		return "a rate like 50MiB/s, or none";
	case CONFIG_DURATION:
		return "a duration like 500ms, 10s, 5m or 2h";
	case CONFIG_NUMBER:
		return "a whole number";
	case CONFIG_SWITCH:
		return "yes or no";
	case CONFIG_CHOICE:
		used = (size_t)snprintf(text, size, "one of");
		for (int i = 0; key->choices[i] && used < size; i++)
			used += (size_t)snprintf(text + used, size - used, "%s %s", i ? "," : "",
						 key->choices[i]);
		return text;
	}
	return "known";
}

static int set_field(const struct config_key *key, void *target, const char *value,
		     struct fault *fault)
{
	void *field = field_of(key, target);
	uint64_t number = 0;
	int error = -EINVAL;

	switch (key->type) {
	case CONFIG_STRING:
		return set_string(field, value);
	case CONFIG_BYTES:
		error = units_parse_bytes(value, &number);
		break;
	case CONFIG_RATE:
		error = units_parse_rate(value, &number);
		break;
	case CONFIG_DURATION:
		error = units_parse_duration(value, &number);
		break;
	case CONFIG_NUMBER:
		error = parse_number(value, &number);
		break;
	case CONFIG_SWITCH:
		return parse_switch(value, field);
	case CONFIG_CHOICE:
		return parse_choice(key, value, field);
	}
	if (error)
		return error;
	if (key->type == CONFIG_NUMBER || key->type == CONFIG_BYTES) {
		error = check_range(key, number, key->type == CONFIG_BYTES, fault);
		if (error)
			return -EDOM; /* the fault is set */
	}
	memcpy(field, &number, sizeof(number));
	return 0;
}

int config_set(const struct config_key *key, void *target, const char *value, struct fault *fault)
{
	char expected[160];
	int error;

	if (!*value)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "'%s' has no value; leave the line out for the default",
				 key->name);
	error = set_field(key, target, value, fault);
	switch (error) {
	case 0:
		return 0;
	case -EDOM:
		return -ERANGE;
	case -ENOMEM:
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	case -ERANGE:
		return fault_set(fault, FAULT_STOP, ERANGE, "'%s' is too large for '%s'", value,
				 key->name);
	default:
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "'%s' is no value for '%s': it has to be %s", value, key->name,
				 describe(key, expected, sizeof(expected)));
	}
}

void config_fini(const struct config_key *keys, void *target)
{
	for (; keys->name; keys++) {
		char **field = field_of(keys, target);

		if (keys->type != CONFIG_STRING || strchr(keys->section, '*'))
			continue;
		free(*field);
		*field = NULL;
	}
}
