// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening a history: which files and marks go together.
 *
 * A file whose serials lie within another's is what a merge made superfluous: it goes. A mark needs every
 * serial from its own on; when one is missing or damaged, it is dropped, loudly, and so are all before it.
 * A mark inside a merged file is none: it was dropped before the merge, and only damage to the log can
 * bring it back.
 */
#include "receiver/history.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/os_file.h"
#include "receiver/history_internal.h"

#define FOLDER_MODE 0700

/* The serials in a file's name. */
struct name {
	uint64_t first, last;
};
struct names {
	struct name *list;
	unsigned int count, room;
};

static int lock_folder(const char *folder, int *ret_fd, struct fault *fault)
{
	int error = strlen(folder) < PATH_MAX - HISTORY_NAME_MAX ? 0 : -ENAMETOOLONG;

	if (!error)
		error = os_folder_lock(folder, FOLDER_MODE, ret_fd);
	if (error == -EWOULDBLOCK)
		return fault_set(fault, FAULT_STOP, EBUSY,
				 "the history %s is in use by another receiver", folder);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "the history %s cannot be opened: %s",
				 folder, strerror(-error));
	return 0;
}

/* "undo-FIRST-LAST", in 16 hexadecimal digits each. */
static bool parse_name(const char *text, const char *prefix, struct name *ret_name)
{
	size_t length = strlen(prefix);
	char *end;

	if (strncmp(text, prefix, length) != 0 || strlen(text) != length + 33)
		return false;
	ret_name->first = strtoull(text + length, &end, 16);
	if (end != text + length + 16 || *end != '-')
		return false;
	ret_name->last = strtoull(end + 1, &end, 16);
	return *end == '\0' && ret_name->first > 0 && ret_name->first <= ret_name->last &&
	       ret_name->last < UINT64_MAX / 2;
}

static int add_name(struct names *names, struct name name)
{
	if (names->count == names->room) {
		unsigned int room = names->room ? names->room * 2 : 256;
		struct name *grown = reallocarray(names->list, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		names->list = grown;
		names->room = room;
	}
	names->list[names->count++] = name;
	return 0;
}

/* Notes the undo files, and removes what an interrupted write of another file left. */
static int note_name(struct history *history, struct names *names, const char *text)
{
	char path[PATH_MAX];
	struct name name;

	if (parse_name(text, "undo-", &name))
		return add_name(names, name);
	if (snprintf(path, sizeof(path), "%s/%s", history->folder, text) >= (int)sizeof(path))
		return 0;
	if (strncmp(text, "points.", 7) == 0 || strcmp(text, HISTORY_MERGING) == 0)
		unlink(path);
	if (parse_name(text, "index-", &name)) {
		char undo[PATH_MAX];

		history_undo_path(history, name.first, name.last, undo);
		if (!os_file_exists(undo))
			unlink(path);
	}
	return 0;
}

/* Older first; of those that begin alike the larger one first. */
static int compare_names(const void *left, const void *right)
{
	const struct name *a = left, *b = right;

	if (a->first != b->first)
		return a->first > b->first ? 1 : -1;
	return (a->last < b->last) - (a->last > b->last);
}

static int list_names(struct history *history, struct names *names)
{
	DIR *folder = opendir(history->folder);
	struct dirent *entry;
	unsigned int kept = 0;
	int error = 0;

	if (!folder)
		return -errno;
	while (!error && (errno = 0, entry = readdir(folder)))
		error = note_name(history, names, entry->d_name);
	if (!error)
		error = -errno;
	closedir(folder);
	if (error || names->count == 0)
		return error;
	qsort(names->list, names->count, sizeof(*names->list), compare_names);
	for (unsigned int i = 0; i < names->count; i++) {
		struct name *name = &names->list[i];

		if (kept > 0 && name->first <= names->list[kept - 1].last)
			history_file_unlink(history, name->first, name->last);
		else
			names->list[kept++] = *name;
	}
	names->count = kept;
	return 0;
}

static int open_files(struct history *history, const struct names *names, uint64_t *ret_serial)
{
	uint64_t serial = 1;

	for (unsigned int i = 0; i < names->count; i++) {
		const struct name *name = &names->list[i];
		struct history_file *file;
		int error = history_file_open(history, name->first, name->last,
					      i == names->count - 1 && name->first == name->last,
					      &file);

		if (error && error != -EBADMSG)
			return error;
		if (error)
			log_error("the history %s: undo-%016llx-%016llx is damaged",
				  history->folder, (unsigned long long)name->first,
				  (unsigned long long)name->last);
		if (error)
			history_file_unlink(history, name->first, name->last);
		if (!error && file)
			error = history_file_add(history, file);
		if (error == -ENOMEM) {
			history_file_put(history, file);
			return error;
		}
		if (error || file)
			serial = name->last + 1;
	}
	*ret_serial = serial;
	return 0;
}

/* The oldest serial from which on nothing is missing up to end. */
static uint64_t whole_since(const struct history *history, uint64_t end)
{
	for (unsigned int i = history->file_count; i-- > 0;) {
		if (history->files[i]->last + 1 != end)
			break;
		end = history->files[i]->first;
	}
	return end;
}

static bool is_inside_a_file(const struct history *history, uint64_t serial)
{
	for (unsigned int i = 0; i < history->file_count; i++)
		if (history->files[i]->first < serial && serial <= history->files[i]->last)
			return true;
	return false;
}

static int drop_incomplete(struct history *history, struct fault *fault)
{
	uint64_t whole = whole_since(history, history->part.serial);
	uint64_t *numbers = malloc((history->mark_count + 1) * sizeof(*numbers));
	unsigned int count = 0;
	int error;

	if (!numbers)
		return history_failed(history, -ENOMEM, fault);
	for (unsigned int i = 0; i < history->mark_count; i++) {
		const struct history_mark *mark = &history->marks[i];

		if (mark->serial >= whole && !is_inside_a_file(history, mark->serial))
			continue;
		log_error("the history %s: checkpoint #%llu is lost, since undo files that it "
			  "needs are damaged or missing. Check that storage; newer checkpoints "
			  "and the replica itself are not affected",
			  history->folder, (unsigned long long)mark->number);
		numbers[count++] = mark->number;
	}
	error = history_drop(history, numbers, count, fault);
	free(numbers);
	return error ? error : history_forget(history, fault);
}

static int load(struct history *history, struct fault *fault)
{
	struct names names = {0};
	uint64_t serial = 1;
	int error = history_log_open(history, fault);

	if (error)
		return error;
	error = list_names(history, &names);
	if (!error)
		error = open_files(history, &names, &serial);
	free(names.list);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "the history %s cannot be read: %s",
				 history->folder, strerror(-error));
	if (serial < history->interval_serial)
		serial = history->interval_serial;
	for (unsigned int i = 0; i < history->mark_count; i++)
		if (serial < history->marks[i].serial)
			serial = history->marks[i].serial;
	history_part_init(&history->part, serial);
	error = drop_incomplete(history, fault);
	if (!error && history->has_bad_entries)
		error = history_log_compact(history, fault);
	return error;
}

static int take_setup(struct history *history, const struct history_setup *setup,
		      struct fault *fault)
{
	if (setup->disks > HISTORY_DISKS_MAX || setup->rule_count > HISTORY_RULES_MAX)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "the history %s: too many disks or rules", setup->folder);
	history->disks = setup->disks;
	for (unsigned int i = 0; i < setup->disks; i++) {
		if (setup->disk_bytes[i] > WIRE_DISK_BYTES_MAX)
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "the history %s: disk %u is too large", setup->folder, i);
		history->disk_bytes[i] = setup->disk_bytes[i];
	}
	for (unsigned int i = 0; i < setup->rule_count; i++)
		history->rules[i] = setup->rules[i];
	history->rule_count = setup->rule_count;
	history->size_limit_bytes = setup->size_limit_bytes;
	history->read = setup->read;
	history->context = setup->context;
	return 0;
}

int history_open(const struct history_setup *setup, struct history **ret_history,
		 struct fault *fault)
{
	struct history *history = calloc(1, sizeof(*history));
	int error;

	if (!history)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "the history %s: out of memory",
				 setup->folder);
	os_mutex_init(&history->merge_lock);
	os_mutex_init(&history->change_lock);
	os_mutex_init(&history->append_lock);
	os_mutex_init(&history->lock);
	os_cond_init(&history->changed);
	history->part_blocks = HISTORY_PART_BLOCKS;
	history->points_max = HISTORY_POINTS_MAX;
	history->lock_fd = history->log_fd = history->part.fd = -1;
	error = take_setup(history, setup, fault);
	if (!error)
		error = lock_folder(setup->folder, &history->lock_fd, fault);
	if (!error) {
		snprintf(history->folder, sizeof(history->folder), "%s", setup->folder);
		error = load(history, fault);
	}
	if (error) {
		history_close(history);
		return error;
	}
	*ret_history = history;
	return 0;
}

void history_close(struct history *history)
{
	if (!history)
		return;
	for (unsigned int i = 0; i < history->file_count; i++)
		history_file_put(history, history->files[i]);
	free(history->files);
	history_part_fini(&history->part);
	while (history->workers) {
		struct history_worker *worker = history->workers;

		history->workers = worker->next;
		compressor_free(worker->compressor);
		free(worker);
	}
	if (history->log_fd >= 0)
		close(history->log_fd);
	if (history->lock_fd >= 0)
		close(history->lock_fd);
	free(history->marks);
	os_cond_fini(&history->changed);
	os_mutex_fini(&history->lock);
	os_mutex_fini(&history->append_lock);
	os_mutex_fini(&history->change_lock);
	os_mutex_fini(&history->merge_lock);
	free(history);
}
