// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Before an overwrite: old contents -> undo record durable -> readers' bits -> return.
 *
 * The blocks are looked at in windows. Those without a record get a claim; then, without a lock, they are
 * read and packed; then appended, and the claims become positions. Blocks that somebody else has claimed are
 * waited for. One sync at the end covers all, also records of others that were found but not durable.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "receiver/history_internal.h"
#include "receiver/history_record.h"

/* Where a call is in its extents. */
struct cursor {
	const struct history_extent *extents;
	unsigned int count, at;
	uint64_t block; /* next in extents[at]; counted from its first */
};

/* What has to be durable before the call returns. */
struct need {
	uint64_t serial, end;
};

static struct history_worker *worker_get(struct history *history)
{
	struct history_worker *worker;

	os_mutex_lock(&history->lock);
	worker = history->workers;
	if (worker)
		history->workers = worker->next;
	os_mutex_unlock(&history->lock);
	if (worker)
		return worker;
	worker = malloc(sizeof(*worker));
	if (!worker)
		return NULL;
	worker->compressor = compressor_new(COMPRESS_LZ4);
	if (!worker->compressor) {
		free(worker);
		return NULL;
	}
	return worker;
}

static void worker_put(struct history *history, struct history_worker *worker)
{
	os_mutex_lock(&history->lock);
	worker->next = history->workers;
	history->workers = worker;
	os_mutex_unlock(&history->lock);
}

static int check_extents(const struct history *history, const struct history_extent *extents,
			 unsigned int count, struct fault *fault)
{
	for (unsigned int i = 0; i < count; i++) {
		const struct history_extent *extent = &extents[i];

		if (extent->disk >= history->disks || extent->length == 0 ||
		    extent->offset >= history->disk_bytes[extent->disk] ||
		    extent->length > history->disk_bytes[extent->disk] - extent->offset)
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "a range outside disk %u was to be protected",
					 extent->disk);
	}
	return 0;
}

/* The next blocks, up to a window. */
static unsigned int next_keys(struct cursor *cursor, uint64_t *keys)
{
	unsigned int count = 0;

	while (count < HISTORY_WINDOW && cursor->at < cursor->count) {
		const struct history_extent *extent = &cursor->extents[cursor->at];
		uint64_t first = extent->offset / HISTORY_BLOCK_BYTES;
		uint64_t last = (extent->offset + extent->length - 1) / HISTORY_BLOCK_BYTES;

		if (first + cursor->block > last) {
			cursor->at++;
			cursor->block = 0;
			continue;
		}
		keys[count++] = HISTORY_KEY(extent->disk, first + cursor->block++);
	}
	return count;
}

/* Parts of the open interval that are closed already, for their size or by a restart. lock */
static bool is_in_closed_parts(const struct history *history, uint64_t key)
{
	for (unsigned int i = history->file_count; i-- > 0;) {
		const struct history_file *file = history->files[i];
		uint64_t at;

		if (file->first < history->interval_serial)
			return false;
		at = history_index_find(file->entries, file->count, key);
		if (at < file->count && file->entries[at].key == key)
			return true;
	}
	return false;
}

/* Claims of keys what has no record. Leaves in keys those that are to be waited for, and in worker->keys the
 * claimed ones. lock */
static int claim(struct history *history, struct history_worker *worker, uint64_t *keys,
		 unsigned int *count, unsigned int *ret_claimed, struct need *need)
{
	struct history_part *part = &history->part;
	unsigned int others = 0, claimed = 0;
	int error = 0;

	for (unsigned int i = 0; i < *count; i++) {
		struct history_index_entry *entry = history_part_find(part, keys[i]);

		if (entry && entry->position > PART_ABSENT) {
			if (entry->position >= part->durable) {
				need->serial = part->serial;
				need->end = part->end;
			}
		} else if (entry && entry->position == PART_CLAIMED) {
			keys[others++] = keys[i];
		} else if (!is_in_closed_parts(history, keys[i])) {
			error = history_part_claim(part, keys[i]);
			if (error)
				break;
			worker->keys[claimed++] = keys[i];
		}
	}
	*count = others;
	*ret_claimed = claimed;
	return error;
}

/* Reads a run of blocks; a short last block of a disk is filled up with zeroes. */
static int read_run(const struct history *history, uint64_t key, unsigned int blocks, uint8_t *data)
{
	unsigned int disk = HISTORY_KEY_DISK(key);
	uint64_t offset = HISTORY_KEY_BLOCK(key) * HISTORY_BLOCK_BYTES;
	uint64_t length = (uint64_t)blocks * HISTORY_BLOCK_BYTES;
	uint64_t inside = history->disk_bytes[disk] - offset;

	if (inside < length) {
		memset(data + inside, 0, length - inside);
		length = inside;
	}
	return history->read(history->context, disk, data, offset, (uint32_t)length);
}

static int read_old(const struct history *history, struct history_worker *worker,
		    unsigned int count)
{
	unsigned int first = 0;

	while (first < count) {
		unsigned int end = first + 1;
		int error;

		while (end < count && worker->keys[end] == worker->keys[end - 1] + 1)
			end++;
		error = read_run(history, worker->keys[first], end - first,
				 worker->data + (size_t)first * HISTORY_BLOCK_BYTES);
		if (error)
			return error;
		first = end;
	}
	return 0;
}

static size_t pack(struct history_worker *worker, uint64_t seed, uint64_t synced,
		   unsigned int count)
{
	size_t size = 0;

	for (unsigned int i = 0; i < count; i++) {
		worker->offsets[i] = (uint32_t)size;
		size += history_record_make(worker->records + size, worker->compressor, seed,
					    HISTORY_KEY_DISK(worker->keys[i]),
					    HISTORY_KEY_BLOCK(worker->keys[i]),
					    worker->data + (size_t)i * HISTORY_BLOCK_BYTES, synced);
	}
	return size;
}

/* The claims become records, or absent. lock */
static void settle(struct history *history, const struct history_worker *worker, unsigned int count,
		   uint64_t position, int error)
{
	for (unsigned int i = 0; i < count; i++) {
		struct history_index_entry *entry =
			history_part_find(&history->part, worker->keys[i]);

		entry->position = error ? PART_ABSENT : position + worker->offsets[i];
	}
	history->appends++;
	os_cond_broadcast(&history->changed);
}

/* Waits until one of them is settled. lock */
static void wait_for_others(struct history *history, const uint64_t *keys, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		const struct history_index_entry *entry =
			history_part_find(&history->part, keys[i]);

		if (!entry || entry->position != PART_CLAIMED)
			return;
	}
	os_cond_wait(&history->changed, &history->lock);
}

/* Waits until claims may be made, and counts us in. 1; 0: nothing to protect; -errno. lock, given up */
static int enter(struct history *history)
{
	for (;;) {
		while (history->is_switching)
			os_cond_wait(&history->changed, &history->lock);
		if (history->broken)
			return history->broken;
		if (history->mark_count == 0)
			return 0;
		if (history->part.count < history->part_blocks) {
			history->active++;
			return 1;
		}
		os_mutex_unlock(&history->lock);
		int error = history_part_switch(history);
		os_mutex_lock(&history->lock);
		if (error)
			return error;
	}
}

/* One window. 1: all have records; 0: nothing to protect. */
static int protect_window(struct history *history, struct history_worker *worker, uint64_t *keys,
			  unsigned int count, struct need *need)
{
	int entered = 1, error = 0;

	os_mutex_lock(&history->lock);
	while (!error && count > 0 && (entered = enter(history)) > 0) {
		uint64_t seed = history->id + history->part.serial, position = 0;
		uint64_t synced = history->part.durable;
		unsigned int claimed;

		error = claim(history, worker, keys, &count, &claimed, need);
		if (claimed > 0) {
			os_mutex_unlock(&history->lock);
			if (!error)
				error = read_old(history, worker, claimed);
			if (!error)
				error = history_part_append(history, worker->records,
							    pack(worker, seed, synced, claimed),
							    &position);
			os_mutex_lock(&history->lock);
			settle(history, worker, claimed, position, error);
			need->serial = history->part.serial;
			need->end = history->part.end;
		}
		if (--history->active == 0)
			os_cond_broadcast(&history->changed);
		if (!error && count > 0)
			wait_for_others(history, keys, count);
	}
	os_mutex_unlock(&history->lock);
	return error ? error : entered;
}

static int set_failed(const struct history *history, int error, struct fault *fault)
{
	if (error == -ENOSPC)
		return fault_set(fault, FAULT_RETRY, ENOSPC,
				 "no space for the history %s: make room there", history->folder);
	return fault_set(fault, FAULT_RETRY, -error,
			 "old contents cannot be kept in the history %s: %s", history->folder,
			 strerror(-error));
}

int history_protect(struct history *history, const struct history_extent *extents,
		    unsigned int count, struct fault *fault)
{
	struct cursor cursor = {.extents = extents, .count = count};
	struct history_worker *worker;
	struct need need = {0};
	uint64_t keys[HISTORY_WINDOW];
	unsigned int found;
	int result = check_extents(history, extents, count, fault);

	if (result)
		return result;
	worker = worker_get(history);
	if (!worker)
		return set_failed(history, -ENOMEM, fault);
	do {
		found = next_keys(&cursor, keys);
		result = protect_window(history, worker, keys, found, &need);
	} while (result > 0 && found > 0);
	worker_put(history, worker);
	if (result >= 0 && need.end > 0) {
		int error = history_part_sync(history, need.serial, need.end);

		result = error ? error : result;
	}
	if (result < 0)
		return set_failed(history, result, fault);
	/* Also for blocks that had records: who made them may not have come so far. */
	os_mutex_lock(&history->lock);
	history_readers_note(history, extents, count);
	os_mutex_unlock(&history->lock);
	return 0;
}
