// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The marks: making, confirming, naming, dropping and listing them. What changes is noted in the log first,
 * durably, then in memory; files go last.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "receiver/history_internal.h"

int history_failed(const struct history *history, int error, struct fault *fault)
{
	return fault_set(fault, FAULT_RETRY, -error, "the history %s cannot be used: %s",
			 history->folder, strerror(-error));
}

/* Room for one more. */
static int reserve(struct history *history)
{
	if (history->mark_count == history->mark_room) {
		unsigned int room = history->mark_room ? history->mark_room * 2 : 64;
		struct history_mark *grown = reallocarray(history->marks, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		history->marks = grown;
		history->mark_room = room;
	}
	return 0;
}

int history_mark_add(struct history *history, const struct history_mark *mark)
{
	int error = reserve(history);

	if (!error)
		history->marks[history->mark_count++] = *mark;
	return error;
}

struct history_mark *history_mark_find(struct history *history, uint64_t number)
{
	unsigned int low = 0, high = history->mark_count;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (history->marks[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < history->mark_count && history->marks[low].number == number)
		return &history->marks[low];
	return NULL;
}

void history_mark_remove(struct history *history, unsigned int index)
{
	history->mark_count--;
	memmove(&history->marks[index], &history->marks[index + 1],
		(history->mark_count - index) * sizeof(*history->marks));
}

void history_mark_confirmed(struct history *history, uint64_t number)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < history->mark_count; i++) {
		struct history_mark *mark = &history->marks[i];

		if (mark->number == number)
			mark->flags |= HISTORY_CONFIRMED;
		if (mark->number >= number || (mark->flags & HISTORY_CONFIRMED))
			history->marks[kept++] = *mark;
	}
	history->mark_count = kept;
}

static int make_mark(struct history *history, struct history_mark *mark, struct fault *fault)
{
	struct history_entry entry = {
		.kind = HISTORY_LOG_MARK,
		.flags = (le16)mark->flags,
		.number = mark->number,
		.time_ns = mark->time_ns,
	};
	int error = history_part_switch(history);

	if (error)
		return history_failed(history, error, fault);
	if (history->mark_count >= history->points_max)
		return fault_set(
			fault, FAULT_STOP, EMFILE,
			"the history %s has %u checkpoints already: a retention with fewer "
			"is needed",
			history->folder, history->points_max);
	os_mutex_lock(&history->lock);
	mark->serial = entry.serial = history->part.serial;
	error = reserve(history); /* before it is noted: what the log has, the list must have */
	os_mutex_unlock(&history->lock);
	if (error)
		return history_failed(history, error, fault);
	error = history_log_append(history, &entry, 1, fault);
	if (error)
		return error;
	os_mutex_lock(&history->lock);
	history->marks[history->mark_count++] = *mark;
	history->newest_mark = mark->number;
	history->interval_serial = mark->serial;
	if (mark->flags & HISTORY_CONFIRMED)
		history_mark_confirmed(history, mark->number);
	os_mutex_unlock(&history->lock);
	return 0;
}

int history_mark(struct history *history, uint64_t number, uint64_t time_ns, unsigned int flags,
		 struct fault *fault)
{
	struct history_mark mark = {
		.number = number,
		.time_ns = time_ns,
		.flags = flags &
			 (HISTORY_CONFIRMED | HISTORY_FROZEN | HISTORY_QUIET | HISTORY_MIXED),
	};
	int error = 0;

	os_mutex_lock(&history->change_lock);
	if (number > history->newest_mark)
		error = make_mark(history, &mark, fault);
	if (!error && (flags & HISTORY_CONFIRMED))
		error = history_forget(history, fault);
	os_mutex_unlock(&history->change_lock);
	return error;
}

static int confirm(struct history *history, uint64_t number, struct fault *fault)
{
	struct history_entry entry = {.kind = HISTORY_LOG_CONFIRM, .number = number};
	const struct history_mark *mark = history_mark_find(history, number);
	int error;

	if (!mark || (mark->flags & HISTORY_CONFIRMED))
		return 0;
	error = history_log_append(history, &entry, 1, fault);
	if (error)
		return error;
	os_mutex_lock(&history->lock);
	history_mark_confirmed(history, number);
	os_mutex_unlock(&history->lock);
	return history_forget(history, fault);
}

int history_confirm(struct history *history, uint64_t number, struct fault *fault)
{
	int error;

	os_mutex_lock(&history->change_lock);
	error = confirm(history, number, fault);
	os_mutex_unlock(&history->change_lock);
	return error;
}

uint64_t history_newest_mark(struct history *history)
{
	uint64_t number;

	os_mutex_lock(&history->lock);
	number = history->newest_mark;
	os_mutex_unlock(&history->lock);
	return number;
}

static int set_label(struct history *history, uint64_t number, const char *label,
		     struct fault *fault)
{
	struct history_entry entry = {.kind = HISTORY_LOG_LABEL, .number = number};
	struct history_mark *mark = history_mark_find(history, number);
	int error;

	if (!mark || !(mark->flags & HISTORY_CONFIRMED))
		return fault_set(fault, FAULT_STOP, ENOENT, "there is no checkpoint #%llu",
				 (unsigned long long)number);
	if (strlen(label) >= sizeof(entry.label))
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "the label is too long: at most %d bytes", HISTORY_LABEL_MAX - 1);
	if (label[0] == '#' || label[0] == '-' || strcmp(label, "latest") == 0)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "\"%s\" cannot be a label: it means something else already",
				 label);
	for (unsigned int i = 0; label[0] != '\0' && i < history->mark_count; i++)
		if (&history->marks[i] != mark && strcmp(history->marks[i].label, label) == 0)
			return fault_set(fault, FAULT_STOP, EEXIST,
					 "checkpoint #%llu has the label \"%s\" already",
					 (unsigned long long)history->marks[i].number, label);
	strcpy(entry.label, label);
	error = history_log_append(history, &entry, 1, fault);
	if (error)
		return error;
	os_mutex_lock(&history->lock);
	memcpy(mark->label, entry.label, sizeof(mark->label));
	os_mutex_unlock(&history->lock);
	return 0;
}

int history_label(struct history *history, uint64_t number, const char *label, struct fault *fault)
{
	int error;

	os_mutex_lock(&history->change_lock);
	error = set_label(history, number, label, fault);
	os_mutex_unlock(&history->change_lock);
	return error;
}

/* What is kept on disk from a mark's serial up to the next one's. lock */
static uint64_t undo_bytes(const struct history *history, unsigned int index)
{
	uint64_t first = history->marks[index].serial, end = UINT64_MAX, bytes = 0;

	if (index + 1 < history->mark_count)
		end = history->marks[index + 1].serial;
	for (unsigned int i = history_file_from(history, first);
	     i < history->file_count && history->files[i]->last < end; i++)
		bytes += history->files[i]->bytes;
	if (history->part.serial >= first && history->part.serial < end)
		bytes += history->part.end;
	return bytes;
}

int history_list(struct history *history, struct history_point **ret_points,
		 unsigned int *ret_count)
{
	struct history_point *points;
	unsigned int count = 0;

	os_mutex_lock(&history->lock);
	points = calloc(history->mark_count + 1, sizeof(*points));
	for (unsigned int i = 0; points && i < history->mark_count; i++) {
		const struct history_mark *mark = &history->marks[i];
		struct history_point *point = &points[count];

		if (!(mark->flags & HISTORY_CONFIRMED))
			continue;
		*point = (struct history_point){
			.number = mark->number,
			.time_ns = mark->time_ns,
			.flags = mark->flags,
			.undo_bytes = undo_bytes(history, i),
		};
		if (mark->label[0] != '\0' || mark->readers > 0)
			point->flags |= HISTORY_PINNED;
		memcpy(point->label, mark->label, sizeof(point->label));
		count++;
	}
	os_mutex_unlock(&history->lock);
	if (!points)
		return -ENOMEM;
	*ret_points = points;
	*ret_count = count;
	return 0;
}

int history_forget(struct history *history, struct fault *fault)
{
	uint64_t oldest = UINT64_MAX;
	struct history_file **gone;
	unsigned int count = 0;

	if (history->mark_count > 0)
		oldest = history->marks[0].serial;
	else
		history_part_discard(history);
	os_mutex_lock(&history->lock);
	while (count < history->file_count && history->files[count]->last < oldest)
		count++;
	gone = count > 0 ? malloc(count * sizeof(struct history_file *)) : NULL;
	if (gone) {
		memcpy(gone, history->files, count * sizeof(struct history_file *));
		history->file_count -= count;
		memmove(history->files, history->files + count,
			history->file_count * sizeof(struct history_file *));
	}
	os_mutex_unlock(&history->lock);
	for (unsigned int i = 0; gone && i < count; i++) {
		history_file_unlink(history, gone[i]->first, gone[i]->last);
		history_file_put(history, gone[i]);
	}
	if (count > 0 && !gone)
		return history_failed(history, -ENOMEM, fault);
	free(gone);
	return 0;
}

int history_drop(struct history *history, const uint64_t *numbers, unsigned int count,
		 struct fault *fault)
{
	struct history_entry *entries;
	int error;

	if (count == 0)
		return 0;
	entries = calloc(count, sizeof(*entries));
	if (!entries)
		return history_failed(history, -ENOMEM, fault);
	for (unsigned int i = 0; i < count; i++)
		entries[i] = (struct history_entry){.kind = HISTORY_LOG_DROP, .number = numbers[i]};
	error = history_log_append(history, entries, count, fault);
	free(entries);
	if (error)
		return error;
	os_mutex_lock(&history->lock);
	for (unsigned int i = 0; i < count; i++) {
		const struct history_mark *mark = history_mark_find(history, numbers[i]);

		if (mark)
			history_mark_remove(history, (unsigned int)(mark - history->marks));
	}
	os_mutex_unlock(&history->lock);
	return history_forget(history, fault);
}

int history_drop_point(struct history *history, uint64_t number, struct fault *fault)
{
	const struct history_mark *mark;
	int error = 0;

	os_mutex_lock(&history->change_lock);
	mark = history_mark_find(history, number);
	if (mark && mark->readers > 0)
		error = set_label(history, number, "", fault);
	else if (mark)
		error = history_drop(history, &number, 1, fault);
	os_mutex_unlock(&history->change_lock);
	return error;
}

int history_clear(struct history *history, struct fault *fault)
{
	uint64_t *numbers;
	unsigned int count;
	int error;

	os_mutex_lock(&history->change_lock);
	count = history->mark_count;
	numbers = malloc((count + 1) * sizeof(*numbers));
	if (numbers) {
		for (unsigned int i = 0; i < count; i++)
			numbers[i] = history->marks[i].number;
		error = count > 0 ? history_drop(history, numbers, count, fault)
				  : history_forget(history, fault);
	} else {
		error = history_failed(history, -ENOMEM, fault);
	}
	os_mutex_unlock(&history->change_lock);
	free(numbers);
	return error;
}

uint64_t history_bytes(struct history *history)
{
	uint64_t bytes;

	os_mutex_lock(&history->lock);
	bytes = history->part.end;
	for (unsigned int i = 0; i < history->file_count; i++)
		bytes += history->files[i]->bytes;
	os_mutex_unlock(&history->lock);
	return bytes;
}
