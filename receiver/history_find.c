// SPDX-License-Identifier: GPL-2.0-or-later
/* A checkpoint by what a person calls it; see history_find in history.h. Times are local. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/os_clock.h"
#include "common/units.h"
#include "receiver/history_internal.h"

/* The whole of that second counts: what was made in it is not after it. */
static int parse_time(const char *text, uint64_t now_ns, uint64_t *ret_time_ns)
{
	time_t now = (time_t)(now_ns / NS_PER_S), found;
	struct tm parts;
	const char *end;
	uint64_t ago_ns;

	if (text[0] == '-') {
		if (units_parse_duration(text + 1, &ago_ns) < 0 || ago_ns > now_ns)
			return -EINVAL;
		*ret_time_ns = now_ns - ago_ns;
		return 0;
	}
	if (!localtime_r(&now, &parts))
		return -EINVAL;
	end = strptime(text, "%H:%M:%S", &parts);
	if (!end || *end != '\0') {
		memset(&parts, 0, sizeof(parts));
		end = strptime(text, "%Y-%m-%d%n%H:%M:%S", &parts);
	}
	if (!end || *end != '\0')
		return -EINVAL;
	parts.tm_isdst = -1;
	found = mktime(&parts);
	if (found < 0)
		return -EINVAL;
	*ret_time_ns = (uint64_t)found * NS_PER_S + (NS_PER_S - 1);
	return 0;
}

static int set_none(const char *text, const struct history_point *before,
		    const struct history_point *after, struct fault *fault)
{
	char older[32], newer[32];

	if (before)
		units_format_time(before->time_ns, older, sizeof(older));
	if (after)
		units_format_time(after->time_ns, newer, sizeof(newer));
	if (before && after)
		return fault_set(fault, FAULT_STOP, ENOENT,
				 "there is no checkpoint \"%s\"; the nearest are #%llu of %s and "
				 "#%llu of %s",
				 text, (unsigned long long)before->number, older,
				 (unsigned long long)after->number, newer);
	if (before || after)
		return fault_set(fault, FAULT_STOP, ENOENT,
				 "there is no checkpoint \"%s\"; the %s is #%llu of %s", text,
				 before ? "newest" : "oldest",
				 (unsigned long long)(before ? before : after)->number,
				 before ? older : newer);
	return fault_set(fault, FAULT_STOP, ENOENT, "there is no checkpoint yet");
}

static int find_number(const struct history_point *points, unsigned int count, const char *text,
		       const struct history_point **ret_point, struct fault *fault)
{
	const struct history_point *before = NULL, *after = NULL;
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(text + 1, &end, 10);
	if (errno || *end != '\0' || text[1] < '0' || text[1] > '9')
		return fault_set(fault, FAULT_STOP, EINVAL, "\"%s\" is no number of a checkpoint",
				 text);
	for (unsigned int i = 0; i < count; i++) {
		if (points[i].number == number) {
			*ret_point = &points[i];
			return 0;
		}
		if (points[i].number < number)
			before = &points[i];
		else if (!after)
			after = &points[i];
	}
	return set_none(text, before, after, fault);
}

static int find_time(const struct history_point *points, unsigned int count, const char *text,
		     const struct history_point **ret_point, struct fault *fault)
{
	const struct history_point *found = NULL, *after = NULL;
	uint64_t time_ns;

	if (parse_time(text, os_realtime_ns(), &time_ns) < 0)
		return fault_set(
			fault, FAULT_STOP, ENOENT,
			"no checkpoint has the label \"%s\", and it is no time like "
			"14:03:07, \"2026-11-21 14:03:07\" or -90s, nor latest, nor #NUMBER",
			text);
	for (unsigned int i = 0; i < count; i++) {
		if (points[i].flags & HISTORY_MIXED)
			continue;
		if (points[i].time_ns > time_ns)
			after = !after || points[i].time_ns < after->time_ns ? &points[i] : after;
		else if (!found || points[i].time_ns >= found->time_ns)
			found = &points[i];
	}
	if (!found)
		return set_none(text, NULL, after, fault);
	*ret_point = found;
	return 0;
}

static int find_latest(const struct history_point *points, unsigned int count,
		       const struct history_point **ret_point, struct fault *fault)
{
	while (count > 0 && (points[count - 1].flags & HISTORY_MIXED))
		count--;
	if (count == 0)
		return set_none("latest", NULL, NULL, fault);
	*ret_point = &points[count - 1];
	return 0;
}

static int find(const struct history_point *points, unsigned int count, const char *text,
		const struct history_point **ret_point, struct fault *fault)
{
	for (unsigned int i = 0; i < count; i++)
		if (points[i].label[0] != '\0' && strcmp(points[i].label, text) == 0) {
			*ret_point = &points[i];
			return 0;
		}
	if (count == 0)
		return set_none(text, NULL, NULL, fault);
	if (strcmp(text, "latest") == 0)
		return find_latest(points, count, ret_point, fault);
	if (text[0] == '#')
		return find_number(points, count, text, ret_point, fault);
	return find_time(points, count, text, ret_point, fault);
}

int history_find(struct history *history, const char *text, struct history_point *ret_point,
		 struct fault *fault)
{
	const struct history_point *point = NULL;
	struct history_point *points;
	unsigned int count;
	int error = history_list(history, &points, &count);

	if (error)
		return history_failed(history, error, fault);
	error = find(points, count, text, &point, fault);
	if (!error)
		*ret_point = *point;
	free(points);
	return error;
}
