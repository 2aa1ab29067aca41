// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading a checkpoint while the targets go on.
 *
 * A block without an undo record is read from the target, and then looked up again: if there is still
 * none, the target's block had not been overwritten (a record is there before that). Bits in the map work the
 * same way for a process that reads the target itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "receiver/history_internal.h"
#include "receiver/history_record.h"

#define FILE_MODE   0600
#define PAGE_BYTES  4096u
#define MISSING_MAX 1000u /* looks at a file that is not there, until it is damage */

struct history_reader {
	struct history *history;
	struct history_reader *next;
	uint64_t number, serial;
	size_t map_bytes;
	uint8_t *map;
	struct bitmap bits[HISTORY_DISKS_MAX]; /* in map */
};

/* Where a block's old contents are. */
struct place {
	uint64_t position; /* 0: none */
	uint64_t first, last;
};

/* One read's view: the files from the checkpoint on, referenced. */
struct view {
	struct history_file **files;
	unsigned int count;
	uint64_t part_serial, appends;
};

static uint64_t blocks_of(uint64_t bytes)
{
	return bytes / HISTORY_BLOCK_BYTES + (bytes % HISTORY_BLOCK_BYTES != 0);
}

void history_readers_note(struct history *history, const struct history_extent *extents,
			  unsigned int count)
{
	for (struct history_reader *reader = history->readers; reader; reader = reader->next)
		for (unsigned int i = 0; i < count; i++) {
			uint64_t first = extents[i].offset / HISTORY_BLOCK_BYTES;
			uint64_t end = blocks_of(extents[i].offset + extents[i].length);

			bitmap_set(&reader->bits[extents[i].disk], first, end - first);
		}
}

/* The map's memory: a file, all of it allocated (a hole would kill us when the disk is full), or our own. */
static int make_map(struct history_reader *reader, const char *path)
{
	const struct history *history = reader->history;
	void *map = MAP_FAILED;
	int fd, error = 0;
	size_t at = 0;

	for (unsigned int i = 0; i < history->disks; i++) {
		size_t bytes = bitmap_words(blocks_of(history->disk_bytes[i])) * sizeof(uint64_t);

		reader->map_bytes += (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	}
	if (reader->map_bytes == 0)
		return -EINVAL;
	if (!path) {
		map = mmap(NULL, reader->map_bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	} else {
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
		if (fd < 0)
			return -errno;
		error = -posix_fallocate(fd, 0, (off_t)reader->map_bytes);
		if (!error)
			map = mmap(NULL, reader->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				   0);
		close(fd);
	}
	if (map == MAP_FAILED)
		return error ? error : -errno;
	reader->map = map;
	for (unsigned int i = 0; i < history->disks; i++) {
		uint64_t blocks = blocks_of(history->disk_bytes[i]);
		size_t bytes = bitmap_words(blocks) * sizeof(uint64_t);

		reader->bits[i] = (struct bitmap){(uint64_t *)(reader->map + at), blocks};
		at += (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	}
	return 0;
}

static void set_bit(struct history_reader *reader, uint64_t key)
{
	unsigned int disk = HISTORY_KEY_DISK(key);

	if (disk < reader->history->disks && HISTORY_KEY_BLOCK(key) < reader->bits[disk].bits)
		bitmap_set(&reader->bits[disk], HISTORY_KEY_BLOCK(key), 1);
}

/* The files that the checkpoint needs, and where the part is. */
static int take_view(struct history_reader *reader, struct view *view)
{
	struct history *history = reader->history;
	int error = 0;

	os_mutex_lock(&history->lock);
	view->part_serial = history->part.serial;
	view->appends = history->appends;
	view->count = 0;
	view->files = malloc((history->file_count + 1) * sizeof(struct history_file *));
	if (!view->files)
		error = -ENOMEM;
	else if (!history_mark_find(history, reader->number))
		error = -ESTALE;
	for (unsigned int i = 0; !error && i < history->file_count; i++)
		if (history->files[i]->last >= reader->serial) {
			history->files[i]->refs++;
			view->files[view->count++] = history->files[i];
		}
	os_mutex_unlock(&history->lock);
	return error;
}

static void drop_view(struct history_reader *reader, struct view *view)
{
	for (unsigned int i = 0; i < view->count; i++)
		history_file_put(reader->history, view->files[i]);
	free(view->files);
}

/* What there is from before; protect sets what comes. */
static int fill_map(struct history_reader *reader)
{
	struct history *history = reader->history;
	struct view view;
	int error;

	os_mutex_lock(&history->lock);
	for (uint32_t i = 0; i < history->part.count; i++)
		if (history->part.entries[i].position > PART_ABSENT)
			set_bit(reader, history->part.entries[i].key);
	os_mutex_unlock(&history->lock);
	error = take_view(reader, &view);
	for (unsigned int i = 0; !error && i < view.count; i++)
		for (uint64_t at = 0; at < view.files[i]->count; at++)
			set_bit(reader, view.files[i]->entries[at].key);
	drop_view(reader, &view);
	return error;
}

static int pin(struct history_reader *reader)
{
	struct history *history = reader->history;
	struct history_mark *mark;

	os_mutex_lock(&history->change_lock);
	os_mutex_lock(&history->lock);
	mark = history_mark_find(history, reader->number);
	if (mark && (mark->flags & HISTORY_CONFIRMED)) {
		mark->readers++;
		reader->serial = mark->serial;
		reader->next = history->readers;
		history->readers = reader;
	} else {
		mark = NULL;
	}
	os_mutex_unlock(&history->lock);
	os_mutex_unlock(&history->change_lock);
	return mark ? 0 : -ENOENT;
}

int history_reader_open(struct history *history, uint64_t number, const char *map_path,
			struct history_reader **ret_reader, struct fault *fault)
{
	struct history_reader *reader = calloc(1, sizeof(*reader));
	int error;

	if (!reader)
		return history_failed(history, -ENOMEM, fault);
	reader->history = history;
	reader->number = number;
	error = make_map(reader, map_path);
	if (!error)
		error = pin(reader);
	if (error) {
		if (reader->map)
			munmap(reader->map, reader->map_bytes);
		free(reader);
		if (error == -ENOENT)
			return fault_set(fault, FAULT_STOP, ENOENT, "there is no checkpoint #%llu",
					 (unsigned long long)number);
		return history_failed(history, error, fault);
	}
	error = fill_map(reader);
	if (error) {
		history_reader_close(reader);
		return history_failed(history, error, fault);
	}
	*ret_reader = reader;
	return 0;
}

void history_reader_close(struct history_reader *reader)
{
	struct history_reader **at;
	struct history_mark *mark;
	struct history *history;

	if (!reader)
		return;
	history = reader->history;
	os_mutex_lock(&history->change_lock);
	os_mutex_lock(&history->lock);
	for (at = &history->readers; *at != reader; at = &(*at)->next)
		;
	*at = reader->next;
	mark = history_mark_find(history, reader->number);
	if (mark)
		mark->readers--;
	os_mutex_unlock(&history->lock);
	os_mutex_unlock(&history->change_lock);
	munmap(reader->map, reader->map_bytes);
	free(reader);
}

/* lock. Fills the places of blocks that have none yet and have a record in the part. */
static bool look_in_part(const struct history *history, uint64_t key, unsigned int count,
			 struct place *places)
{
	bool is_found = false;

	for (unsigned int i = 0; i < count; i++) {
		const struct history_index_entry *entry;

		if (places[i].position)
			continue;
		entry = history_part_find(&history->part, key + i);
		if (!entry || entry->position <= PART_ABSENT)
			continue;
		places[i] =
			(struct place){entry->position, history->part.serial, history->part.serial};
		is_found = true;
	}
	return is_found;
}

static bool look_in_file(const struct history_file *file, uint64_t key, unsigned int count,
			 struct place *places)
{
	uint64_t at = history_index_find(file->entries, file->count, key);
	bool is_found = false;

	for (; at < file->count && file->entries[at].key < key + count; at++) {
		struct place *place = &places[file->entries[at].key - key];

		if (place->position)
			continue;
		*place = (struct place){file->entries[at].position, file->first, file->last};
		is_found = true;
	}
	return is_found;
}

static int load_blocks(const struct history *history, uint64_t key, unsigned int count,
		       const struct place *places, uint8_t *data)
{
	uint8_t record[HISTORY_RECORD_MAX];
	uint64_t first = 0, last = 0;
	int fd = -1, error = 0;

	for (unsigned int i = 0; !error && i < count; i++) {
		if (!places[i].position)
			continue;
		if (fd < 0 || first != places[i].first || last != places[i].last) {
			if (fd >= 0)
				close(fd);
			first = places[i].first;
			last = places[i].last;
			fd = history_file_fd(history, first, last);
			if (fd < 0)
				return fd;
		}
		error = history_record_load(fd, history->id + first, places[i].position, key + i,
					    record);
		if (!error)
			error = history_record_restore(record,
						       data + (size_t)i * HISTORY_BLOCK_BYTES);
	}
	if (fd >= 0)
		close(fd);
	return error;
}

static int load_target(const struct history *history, uint64_t key, unsigned int count,
		       const struct place *places, uint8_t *data)
{
	unsigned int disk = HISTORY_KEY_DISK(key), first = 0;

	while (first < count) {
		uint64_t offset = (HISTORY_KEY_BLOCK(key) + first) * HISTORY_BLOCK_BYTES, length;
		unsigned int end = first;
		int error;

		while (end < count && !places[end].position)
			end++;
		if (end == first) {
			first++;
			continue;
		}
		length = (uint64_t)(end - first) * HISTORY_BLOCK_BYTES;
		if (length > history->disk_bytes[disk] - offset)
			length = history->disk_bytes[disk] - offset;
		error = history->read(history->context, disk,
				      data + (size_t)first * HISTORY_BLOCK_BYTES, offset,
				      (uint32_t)length);
		if (error)
			return error;
		first = end;
	}
	return 0;
}

/* Has any of the blocks that were read from the target got a record meanwhile? */
static bool has_changed(struct history *history, const struct view *view, uint64_t key,
			unsigned int count, struct place *places)
{
	bool is_changed = false;

	os_mutex_lock(&history->lock);
	if (history->appends != view->appends) {
		is_changed = look_in_part(history, key, count, places);
		for (unsigned int i = history->file_count;
		     i-- > 0 && history->files[i]->last >= view->part_serial;)
			is_changed = look_in_file(history->files[i], key, count, places) ||
				     is_changed;
	}
	os_mutex_unlock(&history->lock);
	return is_changed;
}

/* One look at up to a window of blocks. 1: something changed meanwhile, look again. -ENOENT: a file is not there,
 * which is so for a moment when it was merged. */
static int try_blocks(struct history_reader *reader, uint64_t key, unsigned int count,
		      uint8_t *data)
{
	struct place places[HISTORY_WINDOW] = {0};
	struct history *history = reader->history;
	struct view view;
	int error = take_view(reader, &view);

	for (unsigned int i = 0; !error && i < view.count; i++)
		look_in_file(view.files[i], key, count, places);
	if (!error) {
		os_mutex_lock(&history->lock);
		if (history->part.serial == view.part_serial)
			look_in_part(history, key, count, places);
		else
			error = 1; /* it was closed meanwhile */
		os_mutex_unlock(&history->lock);
	}
	if (!error)
		error = load_blocks(history, key, count, places, data);
	if (!error)
		error = load_target(history, key, count, places, data);
	if (!error && has_changed(history, &view, key, count, places))
		error = 1;
	drop_view(reader, &view);
	return error;
}

static int read_blocks(struct history_reader *reader, uint64_t key, unsigned int count,
		       uint8_t *data)
{
	unsigned int missing = 0;
	int error;

	do {
		error = try_blocks(reader, key, count, data);
	} while (error > 0 || (error == -ENOENT && ++missing < MISSING_MAX));
	return error == -ENOENT ? -EBADMSG : error;
}

static int read_range(struct history_reader *reader, unsigned int disk, uint8_t *data,
		      uint64_t offset, uint32_t length)
{
	uint8_t bounce[HISTORY_BLOCK_BYTES];

	while (length > 0) {
		uint64_t key = HISTORY_KEY(disk, offset / HISTORY_BLOCK_BYTES);
		uint32_t inside = offset % HISTORY_BLOCK_BYTES, part;
		int error;

		if (inside == 0 && length >= HISTORY_BLOCK_BYTES) {
			unsigned int count = length / HISTORY_BLOCK_BYTES;

			if (count > HISTORY_WINDOW)
				count = HISTORY_WINDOW;
			part = count * HISTORY_BLOCK_BYTES;
			error = read_blocks(reader, key, count, data);
		} else {
			part = HISTORY_BLOCK_BYTES - inside;
			if (part > length)
				part = length;
			error = read_blocks(reader, key, 1, bounce);
			if (!error)
				memcpy(data, bounce + inside, part);
		}
		if (error)
			return error;
		data += part;
		offset += part;
		length -= part;
	}
	return 0;
}

int history_reader_read(struct history_reader *reader, unsigned int disk, void *data,
			uint64_t offset, uint32_t length, struct fault *fault)
{
	const struct history *history = reader->history;
	int error;

	if (disk >= history->disks || offset > history->disk_bytes[disk] ||
	    length > history->disk_bytes[disk] - offset)
		return fault_set(fault, FAULT_STOP, EINVAL, "a read outside disk %u", disk);
	error = read_range(reader, disk, data, offset, length);
	if (error == -ESTALE)
		return fault_set(fault, FAULT_STOP, ESTALE, "checkpoint #%llu was dropped",
				 (unsigned long long)reader->number);
	if (error == -EBADMSG)
		return fault_set(fault, FAULT_STOP, EBADMSG,
				 "undo records of the history %s that checkpoint #%llu needs are "
				 "damaged. Check that storage; use a newer checkpoint",
				 history->folder, (unsigned long long)reader->number);
	return error ? history_failed(history, error, fault) : 0;
}

bool history_reader_next_changed(struct history_reader *reader, unsigned int disk, uint64_t *offset,
				 uint64_t *ret_length)
{
	const struct history *history = reader->history;
	uint64_t first, count, disk_bytes;

	if (disk >= history->disks)
		return false;
	disk_bytes = history->disk_bytes[disk];
	if (*offset >= disk_bytes ||
	    !bitmap_next_run(&reader->bits[disk], *offset / HISTORY_BLOCK_BYTES, UINT64_MAX, &first,
			     &count))
		return false;
	*offset = first * HISTORY_BLOCK_BYTES;
	*ret_length = count * HISTORY_BLOCK_BYTES;
	if (*ret_length > disk_bytes - *offset)
		*ret_length = disk_bytes - *offset;
	return true;
}
