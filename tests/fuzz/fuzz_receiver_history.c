// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any bytes as an undo file, an index, and the points, walked as opening does. Random bytes never have the
 * right checksums: the first byte says which are set right before the check, and what the rest is.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "receiver/history_record.h"

#define ID     0x0123456789abcdefull
#define SEALED 1u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static uint8_t data[HISTORY_BLOCK_BYTES];

/* As history_record.c does it. */
static void seal(uint8_t *bytes, size_t size)
{
	struct history_record *record = (struct history_record *)bytes;
	uint64_t stored;

	if (size < sizeof(*record) || record->stored_bytes > size - sizeof(*record))
		return;
	stored = XXH3_64bits_withSeed(record + 1, record->stored_bytes, ID);
	record->checksum = XXH3_64bits_withSeed(record, sizeof(*record) - sizeof(le64), stored);
}

static void walk_records(const uint8_t *bytes, size_t size, bool is_sealed)
{
	uint8_t *copy = malloc(size ? size : 1); /* exactly as long */
	size_t at = 0;

	if (!copy)
		return;
	memcpy(copy, bytes, size);
	while (at < size) {
		const struct history_record *record = (struct history_record *)(copy + at);
		size_t whole;

		if (is_sealed)
			seal(copy + at, size - at);
		whole = history_record_check(copy + at, size - at, ID);
		if (whole == 0)
			break;
		if (whole > size - at || whole > HISTORY_RECORD_MAX || whole % HISTORY_ALIGN != 0)
			abort();
		if (record->codec != HISTORY_END)
			(void)history_record_restore(record, data);
		history_record_move(copy + at, ID + 1, 7);
		if (history_record_check(copy + at, size - at, ID + 1) != whole)
			abort();
		at += whole;
	}
	(void)history_bytes_vouch_for(copy + at, size - at, ID, 1);
	free(copy);
}

static void walk_index(const uint8_t *bytes, size_t size, bool is_sealed)
{
	struct history_index *index;
	struct history_index_entry *entries;

	if (size < sizeof(*index))
		return;
	index = malloc(size);
	if (!index)
		return;
	memcpy(index, bytes, size);
	entries = (struct history_index_entry *)(index + 1);
	if (is_sealed)
		history_index_make(index, ID, 1, 1, (size - sizeof(*index)) / sizeof(*entries),
				   index->undo_bytes,
				   XXH3_64bits_withSeed(entries,
							(size - sizeof(*index)) / sizeof(*entries) *
								sizeof(*entries),
							ID + 1));
	if (history_index_is_valid(index, ID, 1, 1, size) &&
	    history_index_entries_are_valid(index, entries))
		for (uint64_t i = 0; i < index->count; i++)
			if (history_index_find(entries, index->count, entries[i].key) != i)
				abort();
	free(index);
}

static void walk_points(const uint8_t *bytes, size_t size, bool is_sealed)
{
	struct history_entry entry;

	for (size_t at = 0; size - at >= sizeof(entry); at += sizeof(entry)) {
		memcpy(&entry, bytes + at, sizeof(entry));
		if (is_sealed)
			history_entry_seal(&entry, ID);
		if (!history_entry_is_free(&entry) && history_entry_is_valid(&entry, ID) &&
		    strlen(entry.label) >= sizeof(entry.label))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	bool is_sealed;

	if (size < 1)
		return 0;
	is_sealed = bytes[0] & SEALED;
	switch (bytes[0] >> 1 & 3) {
	case 0:
		walk_records(bytes + 1, size - 1, is_sealed);
		break;
	case 1:
		walk_index(bytes + 1, size - 1, is_sealed);
		break;
	default:
		walk_points(bytes + 1, size - 1, is_sealed);
		break;
	}
	return 0;
}
