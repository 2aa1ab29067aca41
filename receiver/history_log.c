// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The points file: a log of what happened to marks. Its room is allocated beforehand, so that noting that
 * checkpoints are dropped works on a full disk as well, and a sync has no metadata to write. Room to drop each
 * mark there is is always left. When it is full it is written anew with what there is. A slot that is not valid (torn, damaged) is passed over: what the
 * entry said is then judged by the files, see history.c.
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

#define FILE_MODE 0600

static void log_path(const struct history *history, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/points", history->folder);
}

static struct history_entry entry_of(const struct history_mark *mark)
{
	struct history_entry entry = {
		.kind = HISTORY_LOG_MARK,
		.flags = (le16)mark->flags,
		.number = mark->number,
		.time_ns = mark->time_ns,
		.serial = mark->serial,
	};

	memcpy(entry.label, mark->label, sizeof(entry.label));
	return entry;
}

static int reopen(struct history *history, uint64_t slots, uint64_t used)
{
	char path[PATH_MAX];
	int fd;

	log_path(history, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (history->log_fd >= 0)
		close(history->log_fd);
	history->log_fd = fd;
	history->log_slots = slots;
	history->log_used = used;
	return 0;
}

int history_log_compact(struct history *history, struct fault *fault)
{
	uint64_t slots = 1 + 2 * history->mark_count + HISTORY_LOG_SPARE, used = 0;
	size_t size = sizeof(struct history_log) + slots * sizeof(struct history_entry);
	struct history_log *image = calloc(1, size);
	struct history_entry *entries;
	char path[PATH_MAX];
	int error;

	if (!image)
		return history_failed(history, -ENOMEM, fault);
	entries = (struct history_entry *)(image + 1);
	history_log_make(image, history->id);
	if (history->newest_mark > 0)
		entries[used++] = (struct history_entry){.kind = HISTORY_LOG_NEWEST,
							 .number = history->newest_mark,
							 .serial = history->interval_serial};
	for (unsigned int i = 0; i < history->mark_count; i++)
		entries[used++] = entry_of(&history->marks[i]);
	for (uint64_t i = 0; i < used; i++)
		history_entry_seal(&entries[i], history->id);
	log_path(history, path);
	error = os_file_write_atomic(path, image, size, FILE_MODE);
	free(image);
	if (!error)
		error = reopen(history, slots, used);
	return error ? history_failed(history, error, fault) : 0;
}

/* After a failed sync an entry may be there or not, and nothing may depend on it: a mark that is there after a
 * crash, and was not known before, lacks what was overwritten since. So the log is written anew, as a new
 * file, at once; if that fails, too, nothing is protected any more, hence nothing overwritten. */
static int take_back(struct history *history, int error, struct fault *fault)
{
	history->is_log_broken = history_log_compact(history, fault) != 0;
	if (history->is_log_broken) {
		os_mutex_lock(&history->lock);
		history->broken = error;
		os_mutex_unlock(&history->lock);
	}
	return history_failed(history, error, fault);
}

static int make_room(struct history *history, const struct history_entry *entries,
		     unsigned int count, struct fault *fault)
{
	uint64_t needed = count;
	int error = 0;

	if (entries[0].kind != HISTORY_LOG_DROP)
		needed += history->mark_count + 1; /* with the one that may be made now */
	if (history->is_log_broken || needed > history->log_slots - history->log_used)
		error = history_log_compact(history, fault);
	if (error)
		return error;
	history->is_log_broken = false;
	if (count > history->log_slots - history->log_used)
		return history_failed(history, -EFBIG, fault);
	return 0;
}

int history_log_append(struct history *history, const struct history_entry *entries,
		       unsigned int count, struct fault *fault)
{
	size_t size = count * sizeof(*entries);
	struct history_entry *sealed;
	int error;

	error = make_room(history, entries, count, fault);
	if (error)
		return error;
	sealed = malloc(size);
	if (!sealed)
		return history_failed(history, -ENOMEM, fault);
	memcpy(sealed, entries, size);
	for (unsigned int i = 0; i < count; i++)
		history_entry_seal(&sealed[i], history->id);
	error = os_pwrite_all(history->log_fd, sealed, size,
			      sizeof(struct history_log) + history->log_used * sizeof(*entries));
	free(sealed);
	if (error)
		return history_failed(history, error, fault);
	if (fdatasync(history->log_fd) < 0)
		return take_back(history, -errno, fault);
	history->log_used += count;
	return 0;
}

static int apply_mark(struct history *history, const struct history_entry *entry)
{
	struct history_mark mark = {
		.number = entry->number,
		.time_ns = entry->time_ns,
		.serial = entry->serial,
		.flags = entry->flags &
			 (HISTORY_CONFIRMED | HISTORY_FROZEN | HISTORY_QUIET | HISTORY_MIXED),
	};
	int error = 0;

	memcpy(mark.label, entry->label, sizeof(mark.label));
	if (history->mark_count > 0 &&
	    (mark.number <= history->marks[history->mark_count - 1].number ||
	     mark.serial < history->marks[history->mark_count - 1].serial))
		return 0; /* only damage makes such */
	if (history->mark_count < HISTORY_POINTS_MAX)
		error = history_mark_add(history, &mark);
	if (!error && (mark.flags & HISTORY_CONFIRMED))
		history_mark_confirmed(history, mark.number);
	if (mark.number >= history->newest_mark) {
		history->newest_mark = mark.number;
		history->interval_serial = mark.serial;
	}
	return error;
}

static int apply(struct history *history, const struct history_entry *entry)
{
	struct history_mark *mark = history_mark_find(history, entry->number);

	switch ((enum history_kind)entry->kind) {
	case HISTORY_LOG_MARK:
		return apply_mark(history, entry);
	case HISTORY_LOG_CONFIRM:
		if (mark)
			history_mark_confirmed(history, entry->number);
		return 0;
	case HISTORY_LOG_LABEL:
		if (mark)
			memcpy(mark->label, entry->label, sizeof(mark->label));
		return 0;
	case HISTORY_LOG_DROP:
		if (mark)
			history_mark_remove(history, (unsigned int)(mark - history->marks));
		return 0;
	case HISTORY_LOG_NEWEST:
		if (entry->number >= history->newest_mark) {
			history->newest_mark = entry->number;
			history->interval_serial = entry->serial;
		}
		return 0;
	}
	return 0;
}

static int load(struct history *history, const char *data, size_t size)
{
	const struct history_entry *entries =
		(const struct history_entry *)(data + sizeof(struct history_log));
	uint64_t slots = (size - sizeof(struct history_log)) / sizeof(*entries), used = 0;
	int error = 0;

	for (uint64_t i = 0; !error && i < slots; i++) {
		if (history_entry_is_free(&entries[i]))
			continue;
		if (history_entry_is_valid(&entries[i], history->id)) {
			error = apply(history, &entries[i]);
		} else {
			log_warning("the history %s: ignoring entry %llu of its points, which was "
				    "being written when this machine stopped, or is damaged",
				    history->folder, (unsigned long long)i);
			history->has_bad_entries = true;
		}
		used = i + 1;
	}
	return error ? error : reopen(history, slots, used);
}

int history_log_open(struct history *history, struct fault *fault)
{
	struct history_log *head;
	char path[PATH_MAX], *data;
	size_t size;
	int error;

	log_path(history, path);
	error = os_file_read(path, HISTORY_LOG_MAX, &data, &size);
	if (error == -ENOENT) {
		os_random(&history->id, sizeof(history->id));
		return history_log_compact(history, fault);
	}
	if (error)
		return history_failed(history, error, fault);
	head = (struct history_log *)data;
	if (size >= sizeof(*head) && head->magic == HISTORY_LOG_MAGIC &&
	    head->version > HISTORY_VERSION) {
		free(data);
		return fault_set(fault, FAULT_STOP, ENOTSUP,
				 "the history %s is of a newer version of blkferry: upgrade",
				 history->folder);
	}
	if (size < sizeof(*head) || !history_log_is_valid(head)) {
		free(data);
		return fault_set(fault, FAULT_STOP, EBADMSG,
				 "%s is damaged. Check that storage; without it no checkpoint can "
				 "be told: remove %s, and the history begins anew",
				 path, history->folder);
	}
	history->id = head->history;
	error = load(history, data, size);
	free(data);
	return error ? history_failed(history, error, fault) : 0;
}
