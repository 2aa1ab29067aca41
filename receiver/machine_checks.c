// SPDX-License-Identifier: GPL-2.0-or-later
/* What the source's `blkferry-agent check` found: shown in status, and asked before a cutover. And how it started. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "receiver/machine.h"

/* It is shown on terminals, where an agent has no business to move the cursor. */
static void make_plain(char *text)
{
	for (; *text; text++)
		if (((unsigned char)*text < ' ' && *text != '\n') || (unsigned char)*text > 126)
			*text = '?';
}

void machine_set_checks(struct machine *machine, const struct wire_checks *checks)
{
	os_mutex_lock(&machine->lock);
	machine->checks = *checks;
	make_plain(machine->checks.target);
	make_plain(machine->checks.text);
	os_cond_broadcast(&machine->changed);
	os_mutex_unlock(&machine->lock);
}

void machine_set_start(struct machine *machine, const struct wire_start *start)
{
	os_mutex_lock(&machine->lock);
	machine->source_start = *start;
	make_plain(machine->source_start.text);
	os_cond_broadcast(&machine->changed);
	os_mutex_unlock(&machine->lock);
}

json_t *machine_start_to_json(const struct wire_start *start)
{
	return json_pack("{s:b, s:s}", "orderly", start->kind == WIRE_START_ORDERLY, "text",
			 start->text);
}

json_t *machine_checks_to_json(const struct wire_checks *checks)
{
	json_t *list = json_array();
	const char *at = checks->text;

	while (*at) {
		size_t length = strcspn(at, "\n");

		json_array_append_new(list, json_stringn(at, length));
		at += length + (at[length] == '\n');
	}
	return json_pack("{s:s, s:I, s:I, s:I, s:o}", "target", checks->target, "errors",
			 (json_int_t)checks->errors, "warnings", (json_int_t)checks->warnings,
			 "checked", (json_int_t)checks->checked_s, "findings", list);
}

int machine_check_readiness(const struct machine *machine, struct fault *fault)
{
	const struct wire_checks *checks = &machine->checks;

	if (!checks->errors)
		return 0;
	return fault_set(fault, FAULT_STOP, EAGAIN,
			 "%s would not start on %s (%u errors): %.*s. On it: 'blkferry-agent check "
			 "--target %s --fix'. To cut over all the same: --ignore-checks",
			 machine->name, checks->target, checks->errors,
			 (int)strcspn(checks->text, "\n"), checks->text, checks->target);
}
