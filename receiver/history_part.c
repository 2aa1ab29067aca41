// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The part: the undo file that is being written. It is made with its first record; its name is made
 * durable with the first sync. Claims are entries without a position: who adds one reads the old contents
 * and appends them, everybody else who wants that block waits for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/os_file.h"
#include "common/os_io.h"
#include "receiver/history_internal.h"
#include "receiver/history_record.h"

#define FILE_MODE   0600
#define SLOTS_LEAST 1024u

void history_part_init(struct history_part *part, uint64_t serial)
{
	*part = (struct history_part){.serial = serial, .fd = -1};
}

void history_part_fini(struct history_part *part)
{
	if (part->fd >= 0)
		close(part->fd);
	free(part->entries);
	free(part->slots);
}

static uint32_t slot_of(const struct history_part *part, uint64_t key)
{
	return (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 32) & part->slot_mask;
}

struct history_index_entry *history_part_find(const struct history_part *part, uint64_t key)
{
	if (!part->slots)
		return NULL;
	for (uint32_t slot = slot_of(part, key);; slot = (slot + 1) & part->slot_mask) {
		uint32_t entry = part->slots[slot];

		if (entry == 0)
			return NULL;
		if (part->entries[entry - 1].key == key)
			return &part->entries[entry - 1];
	}
}

static void put_slot(struct history_part *part, uint64_t key, uint32_t entry)
{
	uint32_t slot = slot_of(part, key);

	while (part->slots[slot] != 0)
		slot = (slot + 1) & part->slot_mask;
	part->slots[slot] = entry + 1;
}

/* Twice the room; slots are at most half full. */
static int grow(struct history_part *part)
{
	uint32_t room = part->room ? part->room * 2 : SLOTS_LEAST / 2;
	struct history_index_entry *entries =
		reallocarray(part->entries, room, sizeof(*part->entries));
	uint32_t *slots;

	if (!entries)
		return -ENOMEM;
	part->entries = entries;
	slots = calloc((size_t)room * 2, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(part->slots);
	part->slots = slots;
	part->room = room;
	part->slot_mask = room * 2 - 1;
	for (uint32_t i = 0; i < part->count; i++)
		put_slot(part, part->entries[i].key, i);
	return 0;
}

int history_part_claim(struct history_part *part, uint64_t key)
{
	struct history_index_entry *entry = history_part_find(part, key);

	if (entry) {
		entry->position = PART_CLAIMED;
		return 0;
	}
	if (part->count == part->room) {
		int error = grow(part);

		if (error)
			return error;
	}
	part->entries[part->count] = (struct history_index_entry){key, PART_CLAIMED};
	put_slot(part, key, part->count++);
	return 0;
}

/* Nobody knows what the file has, or it has its END: nothing can be appended any more. */
static void set_broken(struct history *history, int error)
{
	os_mutex_lock(&history->lock);
	history->broken = error;
	os_mutex_unlock(&history->lock);
}

static int make_file(struct history *history)
{
	struct history_part *part = &history->part;
	struct history_undo head;
	char path[PATH_MAX];
	int fd, error;

	history_undo_path(history, part->serial, part->serial, path);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
	if (fd < 0)
		return -errno;
	history_undo_make(&head, history->id, part->serial, part->serial);
	error = os_pwrite_all(fd, &head, sizeof(head), 0);
	if (error) {
		unlink(path);
		close(fd);
		return error;
	}
	os_mutex_lock(&history->lock);
	part->fd = fd;
	part->end = sizeof(head);
	os_mutex_unlock(&history->lock);
	return 0;
}

static int append(struct history *history, const void *records, size_t size, uint64_t *ret_position)
{
	struct history_part *part = &history->part;
	int error = part->fd < 0 ? make_file(history) : 0;

	if (error)
		return error;
	error = os_pwrite_all(part->fd, records, size, part->end);
	if (error) {
		/* Nothing may lie behind the end: the next record goes there. */
		if (ftruncate(part->fd, (off_t)part->end) < 0)
			set_broken(history, -errno);
		return error;
	}
	*ret_position = part->end;
	os_mutex_lock(&history->lock);
	part->end += size;
	os_mutex_unlock(&history->lock);
	return 0;
}

int history_part_append(struct history *history, const void *records, size_t size,
			uint64_t *ret_position)
{
	int error;

	os_mutex_lock(&history->append_lock);
	error = append(history, records, size, ret_position);
	os_mutex_unlock(&history->append_lock);
	if (error == -EDQUOT || error == -EFBIG)
		error = -ENOSPC;
	return error;
}

/* One sync for all that wait. With lock held, which it gives up meanwhile. */
static void sync_once(struct history *history)
{
	struct history_part *part = &history->part;
	uint64_t end = part->end;
	bool is_named = part->is_named;
	int fd = part->fd, error = 0;

	part->is_syncing = true;
	os_mutex_unlock(&history->lock);
	if (fdatasync(fd) < 0)
		error = -errno;
	if (!error && !is_named)
		error = os_folder_sync(history->folder);
	os_mutex_lock(&history->lock);
	part->is_syncing = false;
	if (error) {
		history->broken = error;
	} else {
		part->durable = end;
		part->is_named = true;
	}
	os_cond_broadcast(&history->changed);
}

int history_part_sync(struct history *history, uint64_t serial, uint64_t end)
{
	struct history_part *part = &history->part;
	int error;

	os_mutex_lock(&history->lock);
	while (!history->broken && part->serial == serial && part->durable < end) {
		if (part->is_syncing || history->is_switching)
			os_cond_wait(&history->changed, &history->lock);
		else
			sync_once(history);
	}
	error = history->broken;
	os_mutex_unlock(&history->lock);
	return error;
}

/* The closed file of the part. Nobody writes to it any more. */
static int close_file(struct history *history, struct history_file **ret_file)
{
	struct history_part *part = &history->part;
	struct history_index_entry *sorted;
	uint8_t end[HISTORY_RECORD_BYTES(0)];
	uint64_t position, count = 0;
	size_t size;
	int error;

	sorted = malloc(part->count * sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (uint32_t i = 0; i < part->count; i++)
		if (part->entries[i].position != PART_ABSENT)
			sorted[count++] = part->entries[i];
	size = history_record_make_end(end, history->id + part->serial, count);
	error = history_part_append(history, end, size, &position);
	if (!error) {
		os_mutex_lock(&history->lock);
		sync_once(history);
		error = history->broken;
		os_mutex_unlock(&history->lock);
	}
	if (error) {
		free(sorted);
		return error;
	}
	qsort(sorted, count, sizeof(*sorted), history_entries_compare);
	*ret_file = history_file_new(history, part->serial, part->serial, part->end, sorted, count);
	if (!*ret_file)
		set_broken(history, -ENOMEM);
	return *ret_file ? 0 : -ENOMEM;
}

/* Keeps everybody from the part until end_switch. lock, which it gives up while it waits */
static void begin_switch(struct history *history)
{
	while (history->is_switching)
		os_cond_wait(&history->changed, &history->lock);
	history->is_switching = true;
	while (history->active > 0 || history->part.is_syncing)
		os_cond_wait(&history->changed, &history->lock);
}

/* lock */
static void end_switch(struct history *history)
{
	history->is_switching = false;
	os_cond_broadcast(&history->changed);
}

/* lock */
static void begin_part(struct history *history, uint64_t serial)
{
	history_part_fini(&history->part);
	history_part_init(&history->part, serial);
}

int history_part_switch(struct history *history)
{
	struct history_part *part = &history->part;
	struct history_file *file = NULL;
	int error;

	os_mutex_lock(&history->lock);
	begin_switch(history);
	error = history->broken;
	os_mutex_unlock(&history->lock);
	if (!error && part->fd >= 0)
		error = close_file(history, &file);
	os_mutex_lock(&history->lock);
	if (file) {
		error = history_file_add(history, file);
		if (error) {
			history->broken = error; /* it has its END */
		} else {
			begin_part(history, part->serial + 1);
			file = NULL;
		}
	}
	end_switch(history);
	os_mutex_unlock(&history->lock);
	history_file_put(history, file);
	return error;
}

void history_part_discard(struct history *history)
{
	struct history_part *part = &history->part;
	uint64_t serial;
	bool is_there;

	os_mutex_lock(&history->lock);
	begin_switch(history);
	is_there = part->fd >= 0;
	serial = part->serial;
	os_mutex_unlock(&history->lock);
	if (is_there)
		history_file_unlink(history, serial, serial);
	os_mutex_lock(&history->lock);
	begin_part(history, is_there ? serial + 1 : serial);
	history->broken = 0;
	end_switch(history);
	os_mutex_unlock(&history->lock);
}
