// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Merging: several closed files that no mark separates become one, in one pass; of a block that is in more
 * than one of them the oldest record stays. The new file is durable, then gets its name, then the old ones go:
 * after a crash before the new name nothing has happened, after it the old ones are found superfluous.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/os_file.h"
#include "common/os_io.h"
#include "receiver/history_internal.h"
#include "receiver/history_record.h"
#include "receiver/retention.h"

#define FILE_MODE    0600
#define GROUP_MAX    64u /* files at a time */
#define GROUP_MANY   16u /* so many are merged also when they are young */
#define BUFFER_BYTES (1024u * 1024)

struct merge {
	struct history_file *files[GROUP_MAX]; /* oldest first */
	int fds[GROUP_MAX];
	uint64_t at[GROUP_MAX]; /* next entry of each */
	unsigned int count;
	unsigned int damaged; /* the one that is; count: none */

	int fd;
	uint8_t *buffer;
	size_t buffered;
	uint64_t position; /* of the buffer's end in the new file */
	struct history_index_entry *entries;
	uint64_t entry_count;
};

/* lock. The files between marks[index] and the next; true when they are to be merged. */
static bool take_group(struct history *history, unsigned int index, uint64_t now_ns,
		       bool is_everywhere, struct merge *merge)
{
	const struct history_mark *mark = &history->marks[index];
	uint64_t end = mark[1].serial;
	unsigned int count = 0;

	for (unsigned int i = history_file_from(history, mark->serial);
	     i < history->file_count && history->files[i]->last < end && count < GROUP_MAX; i++)
		merge->files[count++] = history->files[i];
	if (count < 2 ||
	    (!is_everywhere && count < GROUP_MANY &&
	     retention_rule_of(history->rules, history->rule_count, now_ns, mark->time_ns) == 0))
		return false;
	for (unsigned int i = 0; i < count; i++)
		merge->files[i]->refs++;
	merge->count = merge->damaged = count;
	return true;
}

static bool find_group(struct history *history, uint64_t now_ns, bool is_everywhere,
		       struct merge *merge)
{
	bool is_found = false;

	os_mutex_lock(&history->lock);
	for (unsigned int i = 0; !is_found && i + 1 < history->mark_count; i++)
		if (history->marks[i].serial != history->marks[i + 1].serial)
			is_found = take_group(history, i, now_ns, is_everywhere, merge);
	os_mutex_unlock(&history->lock);
	return is_found;
}

static int flush(struct merge *merge)
{
	int error = os_write_all(merge->fd, merge->buffer, merge->buffered);

	if (!error)
		merge->buffered = 0;
	return error;
}

static int put_bytes(struct merge *merge, const void *bytes, size_t size)
{
	int error = 0;

	if (merge->buffered + size > BUFFER_BYTES)
		error = flush(merge);
	if (error)
		return error;
	memcpy(merge->buffer + merge->buffered, bytes, size);
	merge->buffered += size;
	merge->position += size;
	return 0;
}

/* The file that has the smallest key; the oldest of those that have it. Passes it in all. */
static bool next_record(struct merge *merge, unsigned int *ret_file,
			struct history_index_entry *ret_entry)
{
	uint64_t least = UINT64_MAX;

	for (unsigned int i = 0; i < merge->count; i++) {
		const struct history_file *file = merge->files[i];

		if (merge->at[i] < file->count && file->entries[merge->at[i]].key < least) {
			least = file->entries[merge->at[i]].key;
			*ret_file = i;
			*ret_entry = file->entries[merge->at[i]];
		}
	}
	if (least == UINT64_MAX)
		return false;
	for (unsigned int i = 0; i < merge->count; i++)
		if (merge->at[i] < merge->files[i]->count &&
		    merge->files[i]->entries[merge->at[i]].key == least)
			merge->at[i]++;
	return true;
}

static int copy_records(const struct history *history, struct merge *merge)
{
	uint64_t seed = history->id + merge->files[0]->first;
	uint8_t record[HISTORY_RECORD_MAX];
	struct history_index_entry entry;
	unsigned int from;
	int error = 0;

	while (!error && next_record(merge, &from, &entry)) {
		size_t size;

		error = history_record_load(merge->fds[from],
					    history->id + merge->files[from]->first, entry.position,
					    entry.key, record);
		if (error) {
			if (error == -EBADMSG)
				merge->damaged = from;
			break;
		}
		size = HISTORY_RECORD_BYTES(((struct history_record *)record)->stored_bytes);
		history_record_move(record, seed, 0);
		merge->entries[merge->entry_count++] =
			(struct history_index_entry){entry.key, merge->position};
		error = put_bytes(merge, record, size);
	}
	if (!error)
		error = put_bytes(merge, record,
				  history_record_make_end(record, seed, merge->entry_count));
	return error;
}

static int write_merged(const struct history *history, struct merge *merge)
{
	struct history_undo head;
	int error;

	history_undo_make(&head, history->id, merge->files[0]->first,
			  merge->files[merge->count - 1]->last);
	error = put_bytes(merge, &head, sizeof(head));
	if (!error)
		error = copy_records(history, merge);
	if (!error)
		error = flush(merge);
	if (!error && fsync(merge->fd) < 0)
		error = -errno;
	return error;
}

/* change_lock, lock. Are the files still there, one after another? Where, or -1. */
static int find_in_place(const struct history *history, const struct merge *merge)
{
	for (unsigned int i = 0; i + merge->count <= history->file_count; i++)
		if (memcmp(&history->files[i], merge->files,
			   merge->count * sizeof(struct history_file *)) == 0)
			return (int)i;
	return -1;
}

/* Gives the new file its name and takes it in. change_lock */
static int put_in_place(struct history *history, struct merge *merge, const char *temporary)
{
	uint64_t first = merge->files[0]->first, last = merge->files[merge->count - 1]->last;
	struct history_file *merged;
	char path[PATH_MAX];
	int at;

	os_mutex_lock(&history->lock);
	at = find_in_place(history, merge);
	os_mutex_unlock(&history->lock);
	if (at < 0)
		return 0; /* dropped meanwhile */
	history_undo_path(history, first, last, path);
	if (rename(temporary, path) < 0)
		return -errno;
	if (os_folder_sync(history->folder) < 0)
		return -errno; /* both are there: whichever is found later is right */
	merged = history_file_new(history, first, last, merge->position, merge->entries,
				  merge->entry_count);
	merge->entries = NULL;
	if (!merged)
		return -ENOMEM;
	os_mutex_lock(&history->lock);
	at = find_in_place(history, merge);
	history->files[at] = merged;
	history->file_count -= merge->count - 1;
	memmove(&history->files[at + 1], &history->files[at + (int)merge->count],
		(history->file_count - (unsigned int)at - 1) * sizeof(struct history_file *));
	os_mutex_unlock(&history->lock);
	for (unsigned int i = 0; i < merge->count; i++) {
		history_file_unlink(history, merge->files[i]->first, merge->files[i]->last);
		history_file_put(history, merge->files[i]); /* the list's */
	}
	return 0;
}

static int open_all(struct history *history, struct merge *merge, const char *temporary)
{
	uint64_t entries = 0;

	for (unsigned int i = 0; i < merge->count; i++) {
		merge->fds[i] =
			history_file_fd(history, merge->files[i]->first, merge->files[i]->last);
		if (merge->fds[i] < 0)
			return merge->fds[i];
		entries += merge->files[i]->count;
	}
	merge->buffer = malloc(BUFFER_BYTES);
	merge->entries = reallocarray(NULL, entries + 1, sizeof(*merge->entries));
	if (!merge->buffer || !merge->entries)
		return -ENOMEM;
	merge->fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
	return merge->fd < 0 ? -errno : 0;
}

static void close_all(struct history *history, struct merge *merge)
{
	for (unsigned int i = 0; i < merge->count; i++) {
		if (merge->fds[i] >= 0)
			close(merge->fds[i]);
		history_file_put(history, merge->files[i]);
	}
	if (merge->fd >= 0)
		close(merge->fd);
	free(merge->buffer);
	free(merge->entries);
}

/* The checkpoints that need a damaged file are lost; those after it are not. change_lock */
static int drop_damaged(struct history *history, const struct history_file *file,
			struct fault *fault)
{
	uint64_t *numbers = malloc((history->mark_count + 1) * sizeof(*numbers));
	unsigned int count = 0;
	int error;

	if (!numbers)
		return history_failed(history, -ENOMEM, fault);
	for (unsigned int i = 0; i < history->mark_count; i++)
		if (history->marks[i].serial <= file->last)
			numbers[count++] = history->marks[i].number;
	log_error("the history %s: undo-%016llx-%016llx is damaged; %u checkpoints that need it "
		  "are lost. Check that storage; newer checkpoints and the replica itself are not "
		  "affected",
		  history->folder, (unsigned long long)file->first, (unsigned long long)file->last,
		  count);
	error = history_drop(history, numbers, count, fault);
	free(numbers);
	return error;
}

static int merge_group(struct history *history, struct merge *merge, struct fault *fault)
{
	char temporary[PATH_MAX];
	int error;

	merge->fd = -1;
	for (unsigned int i = 0; i < merge->count; i++)
		merge->fds[i] = -1;
	snprintf(temporary, sizeof(temporary), "%s/" HISTORY_MERGING, history->folder);
	error = open_all(history, merge, temporary);
	if (!error)
		error = write_merged(history, merge);
	if (error != -ENOENT) {
		os_mutex_lock(&history->change_lock);
		if (!error)
			error = put_in_place(history, merge, temporary);
		if (error == -EBADMSG && merge->damaged < merge->count)
			error = drop_damaged(history, merge->files[merge->damaged], fault);
		else if (error)
			history_failed(history, error, fault);
		os_mutex_unlock(&history->change_lock);
	} else {
		error = 0; /* dropped meanwhile */
	}
	unlink(temporary);
	close_all(history, merge);
	return error;
}

int history_merge(struct history *history, uint64_t now_ns, bool is_everywhere, struct fault *fault)
{
	struct merge *merge = malloc(sizeof(*merge));
	int error = 0;

	if (!merge)
		return history_failed(history, -ENOMEM, fault);
	os_mutex_lock(&history->merge_lock);
	while (!error) {
		memset(merge, 0, sizeof(*merge));
		if (!find_group(history, now_ns, is_everywhere, merge))
			break;
		error = merge_group(history, merge, fault);
	}
	os_mutex_unlock(&history->merge_lock);
	free(merge);
	return error;
}
