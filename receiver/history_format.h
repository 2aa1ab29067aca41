/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The history on disk: constants, limits and layouts; nothing else. blkferry-journal(5) describes it for a
 * second implementation. All integers are little-endian.
 *
 *   FOLDER/lock                    flocked by who has the history open
 *   FOLDER/points                  which checkpoints there are: an append log
 *   FOLDER/undo-%016x-%016x        old contents: first and last serial
 *   FOLDER/index-%016x-%016x       where each block lies in that file; can be made again from it
 *
 *   points = history_log, history_entry*          a slot of zeroes is free
 *   undo   = history_undo, history_record*, END
 *   record = history_record, stored bytes, zeroes up to a multiple of HISTORY_ALIGN
 *   index  = history_index, history_index_entry*  sorted by key
 *
 * Undo files have serials, in the order they were begun, without a hole. A mark's `serial` is the first of
 * those that were begun after it. A block as it was at a mark: its record in the first file, from that
 * serial on, that has one; else the target. Files merged into one cover all their serials; a mark inside them
 * is none any more. Only the file with the newest serial may lack its END: its end is judged by `synced`, as
 * in the journal.
 *
 * Checksums are XXH3-64 over what stands before them, with a seed: the history's id in the log and its entries;
 * id + first serial in the undo files and indexes. A record's covers its stored bytes, too: their checksum
 * (seed as said) is the seed for the header's.
 */
#ifndef BLKFERRY_RECEIVER_HISTORY_FORMAT_H
#define BLKFERRY_RECEIVER_HISTORY_FORMAT_H

#include <assert.h>
#include <stdint.h>

#include "common/wire.h"
#include "receiver/history.h"

#define HISTORY_LOG_MAGIC    0x4c464842u /* "BHFL" */
#define HISTORY_ENTRY_MAGIC  0x45464842u /* "BHFE" */
#define HISTORY_UNDO_MAGIC   0x55464842u /* "BHFU" */
#define HISTORY_RECORD_MAGIC 0x52464842u /* "BHFR" */
#define HISTORY_INDEX_MAGIC  0x49464842u /* "BHFI" */
#define HISTORY_VERSION	     1
#define HISTORY_ALIGN	     8u
#define HISTORY_LOG_MAX	     (64u * 1024 * 1024)
#define HISTORY_LOG_SPARE    4096u  /* free slots of a log that is written anew */
#define HISTORY_POINTS_MAX   65536u /* marks at one time */
#define HISTORY_PART_BLOCKS                                                                        \
	65536u /* a file that is written and has so many is followed by another */
#define HISTORY_FILE_MAX (1ull << 56)

struct history_log {
	le32 magic;
	le32 version;
	le64 history; /* id: random */
	le64 checksum;
} __attribute__((packed));

enum history_kind {
	HISTORY_LOG_MARK = 1,	 /* number, time, flags, serial, label */
	HISTORY_LOG_CONFIRM = 2, /* number; unconfirmed marks below it are none any more */
	HISTORY_LOG_LABEL = 3,	 /* number, label */
	HISTORY_LOG_DROP = 4,	 /* number */
	HISTORY_LOG_NEWEST = 5,	 /* number of the newest mark that ever was */
};

struct history_entry {
	le32 magic;
	le16 kind;  /* enum history_kind */
	le16 flags; /* MARK: HISTORY_CONFIRMED, HISTORY_FROZEN, HISTORY_QUIET, HISTORY_MIXED */
	le64 number;
	le64 time_ns;
	le64 serial;
	char label[HISTORY_LABEL_MAX];
	le64 checksum;
} __attribute__((packed));

struct history_undo {
	le32 magic;
	le32 version;
	le64 history;
	le64 first, last; /* serials */
	le64 checksum;
} __attribute__((packed));

enum history_codec {
	HISTORY_RAW = 1,  /* HISTORY_BLOCK_BYTES are stored */
	HISTORY_LZ4 = 2,  /* one LZ4 block that restores to so many */
	HISTORY_ZERO = 3, /* nothing is stored: all zeroes */
	HISTORY_END = 4, /* nothing is stored: the file's end; block says how many records it has */
};

struct history_record {
	le32 magic;
	le16 disk;
	le16 codec; /* enum history_codec */
	le64 block; /* offset / HISTORY_BLOCK_BYTES */
	le32 stored_bytes;
	le32 reserved; /* 0 */
	le64 synced;   /* the file was durable up to this byte when this was written */
	le64 checksum;
} __attribute__((packed));

struct history_index {
	le32 magic;
	le32 version;
	le64 history;
	le64 first, last;
	le64 count;	 /* entries */
	le64 undo_bytes; /* of the whole undo file */
	le64 entries;	 /* checksum of all of them */
	le64 checksum;
} __attribute__((packed));

struct history_index_entry {
	le64 key;      /* HISTORY_KEY */
	le64 position; /* of the record in the undo file */
} __attribute__((packed));

#define HISTORY_BLOCK_BITS	 48 /* WIRE_DISK_BYTES_MAX / HISTORY_BLOCK_BYTES */
#define HISTORY_KEY(disk, block) ((uint64_t)(disk) << HISTORY_BLOCK_BITS | (block))
#define HISTORY_KEY_DISK(key)	 ((unsigned int)((key) >> HISTORY_BLOCK_BITS))
#define HISTORY_KEY_BLOCK(key)	 ((key) & ((1ull << HISTORY_BLOCK_BITS) - 1))

/* A record's bytes in the file. */
#define HISTORY_RECORD_BYTES(stored)                                                               \
	((sizeof(struct history_record) + (uint64_t)(stored) + HISTORY_ALIGN - 1) /                \
	 HISTORY_ALIGN * HISTORY_ALIGN)
#define HISTORY_RECORD_MAX HISTORY_RECORD_BYTES(HISTORY_BLOCK_BYTES)

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structs are used in place");
static_assert(sizeof(struct history_log) == 24, "history log");
static_assert(sizeof(struct history_entry) == 104, "history entry");
static_assert(sizeof(struct history_undo) == 40, "history undo");
static_assert(sizeof(struct history_record) == 40, "history record");
static_assert(sizeof(struct history_index) == 64, "history index");
static_assert(sizeof(struct history_index_entry) == 16, "history index entry");
static_assert(WIRE_DISK_BYTES_MAX / HISTORY_BLOCK_BYTES == 1ull << HISTORY_BLOCK_BITS,
	      "a block's number fits its key");
static_assert(sizeof(struct history_undo) % HISTORY_ALIGN == 0, "the first record is aligned");

#endif
