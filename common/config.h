/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration files in INI form, read with inih against a table of what is allowed. An unknown
 * section or key, a value that does not parse and a key given twice are errors with file and line,
 * and the message says what would be right.
 */
#ifndef BLKFERRY_COMMON_CONFIG_H
#define BLKFERRY_COMMON_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "common/fault.h"

enum config_type {
	CONFIG_STRING = 1, /* char *: allocated, replaced */
	CONFIG_BYTES,	   /* uint64_t, units_parse_bytes */
	CONFIG_RATE,	   /* uint64_t, units_parse_rate */
	CONFIG_DURATION,   /* uint64_t ns, units_parse_duration */
	CONFIG_NUMBER,	   /* uint64_t between least and most */
	CONFIG_SWITCH,	   /* bool: yes/no, true/false, on/off */
	CONFIG_CHOICE,	   /* int: one of the names in choices; value is its index + 1 */
};

struct config_key {
	const char *section; /* "" is before the first section; "disk *" matches any "disk X" */
	const char *name;
	enum config_type type;
	size_t offset;	      /* of the field in the struct that is filled */
	uint64_t least, most; /* CONFIG_NUMBER, CONFIG_BYTES: allowed range; most 0 means any */
	const char *const *choices; /* CONFIG_CHOICE: NULL-terminated */
};

/* Called for a key whose section matches a pattern "disk *"; instance is what stood for the star.
 * Returns 0, or -errno with a fault set (file and line are put in front of its text). */
typedef int config_instance_fn(void *target, const char *instance, const struct config_key *key,
			       const char *value, struct fault *fault);

/* Reads path into the struct at target, whose defaults the caller has set. keys ends with a row
 * whose name is NULL. on_instance may be NULL when no section has a star. All faults STOP. */
int config_read(const char *path, const struct config_key *keys, void *target,
		config_instance_fn *on_instance, struct fault *fault);
/* The same from memory; name is what messages call it. For tests and the fuzzer. */
int config_read_text(const char *name, const char *text, size_t size, const struct config_key *keys,
		     void *target, config_instance_fn *on_instance, struct fault *fault);
/* Sets one field from text, as the reader does: for instance handlers. */
int config_set(const struct config_key *key, void *target, const char *value, struct fault *fault);
/* Frees every CONFIG_STRING field that keys name (those without a star) and sets it to NULL. */
void config_fini(const struct config_key *keys, void *target);

#endif
