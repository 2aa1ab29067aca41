// SPDX-License-Identifier: GPL-2.0-or-later
/* Retention: what the rules and the size limit say goes, then what lies between is merged. */
#include <errno.h>
#include <stdlib.h>

#include "receiver/history_internal.h"
#include "receiver/retention.h"

static bool is_pinned(const struct history_mark *mark)
{
	return mark->label[0] != '\0' || mark->readers > 0;
}

/* The numbers that the rules drop; the caller frees. NULL: no memory. change_lock */
static uint64_t *decide(const struct history *history, uint64_t now_ns, unsigned int *ret_count)
{
	uint64_t *numbers = malloc((history->mark_count + 1) * sizeof(*numbers));
	struct retention_point *points = malloc((history->mark_count + 1) * sizeof(*points));
	unsigned int count = 0, going = 0, at = 0;

	if (!numbers || !points) {
		free(numbers);
		free(points);
		return NULL;
	}
	for (unsigned int i = 0; i < history->mark_count; i++)
		if (history->marks[i].flags & HISTORY_CONFIRMED)
			points[count++] = (struct retention_point){
				.time_ns = history->marks[i].time_ns,
				.is_pinned = is_pinned(&history->marks[i]),
			};
	retention_decide(history->rules, history->rule_count, now_ns, points, count);
	for (unsigned int i = 0; i < history->mark_count; i++)
		if ((history->marks[i].flags & HISTORY_CONFIRMED) && !points[at++].is_kept)
			numbers[going++] = history->marks[i].number;
	free(points);
	*ret_count = going;
	return numbers;
}

static int apply_rules(struct history *history, uint64_t now_ns, struct fault *fault)
{
	unsigned int count;
	uint64_t *numbers;
	int error;

	os_mutex_lock(&history->change_lock);
	numbers = decide(history, now_ns, &count);
	error = numbers ? history_drop(history, numbers, count, fault)
			: history_failed(history, -ENOMEM, fault);
	os_mutex_unlock(&history->change_lock);
	free(numbers);
	return error;
}

/* The oldest that may go; 0: none. change_lock */
static uint64_t oldest_unpinned(const struct history *history, bool is_newest_kept)
{
	uint64_t found = 0;

	for (unsigned int i = 0; i < history->mark_count; i++) {
		const struct history_mark *mark = &history->marks[i];

		if (!(mark->flags & HISTORY_CONFIRMED))
			continue;
		if (found)
			return found; /* there is a newer one */
		if (!is_pinned(mark))
			found = mark->number;
	}
	return is_newest_kept ? 0 : found;
}

/* Drops one. 1: dropped; 0: none may go. Behind a pinned one only a merge makes room; when there is no room for
 * that, either, it is dropped all the same. */
static int drop_one(struct history *history, bool is_newest_kept, struct fault *fault)
{
	uint64_t number;
	bool is_first;
	int error = 0;

	os_mutex_lock(&history->change_lock);
	number = oldest_unpinned(history, is_newest_kept);
	is_first = history->mark_count > 0 && history->marks[0].number == number;
	if (number)
		error = history_drop(history, &number, 1, fault);
	os_mutex_unlock(&history->change_lock);
	if (!error && number && !is_first)
		error = history_merge(history, 0, true, fault);
	return error && error != -ENOSPC ? error : number != 0;
}

static int apply_limit(struct history *history, struct fault *fault)
{
	while (history->size_limit_bytes > 0 &&
	       history_bytes(history) > history->size_limit_bytes) {
		int dropped = drop_one(history, true, fault);

		if (dropped <= 0)
			return dropped;
	}
	return 0;
}

int history_thin(struct history *history, uint64_t now_ns, struct fault *fault)
{
	int error = apply_rules(history, now_ns, fault);

	if (!error)
		error = history_merge(history, now_ns, false, fault);
	if (!error)
		error = apply_limit(history, fault);
	return error;
}

int history_drop_oldest(struct history *history, struct fault *fault)
{
	int dropped = drop_one(history, false, fault);

	if (dropped == 0)
		return fault_set(fault, FAULT_STOP, ENOENT,
				 "the history %s has no checkpoint that may be dropped",
				 history->folder);
	return dropped < 0 ? dropped : 0;
}
