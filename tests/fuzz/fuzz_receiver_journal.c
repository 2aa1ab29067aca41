// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any bytes as a journal's segment, slot and records, walked as the opening scan does. Random bytes never
 * have the right checksums: the first byte says which of them are set right before the check.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "receiver/journal_record.h"

#define ID 0x0123456789abcdefull

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void walk_records(const uint8_t *bytes, size_t size, bool is_sealed)
{
	struct journal_record record;
	size_t at = 0;

	while (size - at >= sizeof(record)) {
		struct wire_stream head;
		uint64_t whole;
		uint8_t *body;
		le64 checksum;

		memcpy(&record, bytes + at, sizeof(record));
		if (is_sealed)
			record.checksum =
				XXH3_64bits_withSeed(&record, sizeof(record) - sizeof(le64), ID);
		if (!journal_record_is_valid(&record, ID))
			break;
		whole = JOURNAL_RECORD_BYTES(record.length);
		if (record.length > JOURNAL_LENGTH_MAX || whole < record.length)
			abort();
		if (whole > size - at)
			break;
		/* Exactly as long as the record says, so that the sanitizer sees every step too far. */
		body = malloc(record.length);
		if (!body)
			return;
		memcpy(body, bytes + at + sizeof(record), record.length);
		memcpy(&head, body, sizeof(head));
		checksum = journal_record_checksum(&record, (struct wire_stream *)body,
						   body + sizeof(head));
		if (journal_body_is_valid(&record, body, checksum) &&
		    (sizeof(head) + head.stored_bytes != record.length ||
		     head.raw_bytes > WIRE_STREAM_RAW_MAX))
			abort();
		if (journal_body_is_valid(&record, body, checksum ^ 1))
			abort();
		free(body);
		at += whole;
	}
	(void)journal_bytes_vouch_for(bytes + at, size - at, ID, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct journal_segment segment;
	struct journal_slot slot;

	if (size < 1)
		return 0;
	if (size - 1 >= sizeof(slot)) {
		memcpy(&slot, bytes + 1, sizeof(slot));
		journal_slot_seal(&slot);
		if (journal_slot_is_valid(&slot, ID) && (!slot.sequence || !slot.batch))
			abort();
	}
	if (size - 1 >= sizeof(segment)) {
		memcpy(&segment, bytes + 1, sizeof(segment));
		if (journal_segment_is_valid(&segment) && !segment.sequence)
			abort();
	}
	walk_records(bytes + 1, size - 1, bytes[0] & 1);
	return 0;
}
