/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stream's part of the wire format; wire.h includes it.
 *
 * Captured writes travel as records, in batches, on a connection of their own. A numbers
 * the batches of a stream (which is the life of its ring) from 1 on without a hole; `from` and `to` are the
 * ring positions of the captured records in a batch. R appends each to its journal, acknowledges it when it
 * is durable there (I6), and applies all in order. After a reconnect A goes on behind what STREAM_READY
 * names if its ring still has that; else it begins with a GAP. A MARK is a place between records that may
 * become a checkpoint; it is one only when it is confirmed. Mark numbers grow over the life of a replica.
 * A confirms a mark only after a look, later than the mark, at all that makes a disk suspect (I3). Before A
 * sends DATA after a stream it waits until STREAM_ACK.applied has reached its last batch. A STREAM_READY that
 * lies behind what A was acknowledged before means that R's storage went back in time: all is compared.
 * From a GAP to the next confirmed mark the replica is building (I8). A without capture opens a stream all
 * the same, for marks alone, made while everything is frozen and shipped by DATA; its from and to are 0.
 */
#ifndef BLKFERRY_COMMON_WIRE_STREAM_H
#define BLKFERRY_COMMON_WIRE_STREAM_H

#define WIRE_STREAM_RAW_MAX	(1024u * 1024) /* plain bytes of one STREAM frame, records included */
#define WIRE_RECORD_DATA_MAX	(256u * 1024) /* of one WRITE or COPY record */
#define WIRE_RECORD_DIGESTS_MAX 64	      /* of one DIGEST record */

/* R's newest durable batch of a stream; all 0: none. */
struct wire_stream_ready {
	le64 stream;
	le64 batch;
	le64 position; /* `to` of that batch */
	le64 mark;     /* newest mark number that R knows, confirmed or not; A goes on above it */
} __attribute__((packed));

/* STREAM: this, then stored_bytes, which restored are `records` of struct wire_record, each followed by
 * its data, without padding (wire_records.h). */
struct wire_stream {
	le64 stream;   /* > 0 */
	le64 batch;    /* > 0 */
	le64 from, to; /* from <= to */
	le16 codec;    /* enum compress_codec */
	le16 reserved;
	le32 records;	   /* > 0 */
	le32 raw_bytes;	   /* 1 .. WIRE_STREAM_RAW_MAX */
	le32 stored_bytes; /* at most raw_bytes */
	le64 checksum;	   /* XXH3-64 of the raw bytes */
} __attribute__((packed));

enum wire_record_kind {
	/* Offsets and lengths on disks are multiples of WIRE_SECTOR. */
	WIRE_RECORD_WRITE = 1,	 /* captured; length bytes follow */
	WIRE_RECORD_ZERO = 2,	 /* captured write-zeroes, or a copied block of zeroes */
	WIRE_RECORD_COPY = 3,	 /* a block that was read (I5); length bytes follow */
	WIRE_RECORD_MARK = 4,	 /* offset: wall clock, ns since 1970; length: number, > 0; flags */
	WIRE_RECORD_CONFIRM = 5, /* length: number of the mark; several may be unconfirmed */
	WIRE_RECORD_GAP = 6,	 /* offset: wall clock; flags: enum capture_hole, for people */
				 /* MARK, CONFIRM and GAP belong to no disk: disk is 0 */
	WIRE_RECORD_DIGEST = 7,	 /* compare: flags: bytes a digest, a power of two from
				 * WIRE_DIGEST_BLOCK_MIN; that many digests of WIRE_DIGEST_LEN follow as
				 * cover length (at most WIRE_DIGEST_EXTENT_MAX), the last one's block
				 * possibly short. Changes nothing; answered by STREAM_RESULT when all
				 * before it is applied and nothing behind it */
};
#define WIRE_SECTOR	 512u
#define WIRE_MARK_QUIET	 1u /* nothing was under way */
#define WIRE_MARK_FROZEN 2u /* all file systems were frozen */
#define WIRE_MARK_SEAL	 4u /* the last one of a cutover */
#define WIRE_MARK_FLAGS	 (WIRE_MARK_QUIET | WIRE_MARK_FROZEN | WIRE_MARK_SEAL)

struct wire_record {
	le64 offset;
	le64 length;
	le16 disk;
	le16 kind; /* enum wire_record_kind */
	le32 flags;
} __attribute__((packed));

struct wire_stream_ack {
	le64 stream;
	le64 batch;   /* durable in the journal */
	le64 applied; /* written to the targets (not necessarily flushed) */
} __attribute__((packed));

/* STREAM_RESULT: this, then count bytes of enum wire_digest_verdict. */
struct wire_stream_result {
	le64 batch; /* that the record was in */
	le64 offset;
	le32 length;
	le16 disk;
	le16 count;
} __attribute__((packed));

static_assert(sizeof(struct wire_stream) == 56, "wire stream");
static_assert(sizeof(struct wire_record) == 24, "wire record");
static_assert(sizeof(struct wire_stream_result) == 24, "wire stream result");

#define WIRE_STREAM_FRAME_MAX (sizeof(struct wire_stream) + WIRE_STREAM_RAW_MAX)

#endif
