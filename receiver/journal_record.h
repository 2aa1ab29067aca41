/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making and checking what journal_format.h lays out, without I/O. After a check returned true, every
 * length and number in it lies within the named limits (I10).
 */
#ifndef BLKFERRY_RECEIVER_JOURNAL_RECORD_H
#define BLKFERRY_RECEIVER_JOURNAL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "receiver/journal_format.h"

void journal_segment_make(struct journal_segment *segment, uint64_t journal, uint64_t sequence);
bool journal_segment_is_valid(const struct journal_segment *segment);

void journal_slot_make(struct journal_slot *slot, uint64_t journal, uint64_t sequence);
/* The checksum, after its place was filled in. */
void journal_slot_seal(struct journal_slot *slot);
bool journal_slot_is_valid(const struct journal_slot *slot, uint64_t journal);

/* Are the counts and lengths of a STREAM frame of length within the limits of wire.h? */
bool journal_head_is_valid(const struct wire_stream *head, uint32_t length);

void journal_record_make(struct journal_record *record, uint64_t journal, uint64_t sequence,
			 uint64_t synced, uint32_t length);
bool journal_record_is_valid(const struct journal_record *record, uint64_t journal);
/* The checksum at a record's end. */
uint64_t journal_record_checksum(const struct journal_record *record,
				 const struct wire_stream *head, const void *stored);
/* Are body (length bytes) and the checksum behind it what the valid record says, and a STREAM frame? */
bool journal_body_is_valid(const struct journal_record *record, const void *body,
			   uint64_t checksum);

/* Looks at size bytes that begin at a multiple of JOURNAL_ALIGN for a valid header that calls sequence durable.
 * True when there is one: then a record of that sequence which cannot be read is damaged, not torn. */
bool journal_bytes_vouch_for(const void *bytes, size_t size, uint64_t journal, uint64_t sequence);

#endif
