// SPDX-License-Identifier: GPL-2.0-or-later
/* Making and checking the journal's records; see journal_record.h. No I/O, no allocation. */
#include "receiver/journal_record.h"

#include <string.h>

#include <xxhash.h>

#define CHECKSUM(thing, seed) XXH3_64bits_withSeed(thing, sizeof(*(thing)) - sizeof(le64), seed)

void journal_segment_make(struct journal_segment *segment, uint64_t journal, uint64_t sequence)
{
	*segment = (struct journal_segment){
		.magic = JOURNAL_SEGMENT_MAGIC,
		.version = JOURNAL_VERSION,
		.journal = journal,
		.sequence = sequence,
	};
	segment->checksum = CHECKSUM(segment, 0);
}

bool journal_segment_is_valid(const struct journal_segment *segment)
{
	return segment->magic == JOURNAL_SEGMENT_MAGIC && segment->version == JOURNAL_VERSION &&
	       segment->sequence > 0 && segment->checksum == CHECKSUM(segment, 0);
}

void journal_slot_make(struct journal_slot *slot, uint64_t journal, uint64_t sequence)
{
	*slot = (struct journal_slot){
		.magic = JOURNAL_SLOT_MAGIC,
		.journal = journal,
		.sequence = sequence,
	};
}

void journal_slot_seal(struct journal_slot *slot)
{
	slot->checksum = CHECKSUM(slot, slot->journal);
}

bool journal_slot_is_valid(const struct journal_slot *slot, uint64_t journal)
{
	return slot->magic == JOURNAL_SLOT_MAGIC && slot->journal == journal &&
	       slot->sequence > 0 && slot->batch > 0 && slot->checksum == CHECKSUM(slot, journal);
}

bool journal_head_is_valid(const struct wire_stream *head, uint32_t length)
{
	return head->batch > 0 && head->from <= head->to && head->records > 0 &&
	       head->raw_bytes >= 1 && head->raw_bytes <= WIRE_STREAM_RAW_MAX &&
	       head->stored_bytes >= 1 && head->stored_bytes <= head->raw_bytes &&
	       length == sizeof(*head) + head->stored_bytes;
}

void journal_record_make(struct journal_record *record, uint64_t journal, uint64_t sequence,
			 uint64_t synced, uint32_t length)
{
	*record = (struct journal_record){
		.magic = JOURNAL_RECORD_MAGIC,
		.type = JOURNAL_BATCH,
		.length = length,
		.sequence = sequence,
		.synced = synced,
	};
	record->checksum = CHECKSUM(record, journal);
}

bool journal_record_is_valid(const struct journal_record *record, uint64_t journal)
{
	return record->magic == JOURNAL_RECORD_MAGIC && record->type == JOURNAL_BATCH &&
	       record->length >= JOURNAL_LENGTH_MIN && record->length <= JOURNAL_LENGTH_MAX &&
	       record->sequence > record->synced && record->checksum == CHECKSUM(record, journal);
}

uint64_t journal_record_checksum(const struct journal_record *record,
				 const struct wire_stream *head, const void *stored)
{
	uint64_t seed = XXH3_64bits_withSeed(head, sizeof(*head), record->checksum);

	return XXH3_64bits_withSeed(stored, record->length - sizeof(*head), seed);
}

bool journal_body_is_valid(const struct journal_record *record, const void *body, uint64_t checksum)
{
	const struct wire_stream *head = body;

	return checksum == journal_record_checksum(record, head, head + 1) &&
	       journal_head_is_valid(head, record->length);
}

bool journal_bytes_vouch_for(const void *bytes, size_t size, uint64_t journal, uint64_t sequence)
{
	struct journal_record record;

	for (size_t at = 0; at + sizeof(record) <= size; at += JOURNAL_ALIGN) {
		memcpy(&record, (const char *)bytes + at, sizeof(record));
		if (record.magic == JOURNAL_RECORD_MAGIC && record.synced >= sequence &&
		    journal_record_is_valid(&record, journal))
			return true;
	}
	return false;
}
