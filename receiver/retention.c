// SPDX-License-Identifier: GPL-2.0-or-later
/* The retention rules: their text, and what they decide; see retention.h. */
#include "receiver/retention.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"

#define EXAMPLE	 "write it like 5m:1s, 1h:1m, 24h:10m, 7d:1h"
#define RULE_MAX 64

/* "AGE:EVERY", blanks around each. */
static int parse_rule(const char *text, size_t length, struct history_rule *ret_rule,
		      struct fault *fault)
{
	char copy[RULE_MAX], *every, *age = copy;

	while (length > 0 && isspace((unsigned char)*text)) {
		text++;
		length--;
	}
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		length--;
	if (length == 0)
		return fault_set(fault, FAULT_STOP, EINVAL, "a rule is empty: " EXAMPLE);
	if (length >= sizeof(copy))
		return fault_set(fault, FAULT_STOP, EINVAL, "a rule is too long: " EXAMPLE);
	memcpy(copy, text, length);
	copy[length] = '\0';
	every = strchr(copy, ':');
	if (!every)
		return fault_set(fault, FAULT_STOP, EINVAL, "\"%s\" is not AGE:DISTANCE: " EXAMPLE,
				 copy);
	*every++ = '\0';
	if (units_parse_duration(age, &ret_rule->age_ns) < 0 || ret_rule->age_ns == 0)
		return fault_set(fault, FAULT_STOP, EINVAL, "\"%s\" is no age: " EXAMPLE, age);
	if (units_parse_duration(every, &ret_rule->every_ns) < 0 || ret_rule->every_ns == 0)
		return fault_set(fault, FAULT_STOP, EINVAL, "\"%s\" is no distance: " EXAMPLE,
				 every);
	if (ret_rule->every_ns > ret_rule->age_ns)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "a checkpoint every %s, but only up to an age of %s: " EXAMPLE,
				 every, age);
	return 0;
}

int retention_parse(const char *text, struct history_rule *rules, unsigned int *ret_count,
		    struct fault *fault)
{
	struct history_rule found[HISTORY_RULES_MAX];
	unsigned int count = 0;

	for (;;) {
		size_t length = strcspn(text, ",");
		int error;

		if (count == HISTORY_RULES_MAX)
			return fault_set(fault, FAULT_STOP, EINVAL, "more than %d rules",
					 HISTORY_RULES_MAX);
		error = parse_rule(text, length, &found[count], fault);
		if (error)
			return error;
		if (count > 0 && found[count].age_ns <= found[count - 1].age_ns)
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "the ages have to grow from rule to rule: " EXAMPLE);
		if (count > 0 && found[count].every_ns < found[count - 1].every_ns)
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "older checkpoints cannot lie closer together than newer "
					 "ones: " EXAMPLE);
		count++;
		if (text[length] == '\0')
			break;
		text += length + 1;
	}
	memcpy(rules, found, count * sizeof(*rules));
	*ret_count = count;
	return 0;
}

unsigned int retention_rule_of(const struct history_rule *rules, unsigned int count,
			       uint64_t now_ns, uint64_t time_ns)
{
	unsigned int rule = 0;

	while (rule < count) {
		/* What goes over to the next rule goes with all of its cell there. */
		uint64_t every_ns = rule + 1 < count ? rules[rule + 1].every_ns : 1;
		uint64_t cell_end_ns = time_ns - time_ns % every_ns;

		cell_end_ns = cell_end_ns > UINT64_MAX - every_ns ? UINT64_MAX
								  : cell_end_ns + every_ns;
		if (cell_end_ns >= now_ns || now_ns - cell_end_ns <= rules[rule].age_ns)
			break;
		rule++;
	}
	return rule;
}

unsigned int retention_decide(const struct history_rule *rules, unsigned int count, uint64_t now_ns,
			      struct retention_point *points, unsigned int point_count)
{
	const struct retention_point *last = NULL; /* that stays */
	unsigned int going = 0;

	for (unsigned int i = 0; i < point_count; i++) {
		struct retention_point *point = &points[i];
		unsigned int rule = retention_rule_of(rules, count, now_ns, point->time_ns);

		point->is_kept = true;
		if (count > 0 && !point->is_pinned && i + 1 < point_count) {
			if (rule == count)
				point->is_kept = false;
			else if (last && last->time_ns / rules[rule].every_ns ==
						 point->time_ns / rules[rule].every_ns)
				point->is_kept = false;
		}
		if (point->is_kept)
			last = point;
		else
			going++;
	}
	return going;
}
