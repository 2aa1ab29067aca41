/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal on disk: constants, limits and layouts; nothing else. blkferry-journal(5) describes it for a
 * second implementation. All integers are little-endian.
 *
 *   FOLDER/lock                       flocked by who has the journal open
 *   FOLDER/segment-%016x              named by the sequence of its first record
 *   FOLDER/applied                    two slots: how far the targets are
 *
 *   segment  = journal_segment, record*
 *   record   = journal_record, struct wire_stream, stored bytes, le64 checksum, zeroes up to a multiple
 *              of JOURNAL_ALIGN
 *   applied  = slot (at 0), slot (at JOURNAL_SLOT_BYTES); the valid one with the larger sequence counts
 *
 * Checksums are XXH3-64 with a seed. That of a header has the journal's id as seed, and covers what
 * stands before it. That of a record's end is of the stored bytes, its seed is the checksum of the struct
 * wire_stream, whose seed is the header's checksum.
 *
 * Sequences go from 1 up without a hole, across segments. A record says what was durable when it was written
 * (`synced`). So the end of the newest segment can be judged: an invalid record that no later one calls
 * durable was being written when the power went, and nothing was promised about it. A segment is durable
 * before the next one is made.
 */
#ifndef BLKFERRY_RECEIVER_JOURNAL_FORMAT_H
#define BLKFERRY_RECEIVER_JOURNAL_FORMAT_H

#include <assert.h>
#include <stdint.h>

#include "common/wire.h"

#define JOURNAL_SEGMENT_MAGIC 0x53464a42u /* "BJFS" */
#define JOURNAL_RECORD_MAGIC  0x52464a42u /* "BJFR" */
#define JOURNAL_SLOT_MAGIC    0x41464a42u /* "BJFA" */
#define JOURNAL_VERSION	      1
#define JOURNAL_ALIGN	      8u
#define JOURNAL_SEGMENT_BYTES                                                                      \
	(64u * 1024 * 1024) /* a segment that has so much is followed by another */
#define JOURNAL_SLOT_BYTES 4096u

#define JOURNAL_LENGTH_MIN ((uint32_t)sizeof(struct wire_stream) + 1)
#define JOURNAL_LENGTH_MAX ((uint32_t)WIRE_STREAM_FRAME_MAX)

struct journal_segment {
	le32 magic;
	le32 version;
	le64 journal; /* id: random, the same in all segments */
	le64 sequence;
	le64 reserved; /* 0 */
	le64 checksum; /* its seed is 0 */
} __attribute__((packed));

enum journal_type { JOURNAL_BATCH = 1 };

struct journal_record {
	le32 magic;
	le16 type; /* enum journal_type */
	le16 reserved;
	le32 length; /* of struct wire_stream and the stored bytes */
	le32 unused;
	le64 sequence;
	le64 synced; /* every record up to this sequence was durable; less than sequence */
	le64 checksum;
} __attribute__((packed));

struct journal_slot {
	le32 magic;
	le32 reserved;
	le64 journal;
	le64 sequence; /* all up to this record is on the targets, flushed */
	le64 stream;   /* of that record */
	le64 batch;
	le64 position; /* wire_stream.to */
	le64 checksum;
} __attribute__((packed));

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structs are used in place");
static_assert(sizeof(struct journal_segment) == 40, "journal segment");
static_assert(sizeof(struct journal_record) == 40, "journal record");
static_assert(sizeof(struct journal_slot) == 56, "journal slot");
static_assert(sizeof(struct journal_segment) % JOURNAL_ALIGN == 0, "the first record is aligned");

/* A record's bytes in the file. */
#define JOURNAL_RECORD_BYTES(length)                                                               \
	((sizeof(struct journal_record) + (uint64_t)(length) + sizeof(le64) + JOURNAL_ALIGN - 1) / \
	 JOURNAL_ALIGN * JOURNAL_ALIGN)

#endif
