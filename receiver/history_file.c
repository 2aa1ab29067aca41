// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Closed undo files and their indexes. An index is only there to save reading the whole undo file: what is
 * not valid in it, or not there, is made again. It is mapped, so that its memory is the page cache's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "common/log.h"
#include "common/os_io.h"
#include "receiver/history_internal.h"
#include "receiver/history_record.h"

#define FILE_MODE   0600
#define SCAN_BYTES  (1024u * 1024)
#define END_BYTES   HISTORY_RECORD_BYTES(0)
#define ENTRY_BYTES sizeof(struct history_index_entry)

void history_undo_path(const struct history *history, uint64_t first, uint64_t last,
		       char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/undo-%016llx-%016llx", history->folder,
		 (unsigned long long)first, (unsigned long long)last);
}

static void index_path(const struct history *history, uint64_t first, uint64_t last,
		       char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/index-%016llx-%016llx", history->folder,
		 (unsigned long long)first, (unsigned long long)last);
}

void history_file_unlink(const struct history *history, uint64_t first, uint64_t last)
{
	char path[PATH_MAX];

	history_undo_path(history, first, last, path);
	unlink(path);
	index_path(history, first, last, path);
	unlink(path);
}

int history_file_fd(const struct history *history, uint64_t first, uint64_t last)
{
	char path[PATH_MAX];
	int fd;

	history_undo_path(history, first, last, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int history_record_load(int fd, uint64_t seed, uint64_t position, uint64_t key,
			uint8_t record[HISTORY_RECORD_MAX])
{
	const struct history_record *head = (const struct history_record *)record;
	int64_t got = os_pread_up_to(fd, record, HISTORY_RECORD_MAX, position);

	if (got < 0)
		return (int)got;
	if (history_record_check(record, (size_t)got, seed) == 0 || head->codec == HISTORY_END ||
	    HISTORY_KEY(head->disk, head->block) != key)
		return -EBADMSG;
	return 0;
}

int history_entries_compare(const void *left, const void *right)
{
	const struct history_index_entry *a = left, *b = right;

	return (a->key > b->key) - (a->key < b->key);
}

static struct history_file *file_make(uint64_t first, uint64_t last)
{
	struct history_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->refs = 1;
	file->first = first;
	file->last = last;
	return file;
}

void history_file_put(struct history *history, struct history_file *file)
{
	bool is_last;

	if (!file)
		return;
	os_mutex_lock(&history->lock);
	is_last = --file->refs == 0;
	os_mutex_unlock(&history->lock);
	if (!is_last)
		return;
	if (file->map)
		munmap(file->map, file->map_bytes);
	else
		free((void *)(uintptr_t)file->entries);
	free(file);
}

/* Maps the index if it is there and fits the undo file. */
static bool map_index(const struct history *history, struct history_file *file, uint64_t undo_bytes)
{
	const struct history_index *index;
	char path[PATH_MAX];
	struct stat status;
	void *map = MAP_FAILED;
	int fd;

	index_path(history, file->first, file->last, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (fstat(fd, &status) == 0 && (uint64_t)status.st_size >= sizeof(*index))
		map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return false;
	index = map;
	if (!history_index_is_valid(index, history->id, file->first, file->last,
				    (uint64_t)status.st_size) ||
	    index->undo_bytes != undo_bytes ||
	    !history_index_entries_are_valid(index,
					     (const struct history_index_entry *)(index + 1))) {
		munmap(map, (size_t)status.st_size);
		return false;
	}
	file->map = map;
	file->map_bytes = (size_t)status.st_size;
	file->count = index->count;
	file->entries = (const struct history_index_entry *)(index + 1);
	file->bytes = undo_bytes + file->map_bytes;
	return true;
}

static int write_index(const struct history *history, const struct history_file *file,
		       uint64_t undo_bytes)
{
	size_t size = file->count * ENTRY_BYTES;
	struct history_index index;
	char path[PATH_MAX];
	int fd, error;

	history_index_make(&index, history->id, file->first, file->last, file->count, undo_bytes,
			   XXH3_64bits_withSeed(file->entries, size, history->id + file->first));
	index_path(history, file->first, file->last, path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
	if (fd < 0)
		return -errno;
	error = os_pwrite_all(fd, &index, sizeof(index), 0);
	if (!error)
		error = os_pwrite_all(fd, file->entries, size, sizeof(index));
	close(fd);
	if (error)
		unlink(path);
	return error;
}

struct history_file *history_file_new(struct history *history, uint64_t first, uint64_t last,
				      uint64_t undo_bytes, struct history_index_entry *entries,
				      uint64_t count)
{
	struct history_file *file = file_make(first, last);

	if (!file) {
		free(entries);
		return NULL;
	}
	file->entries = entries;
	file->count = count;
	file->bytes = undo_bytes;
	/* Without an index on disk, for example for want of room, the one in memory stays. */
	if (write_index(history, file, undo_bytes) == 0 && map_index(history, file, undo_bytes))
		free(entries);
	return file;
}

int history_file_add(struct history *history, struct history_file *file)
{
	if (history->file_count == history->file_room) {
		unsigned int room = history->file_room ? history->file_room * 2 : 64;
		struct history_file **grown =
			reallocarray(history->files, room, sizeof(struct history_file *));

		if (!grown)
			return -ENOMEM;
		history->files = grown;
		history->file_room = room;
	}
	history->files[history->file_count++] = file;
	return 0;
}

unsigned int history_file_from(const struct history *history, uint64_t serial)
{
	unsigned int low = 0, high = history->file_count;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (history->files[middle]->first < serial)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Reading an undo file from its beginning. */
struct scan {
	int fd;
	uint64_t seed, position; /* of the record that is next */
	uint8_t *buffer;	 /* SCAN_BYTES */
	uint64_t buffer_position;
	size_t buffer_bytes;
};

/* The record at position: its size, 0 when it is not valid, or -errno. */
static int64_t scan_record(struct scan *scan, const struct history_record **ret_record)
{
	uint64_t at = scan->position - scan->buffer_position;
	size_t whole;

	if (at + HISTORY_RECORD_MAX > scan->buffer_bytes) {
		int64_t got = os_pread_up_to(scan->fd, scan->buffer, SCAN_BYTES, scan->position);

		if (got < 0)
			return got;
		scan->buffer_position = scan->position;
		scan->buffer_bytes = (size_t)got;
		at = 0;
	}
	whole = history_record_check(scan->buffer + at, scan->buffer_bytes - at, scan->seed);
	*ret_record = (const struct history_record *)(scan->buffer + at);
	return (int64_t)whole;
}

/* Does anything behind an invalid record say that it had been durable? */
static int was_durable(struct scan *scan)
{
	uint64_t position = scan->position;

	for (;;) {
		int64_t got = os_pread_up_to(scan->fd, scan->buffer, SCAN_BYTES, position);

		if (got < 0)
			return (int)got;
		if (history_bytes_vouch_for(scan->buffer, (size_t)got, scan->seed, scan->position))
			return 1;
		if ((size_t)got < SCAN_BYTES)
			return 0;
		position +=
			SCAN_BYTES - HISTORY_RECORD_MAX; /* a record may lie across the border */
	}
}

struct entry_list {
	struct history_index_entry *entries;
	uint64_t count, room;
};

static int list_add(struct entry_list *list, uint64_t key, uint64_t position)
{
	if (list->count == list->room) {
		uint64_t room = list->room ? list->room * 2 : 1024;
		void *grown = reallocarray(list->entries, room, ENTRY_BYTES);

		if (!grown)
			return -ENOMEM;
		list->entries = grown;
		list->room = room;
	}
	list->entries[list->count++] = (struct history_index_entry){key, position};
	return 0;
}

/* Cuts what is behind the last valid record, and ends the file. */
static int end_file(const struct history *history, struct scan *scan, uint64_t count)
{
	uint8_t end[END_BYTES];
	struct stat status;
	int error;

	if (fstat(scan->fd, &status) < 0)
		return -errno;
	if ((uint64_t)status.st_size > scan->position)
		log_warning("the history %s: cutting off %llu bytes of undo records that were "
			    "being written when this machine stopped",
			    history->folder,
			    (unsigned long long)((uint64_t)status.st_size - scan->position));
	if (ftruncate(scan->fd, (off_t)scan->position) < 0)
		return -errno;
	error = os_pwrite_all(scan->fd, end, history_record_make_end(end, scan->seed, count),
			      scan->position);
	if (!error && fsync(scan->fd) < 0)
		error = -errno;
	scan->position += END_BYTES;
	return error;
}

/* Reads all records. Returns 0 with the list, unsorted, and position behind END. */
static int scan_file(const struct history *history, struct scan *scan, bool is_newest,
		     struct entry_list *list)
{
	const struct history_record *record;
	int error = 0;

	while (!error) {
		int64_t whole = scan_record(scan, &record);

		if (whole < 0)
			return (int)whole;
		if (whole == 0) {
			int durable = is_newest ? was_durable(scan) : 1;

			if (durable != 0)
				return durable < 0 ? durable : -EBADMSG;
			return end_file(history, scan, list->count);
		}
		if (record->codec == HISTORY_END) {
			scan->position += END_BYTES;
			return record->block == list->count ? 0 : -EBADMSG;
		}
		error = list_add(list, HISTORY_KEY(record->disk, record->block), scan->position);
		scan->position += (uint64_t)whole;
	}
	return error;
}

/* Is the file closed by a valid END, with nothing behind? */
static bool has_end(int fd, uint64_t size, uint64_t seed)
{
	uint8_t end[END_BYTES];

	return size >= sizeof(struct history_undo) + END_BYTES &&
	       os_pread_up_to(fd, end, sizeof(end), size - END_BYTES) == (int64_t)sizeof(end) &&
	       history_record_check(end, sizeof(end), seed) == END_BYTES &&
	       ((struct history_record *)end)->codec == HISTORY_END;
}

static int rebuild(struct history *history, struct scan *scan, bool is_newest,
		   struct history_file *file, struct history_file **ret_file)
{
	struct entry_list list = {0};
	int error;

	scan->buffer = malloc(SCAN_BYTES);
	if (!scan->buffer)
		return -ENOMEM;
	error = scan_file(history, scan, is_newest, &list);
	free(scan->buffer);
	if (!error && list.count > 0)
		qsort(list.entries, list.count, ENTRY_BYTES, history_entries_compare);
	for (uint64_t i = 1; !error && i < list.count; i++)
		if (list.entries[i].key == list.entries[i - 1].key)
			error = -EBADMSG;
	if (error || list.count == 0) {
		free(list.entries);
		if (!error)
			history_file_unlink(history, file->first, file->last);
		return error;
	}
	*ret_file = history_file_new(history, file->first, file->last, scan->position, list.entries,
				     list.count);
	return *ret_file ? 0 : -ENOMEM;
}

/* The head of a newest file may be torn as well. */
static int check_head(const struct history *history, struct scan *scan,
		      const struct history_file *file, bool is_newest)
{
	struct history_undo head;
	int64_t got = os_pread_up_to(scan->fd, &head, sizeof(head), 0);

	if (got < 0)
		return (int)got;
	if (got == sizeof(head) && history_undo_is_valid(&head, history->id) &&
	    head.first == file->first && head.last == file->last)
		return 1;
	if (!is_newest)
		return -EBADMSG;
	scan->buffer = malloc(SCAN_BYTES);
	if (!scan->buffer)
		return -ENOMEM;
	scan->position = 0;
	got = was_durable(scan);
	free(scan->buffer);
	return got == 0 ? 0 : got < 0 ? (int)got : -EBADMSG;
}

int history_file_open(struct history *history, uint64_t first, uint64_t last, bool is_newest,
		      struct history_file **ret_file)
{
	struct scan scan = {.seed = history->id + first, .position = sizeof(struct history_undo)};
	struct history_file *file = file_make(first, last);
	char path[PATH_MAX];
	struct stat status;
	int error = 0;

	*ret_file = NULL;
	if (!file)
		return -ENOMEM;
	history_undo_path(history, first, last, path);
	scan.fd = open(path, O_RDWR | O_CLOEXEC);
	if (scan.fd < 0 || fstat(scan.fd, &status) < 0)
		error = -errno;
	/* The page cache may have what a failed sync never brought to the disk. */
	if (!error && is_newest &&
	    (fsync(scan.fd) < 0 || posix_fadvise(scan.fd, 0, 0, POSIX_FADV_DONTNEED) != 0))
		error = -EIO;
	if (!error)
		error = check_head(history, &scan, file, is_newest);
	if (error == 0 && scan.fd >= 0)
		history_file_unlink(history, first, last);
	if (error > 0) {
		error = 0;
		if (has_end(scan.fd, (uint64_t)status.st_size, scan.seed) &&
		    map_index(history, file, (uint64_t)status.st_size)) {
			*ret_file = file;
			file = NULL;
		} else {
			error = rebuild(history, &scan, is_newest, file, ret_file);
		}
	}
	if (scan.fd >= 0)
		close(scan.fd);
	free(file);
	return error;
}
