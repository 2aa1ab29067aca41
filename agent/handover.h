/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The handover: what one run of the system leaves for the next, so that an orderly restart needs no comparison.
 * The format, its encoding and its decoding; no I/O.
 *
 *   file   = HANDOVER_BLOCKS blocks, each a struct handover_block. The file system only ever makes the file; after
 *            that its blocks are written past it, where they lie on the disk (linux/handover_place.h). Each
 *            says whose it is and which, so that none is written over which is not ours.
 *   record = struct handover_record, disks x struct handover_disk, watches x struct handover_watch, then the
 *            bitmap words of each disk: cut into the payloads of the first blocks.
 *
 * Block 0 comes last when a record is written, and is written over when it is used: a record counts only with a
 * block 0 in state CLEAN. All integers are little-endian. Every bit that is not as it should be makes the record
 * void, and a void record costs a comparison, nothing else.
 */
#ifndef BLKFERRY_AGENT_HANDOVER_H
#define BLKFERRY_AGENT_HANDOVER_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/tracker.h"
#include "common/bitmap.h"
#include "common/fault.h"

#define HANDOVER_MAGIC	       0x316f686b6c620a02ull
#define HANDOVER_VERSION       1u
#define HANDOVER_BLOCK_BYTES   4096u
#define HANDOVER_PAYLOAD_BYTES 4032u
#define HANDOVER_BLOCKS	       1024u
#define HANDOVER_RECORD_MAX    (HANDOVER_BLOCKS * HANDOVER_PAYLOAD_BYTES)
#define HANDOVER_WATCHES_MAX   4096u
#define HANDOVER_EXTENTS_MAX   128u
#define HANDOVER_DISK_MAX      (1ull << 60) /* bytes */

enum handover_state {
	HANDOVER_EMPTY = 1, /* made, never used */
	HANDOVER_CLEAN,	    /* a record, for one start */
	HANDOVER_CONSUMED,  /* a start has used it; what happened since is not recorded */
	HANDOVER_WITHDRAWN, /* a write came after the record */
	HANDOVER_REFUSED,   /* the stop was not one to rely on: the payload says why */
};

struct handover_block {
	uint64_t magic;
	uint8_t file_id[16];	  /* random, of the file */
	uint64_t generation;	  /* counts the records: all blocks of one have the same */
	uint32_t index;		  /* of this block in the file */
	uint32_t state;		  /* enum handover_state; in block 0 it is the one that counts */
	uint32_t record_bytes;	  /* of the record */
	uint32_t reserved;	  /* 0 */
	uint64_t record_checksum; /* XXH3-64 of the record */
	uint64_t checksum;	  /* XXH3-64 of the block, taken with 0 here */
	uint8_t payload[HANDOVER_PAYLOAD_BYTES];
} __attribute__((packed));
static_assert(sizeof(struct handover_block) == HANDOVER_BLOCK_BYTES, "handover block");

struct handover_record {
	uint32_t version;
	uint32_t disks;
	uint32_t watches;
	uint32_t reserved;
	uint8_t boot_id[16];		   /* of the run that ended */
	uint64_t saved_s;		   /* when, seconds since 1970 */
	uint64_t bitmap_bytes, ring_bytes; /* struct tracker_options of the run that ended */
	char pin_folder[128];
	char program[32]; /* version of who wrote it */
} __attribute__((packed));

struct handover_disk {
	char identity[128];
	char path[128];
	uint64_t size_bytes;
	uint64_t
		block_bytes; /* what a bit stands for: the tracker's, or coarser so that all fits */
	uint64_t words;	     /* of its bitmap */
	struct tracker_disk_memory memory;
} __attribute__((packed));

/* A range that nobody can use this disk without changing: by its digest a later start sees that nobody did. */
struct handover_watch {
	uint32_t disk;
	uint32_t reserved;
	uint64_t offset, length;
	uint8_t digest[16]; /* XXH3-128 */
} __attribute__((packed));

/* A record in memory. Pointers lead into one allocation of the owner's. */
struct handover {
	struct handover_record head;
	struct handover_disk *disks;
	struct handover_watch *watches;
	uint64_t *bits[TRACKER_DISKS_MAX];
	void *memory;
};

/* Where the file lies: the initramfs holds this (little-endian, as it stands). */
struct handover_extent {
	uint64_t offset, length; /* on the disk; whole HANDOVER_BLOCK_BYTES */
} __attribute__((packed));

struct handover_plan {
	uint64_t magic;
	uint32_t version;
	uint32_t extents;
	uint8_t file_id[16];
	char run_folder[128]; /* for what a start found out */
	char disk_identity[128];
	char disk_path[128];
	uint64_t disk_bytes;
	struct handover_extent extent[HANDOVER_EXTENTS_MAX];
	uint64_t checksum; /* XXH3-64 of what stands before */
} __attribute__((packed));

/* --- blocks ------------------------------------------------------------------------------------------ */

/* Fills block index with its part of the record. */
void handover_block_fill(struct handover_block *block, const uint8_t file_id[16],
			 uint64_t generation, uint32_t index, enum handover_state state,
			 const void *record, uint32_t record_bytes);
/* Is it that block of that file, whole or torn? Then, and only then, may it be written over. */
bool handover_block_is_ours(const struct handover_block *block, const uint8_t file_id[16],
			    uint32_t index);
/* ... and whole? */
bool handover_block_is_whole(const struct handover_block *block, const uint8_t file_id[16],
			     uint32_t index);
/* How many blocks a record of that length takes. */
uint32_t handover_blocks(uint32_t record_bytes);
/* Puts the record together from its blocks (handover_blocks of them). -EBADMSG with a fault when they are not all of
 * one record. The caller frees *ret_record. */
int handover_gather(const struct handover_block *blocks, const uint8_t file_id[16],
		    void **ret_record, uint32_t *ret_bytes, struct fault *fault);

/* --- the record --------------------------------------------------------------------------------------- */

/* Takes a record apart, copying it. -EBADMSG with a fault. */
int handover_decode(const void *record, size_t bytes, struct handover *ret_handover,
		    struct fault *fault);
/* The opposite. -EFBIG when it is more than HANDOVER_RECORD_MAX. The caller frees. */
int handover_encode(const struct handover *handover, void **ret_record, uint32_t *ret_bytes);
void handover_fini(struct handover *handover);

/* Sets in the record's bitmap what holds any byte of the range. */
void handover_mark(struct handover *handover, unsigned int disk, uint64_t offset, uint64_t length);
/* Sets in `map`, whose bits stand for block_bytes, all that is set in the record's. */
void handover_list(const struct handover *handover, unsigned int disk, struct bitmap *map,
		   uint64_t block_bytes);

/* --- the plan ------------------------------------------------------------------------------------------ */

void handover_plan_seal(struct handover_plan *plan);
/* -EBADMSG with a fault unless it is one, with HANDOVER_BLOCKS blocks in all, none twice, on the disk. */
int handover_plan_check(const void *bytes, size_t size, struct handover_plan *ret_plan,
			struct fault *fault);
/* Where block index lies on the disk. */
uint64_t handover_plan_offset(const struct handover_plan *plan, uint32_t index);

#endif
