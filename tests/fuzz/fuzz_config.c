// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as a configuration file. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "common/units.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct settings {
	char *text, *other;
	uint64_t bytes, rate, duration, number;
	bool is_on;
	int choice;
	unsigned int instances;
};

static const char *const colours[] = {"red", "green", "blue", NULL};

#define KEY(in, key, kind, field, ...)                                                             \
	{                                                                                          \
		.section = (in), .name = (key), .type = (kind),                                    \
		.offset = offsetof(struct settings, field), ##__VA_ARGS__                          \
	}

static const struct config_key keys[] = {
	KEY("", "early", CONFIG_STRING, other),
	KEY("agent", "text", CONFIG_STRING, text),
	KEY("agent", "size", CONFIG_BYTES, bytes, .least = KIB, .most = GIB),
	KEY("agent", "limit", CONFIG_RATE, rate),
	KEY("agent", "interval", CONFIG_DURATION, duration),
	KEY("agent", "connections", CONFIG_NUMBER, number, .least = 1, .most = 16),
	KEY("agent", "switch", CONFIG_SWITCH, is_on),
	KEY("agent", "colour", CONFIG_CHOICE, choice, .choices = colours),
	KEY("disk *", "target", CONFIG_STRING, text),
	{.name = NULL},
};

static int count_instance(void *target, const char *instance, const struct config_key *key,
			  const char *value, struct fault *fault)
{
	struct settings *settings = target;

	if (!*instance || !*key->name)
		abort();
	settings->instances += (unsigned int)strlen(value);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct settings settings = {.number = 1, .bytes = KIB, .choice = 1};
	char *text = malloc(size); /* no NUL after the end: reading past it is seen */
	struct fault fault = {0};
	int error;

	if (size > 0)
		memcpy(text, bytes, size);
	error = config_read_text("fuzz.ini", text, size, keys, &settings, count_instance, &fault);
	if ((error != 0) != (fault.class == FAULT_STOP && fault.text[0]))
		abort();
	if (settings.number < 1 || settings.number > 16 || settings.bytes < KIB ||
	    settings.bytes > GIB || settings.choice < 1 || settings.choice > 3)
		abort();
	config_fini(keys, &settings);
	free(text);
	return 0;
}
