// SPDX-License-Identifier: GPL-2.0-or-later
/* When snapshots are made and which of them stay; see snapshot_rules.h. */
#include "receiver/snapshot_rules.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/os_clock.h"
#include "common/units.h"

#define EXAMPLE	 "write it like hourly:24, daily:7, or 15m:8, or none"
#define RULE_MAX 64
#define HOUR_NS	 (3600 * NS_PER_S)
#define DAY_NS	 (24 * HOUR_NS)
#define MONDAY	 (3 * DAY_NS) /* 1970 began on a Thursday */

static int parse_period(const char *text, uint64_t *ret_every_ns)
{
	static const struct {
		const char *word;
		uint64_t every_ns;
	} words[] = {{"hourly", HOUR_NS}, {"daily", DAY_NS}, {"weekly", 7 * DAY_NS}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i].word) == 0) {
			*ret_every_ns = words[i].every_ns;
			return 0;
		}
	}
	if (units_parse_duration(text, ret_every_ns) < 0 || *ret_every_ns < NS_PER_S)
		return -EINVAL;
	return 0;
}

/* "PERIOD:COUNT", blanks around each. */
static int parse_rule(const char *text, size_t length, struct snapshot_rule *ret_rule,
		      struct fault *fault)
{
	char copy[RULE_MAX], *colon, *end;
	unsigned long count;

	while (length > 0 && isspace((unsigned char)*text)) {
		text++;
		length--;
	}
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		length--;
	if (length == 0 || length >= sizeof(copy))
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "xcp-snapshots: a rule is empty or too long: " EXAMPLE);
	memcpy(copy, text, length);
	copy[length] = '\0';
	colon = strchr(copy, ':');
	if (!colon)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "xcp-snapshots: \"%s\" is not PERIOD:COUNT: " EXAMPLE, copy);
	*colon++ = '\0';
	if (parse_period(copy, &ret_rule->every_ns))
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "xcp-snapshots: \"%s\" is neither hourly, daily, weekly nor a "
				 "duration of a second or more: " EXAMPLE,
				 copy);
	count = strtoul(colon, &end, 10);
	if (!isdigit((unsigned char)*colon) || *end || count < 1 || count > SNAPSHOT_KEPT_MAX)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "xcp-snapshots: \"%s\" is no count from 1 to %d: " EXAMPLE, colon,
				 SNAPSHOT_KEPT_MAX);
	ret_rule->count = (unsigned int)count;
	return 0;
}

int snapshot_rules_parse(const char *text, struct snapshot_rule rules[SNAPSHOT_RULES_MAX],
			 unsigned int *ret_count, struct fault *fault)
{
	struct snapshot_rule found[SNAPSHOT_RULES_MAX];
	unsigned int count = 0, sum = 0;

	if (strcmp(text, "none") == 0) {
		*ret_count = 0;
		return 0;
	}
	for (;;) {
		size_t length = strcspn(text, ",");
		int error;

		if (count == SNAPSHOT_RULES_MAX)
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "xcp-snapshots: more than %d rules", SNAPSHOT_RULES_MAX);
		error = parse_rule(text, length, &found[count], fault);
		if (error)
			return error;
		if (count > 0 && found[count].every_ns <= found[count - 1].every_ns)
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "xcp-snapshots: the periods have to grow from rule to "
					 "rule: " EXAMPLE);
		sum += found[count++].count;
		if (text[length] == '\0')
			break;
		text += length + 1;
	}
	if (sum > SNAPSHOT_KEPT_MAX)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "xcp-snapshots: %u snapshots in all are more than %d: a disk's "
				 "chain of VHDs has at most 30 parts",
				 sum, SNAPSHOT_KEPT_MAX);
	memcpy(rules, found, count * sizeof(*rules));
	*ret_count = count;
	return 0;
}

/* The number of the hour, day, week ... in which this moment lies, by the local clock. */
static uint64_t cell_of(uint64_t every_ns, uint64_t time_ns)
{
	time_t seconds = (time_t)(time_ns / NS_PER_S);
	int64_t east_ns = 0;
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		east_ns = (int64_t)tm.tm_gmtoff * (int64_t)NS_PER_S;
	return (time_ns + (uint64_t)east_ns + MONDAY) / every_ns;
}

bool snapshot_rules_is_due(const struct snapshot_rule *rules, unsigned int count,
			   uint64_t newest_ns, uint64_t now_ns)
{
	if (count == 0)
		return false;
	return !newest_ns ||
	       cell_of(rules[0].every_ns, newest_ns) != cell_of(rules[0].every_ns, now_ns);
}

void snapshot_rules_decide(const struct snapshot_rule *rules, unsigned int count,
			   struct snapshot_point *points, unsigned int point_count)
{
	for (unsigned int i = 0; i < point_count; i++)
		points[i].is_kept = count == 0 || i + 1 == point_count;
	for (unsigned int k = 0; k < count; k++) {
		unsigned int cells = 0;

		/* From the newest on; the first one of a cell is the last that is come across. */
		for (unsigned int i = point_count; i-- > 0 && cells < rules[k].count;) {
			uint64_t cell = cell_of(rules[k].every_ns, points[i].made_ns);

			if (i == 0 || cell_of(rules[k].every_ns, points[i - 1].made_ns) != cell) {
				points[i].is_kept = true;
				cells++;
			}
		}
	}
}
