// SPDX-License-Identifier: GPL-2.0-or-later
/* Making and checking the history's records; see history_record.h. No I/O, no allocation. */
#include "receiver/history_record.h"

#include <errno.h>
#include <string.h>

#include <xxhash.h>

#include "common/compress.h"
#include "common/digest.h"

#define CHECKSUM(thing, seed) XXH3_64bits_withSeed(thing, sizeof(*(thing)) - sizeof(le64), seed)

static_assert((int)HISTORY_RAW == (int)COMPRESS_RAW && (int)HISTORY_LZ4 == (int)COMPRESS_LZ4,
	      "the codecs of common/compress.h");

void history_log_make(struct history_log *log, uint64_t id)
{
	*log = (struct history_log){
		.magic = HISTORY_LOG_MAGIC,
		.version = HISTORY_VERSION,
		.history = id,
	};
	log->checksum = CHECKSUM(log, id);
}

bool history_log_is_valid(const struct history_log *log)
{
	return log->magic == HISTORY_LOG_MAGIC && log->version == HISTORY_VERSION &&
	       log->checksum == CHECKSUM(log, log->history);
}

void history_entry_seal(struct history_entry *entry, uint64_t id)
{
	entry->magic = HISTORY_ENTRY_MAGIC;
	entry->checksum = CHECKSUM(entry, id);
}

bool history_entry_is_valid(const struct history_entry *entry, uint64_t id)
{
	return entry->magic == HISTORY_ENTRY_MAGIC && entry->kind >= HISTORY_LOG_MARK &&
	       entry->kind <= HISTORY_LOG_NEWEST && entry->number > 0 &&
	       entry->serial <= UINT64_MAX / 2 && entry->label[sizeof(entry->label) - 1] == '\0' &&
	       entry->checksum == CHECKSUM(entry, id);
}

bool history_entry_is_free(const struct history_entry *entry)
{
	return digest_is_zero(entry, sizeof(*entry));
}

void history_undo_make(struct history_undo *undo, uint64_t id, uint64_t first, uint64_t last)
{
	*undo = (struct history_undo){
		.magic = HISTORY_UNDO_MAGIC,
		.version = HISTORY_VERSION,
		.history = id,
		.first = first,
		.last = last,
	};
	undo->checksum = CHECKSUM(undo, id + first);
}

bool history_undo_is_valid(const struct history_undo *undo, uint64_t id)
{
	return undo->magic == HISTORY_UNDO_MAGIC && undo->version == HISTORY_VERSION &&
	       undo->history == id && undo->first > 0 && undo->first <= undo->last &&
	       undo->checksum == CHECKSUM(undo, id + undo->first);
}

static uint64_t record_checksum(const struct history_record *record, uint64_t seed)
{
	return CHECKSUM(record, XXH3_64bits_withSeed(record + 1, record->stored_bytes, seed));
}

/* Fills the header of a record whose stored bytes lie behind it, and the zeroes behind those. */
static size_t seal(void *out, uint64_t seed, struct history_record head)
{
	struct history_record *record = out;
	size_t bytes = HISTORY_RECORD_BYTES(head.stored_bytes);

	*record = head;
	record->magic = HISTORY_RECORD_MAGIC;
	record->checksum = record_checksum(record, seed);
	memset((char *)(record + 1) + head.stored_bytes, 0,
	       bytes - sizeof(*record) - head.stored_bytes);
	return bytes;
}

size_t history_record_make(void *out, struct compressor *compressor, uint64_t seed,
			   unsigned int disk, uint64_t block, const void *data, uint64_t synced)
{
	struct history_record head = {.disk = (le16)disk, .block = block, .synced = synced};
	void *stored = (struct history_record *)out + 1;
	size_t stored_bytes = 0;

	if (digest_is_zero(data, HISTORY_BLOCK_BYTES)) {
		head.codec = HISTORY_ZERO;
	} else if (compressor_run(compressor, data, HISTORY_BLOCK_BYTES, stored,
				  HISTORY_BLOCK_BYTES, &stored_bytes) == COMPRESS_LZ4) {
		head.codec = HISTORY_LZ4;
	} else {
		head.codec = HISTORY_RAW;
		stored_bytes = HISTORY_BLOCK_BYTES;
		memcpy(stored, data, stored_bytes);
	}
	head.stored_bytes = (le32)stored_bytes;
	return seal(out, seed, head);
}

size_t history_record_make_end(void *out, uint64_t seed, uint64_t records)
{
	return seal(out, seed, (struct history_record){.codec = HISTORY_END, .block = records});
}

void history_record_move(void *record, uint64_t seed, uint64_t synced)
{
	struct history_record head;

	memcpy(&head, record, sizeof(head));
	head.synced = synced;
	seal(record, seed, head);
}

static bool header_is_possible(const struct history_record *record)
{
	uint32_t stored = record->stored_bytes;

	if (record->magic != HISTORY_RECORD_MAGIC || record->disk >= HISTORY_DISKS_MAX ||
	    record->block >= 1ull << HISTORY_BLOCK_BITS)
		return false;
	switch (record->codec) {
	case HISTORY_RAW:
		return stored == HISTORY_BLOCK_BYTES;
	case HISTORY_LZ4:
		return stored > 0 && stored < HISTORY_BLOCK_BYTES;
	case HISTORY_ZERO:
	case HISTORY_END:
		return stored == 0;
	}
	return false;
}

size_t history_record_check(const void *bytes, size_t size, uint64_t seed)
{
	const struct history_record *record = bytes;
	size_t whole;

	if (size < sizeof(*record) || !header_is_possible(record))
		return 0;
	whole = HISTORY_RECORD_BYTES(record->stored_bytes);
	if (whole > size || record->checksum != record_checksum(record, seed))
		return 0;
	return whole;
}

int history_record_restore(const void *bytes, void *data)
{
	const struct history_record *record = bytes;

	if (record->codec == HISTORY_ZERO) {
		memset(data, 0, HISTORY_BLOCK_BYTES);
		return 0;
	}
	return compress_restore((enum compress_codec)record->codec, record + 1,
				record->stored_bytes, data, HISTORY_BLOCK_BYTES);
}

bool history_bytes_vouch_for(const void *bytes, size_t size, uint64_t seed, uint64_t position)
{
	for (size_t at = 0; at + sizeof(struct history_record) <= size; at += HISTORY_ALIGN) {
		const struct history_record *record =
			(const struct history_record *)((const char *)bytes + at);

		if (record->magic == HISTORY_RECORD_MAGIC && record->synced > position &&
		    history_record_check(record, size - at, seed) > 0)
			return true;
	}
	return false;
}

void history_index_make(struct history_index *index, uint64_t id, uint64_t first, uint64_t last,
			uint64_t count, uint64_t undo_bytes, uint64_t entries_checksum)
{
	*index = (struct history_index){
		.magic = HISTORY_INDEX_MAGIC,
		.version = HISTORY_VERSION,
		.history = id,
		.first = first,
		.last = last,
		.count = count,
		.undo_bytes = undo_bytes,
		.entries = entries_checksum,
	};
	index->checksum = CHECKSUM(index, id + first);
}

bool history_index_is_valid(const struct history_index *index, uint64_t id, uint64_t first,
			    uint64_t last, uint64_t file_bytes)
{
	return index->magic == HISTORY_INDEX_MAGIC && index->version == HISTORY_VERSION &&
	       index->history == id && index->first == first && index->last == last &&
	       index->undo_bytes <= HISTORY_FILE_MAX &&
	       index->count <= index->undo_bytes / sizeof(struct history_record) &&
	       file_bytes == sizeof(*index) + index->count * sizeof(struct history_index_entry) &&
	       index->checksum == CHECKSUM(index, id + first);
}

bool history_index_entries_are_valid(const struct history_index *index,
				     const struct history_index_entry *entries)
{
	uint64_t seed = index->history + index->first;

	if (index->entries != XXH3_64bits_withSeed(entries, index->count * sizeof(*entries), seed))
		return false;
	for (uint64_t i = 0; i < index->count; i++)
		if ((i > 0 && entries[i].key <= entries[i - 1].key) ||
		    HISTORY_KEY_DISK(entries[i].key) >= HISTORY_DISKS_MAX ||
		    entries[i].position < sizeof(struct history_undo) ||
		    entries[i].position >= index->undo_bytes)
			return false;
	return true;
}

uint64_t history_index_find(const struct history_index_entry *entries, uint64_t count, uint64_t key)
{
	uint64_t low = 0, high = count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (entries[middle].key < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
