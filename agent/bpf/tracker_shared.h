/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tracker's BPF programs and its user-space half share: the values of the maps.
 *
 * These structs live in pinned maps and outlast the agent that wrote them. Change one and raise
 * TRACKER_LAYOUT: a newer agent then knows that it cannot read what an older one left.
 */
#ifndef BLKFERRY_AGENT_BPF_TRACKER_SHARED_H
#define BLKFERRY_AGENT_BPF_TRACKER_SHARED_H

#include <linux/types.h>

#define TRACKER_LAYOUT 3u
#define TRACKER_MAGIC  0x7272666b6c620a01ull

#define TRACKER_SLOTS_MAX 64 /* a power of two: it is a mask, too */

/* A bit of `coarse` stands for this many words of `dirty` of the same disk. */
#define TRACKER_CHUNK_WORDS 128u
/* No request is larger than 4 GiB, which at 4 KiB a bit is 16384 words or 128 chunks. */
#define TRACKER_CHUNKS_MAX 160u
/* A request with more bios than this is marked by its own address, or makes the disk suspect. */
#define TRACKER_BIOS_MAX 128

/* What an operation (REQ_OP_...) means to the tracker. User space fills the table from the names in
 * the kernel's own BTF: the numbers changed over time. */
enum tracker_op_kind {
	TRACKER_OP_NONE = 1, /* changes nothing: reads, flushes, opening and closing zones */
	TRACKER_OP_WRITE,    /* a plain write: its bios are contiguous */
	TRACKER_OP_ZEROES,   /* contiguous, and reads as zeroes afterwards */
	TRACKER_OP_SAME,     /* contiguous, one sector's contents many times */
	TRACKER_OP_RANGES,   /* its bios need not be contiguous: discard, secure erase */
	TRACKER_OP_APPEND,   /* zone append: the request knows better than the bio where it went */
	TRACKER_OP_COMMAND_IN,	/* passthrough: harmless if it brings data in, unknown otherwise */
	TRACKER_OP_COMMAND_OUT, /* passthrough that may write anywhere */
	TRACKER_OP_ZONE_RESET,
	TRACKER_OP_UNKNOWN, /* sends data out, and we do not know it */
};

/* Why a disk is suspect (I3): bits of tracker_slot.suspect. */
enum tracker_suspect {
	TRACKER_SUSPECT_COMMAND = 1 << 0,
	TRACKER_SUSPECT_ZONE_RESET = 1 << 1,
	TRACKER_SUSPECT_UNKNOWN_OP = 1 << 2,
	TRACKER_SUSPECT_OUT_OF_RANGE = 1 << 3,
	TRACKER_SUSPECT_TOO_MANY_BIOS = 1 << 4,
	TRACKER_SUSPECT_MISSED = 1 << 5,  /* a completion that no program saw, address unknown */
	TRACKER_SUSPECT_NO_NOTE = 1 << 6, /* a request of a queue or tag that is new */
};

/* The programs, in the order in which the kernel runs them. */
enum tracker_program {
	TRACKER_COMPLETE_1,
	TRACKER_COMPLETE_2,
	TRACKER_COMPLETE_3,
	TRACKER_ISSUE,
	TRACKER_PROGRAMS,
};
#define TRACKER_COMPLETES 3

/* A tracked disk. The programs read the first part on every write and write `suspect`,
 * which stands in a cache line of its own; the rest is the agent's memory. */
struct tracker_slot {
	__u64 sectors;	    /* size of the disk; 0: the slot is free */
	__u32 sector_shift; /* sector >> sector_shift is the bit */
	__u32 dirty_word;   /* where the disk's words begin in `dirty` and `todo` */
	__u32 words;
	__u32 coarse_word;   /* where its words begin in `coarse` */
	__u32 pending_first; /* where its requests begin in `pending`: hardware queues times tags */
	__u32 pending_count;
	__u32 pending_tags;   /* of each hardware queue */
	__u32 had_no_iostats; /* the agent has switched them on (agent/linux/tracker_iostats.c) */
	__u64 reserved[3];

	__u64 suspect; /* enum tracker_suspect */
	__u64 reserved_suspect[7];

	__u64 bits;
	__u32 major, minor;
	__u64 sequence;
	char identity[128];
	__u32 broken; /* enum tracker_broken: why bits may be missing, while there is no replica */
	__u32 reserved_broken;
	__u64 memory[9]; /* struct tracker_disk_memory */
	__u64 reserved_end[1];
};

/* Map `percpu`. */
struct tracker_cpu {
	__u32 inside[TRACKER_COMPLETES]; /* pid + 1 of who runs this program here now; 0: nobody */
	__u32 reserved;
	__u64 preempted; /* times a program found another task inside a program on this CPU */
	__u64 rescued; /* requests that no program saw complete, found when their tag was used again */
	__u64 captured; /* the request that was captured here last: its token (capture.h) */
	__u64 writes[TRACKER_SLOTS_MAX];
};

/* Map `pending`: a request on its way, by hardware queue and tag: noted at issue, cleared at completion. */
struct tracker_request {
	__u64 note; /* 0: none. Else the first sector, and in the upper bits the number of sectors */
	__u64 life; /* when it was allocated: no two requests of a tag have the same. Where the kernel
		     * keeps no times, a number that grows with each issue */
};

#define TRACKER_PENDING_SECTOR_BITS 40
#define TRACKER_PENDING_UNKNOWN	    (~0ull) /* it has no one address */

static inline __u64 tracker_pending(__u64 start, __u64 end)
{
	__u64 most = 1ull << (64 - TRACKER_PENDING_SECTOR_BITS);

	if (end <= start || end - start >= most - 1 || end >> TRACKER_PENDING_SECTOR_BITS)
		return TRACKER_PENDING_UNKNOWN;
	return (end - start) << TRACKER_PENDING_SECTOR_BITS | start;
}

static inline __u64 tracker_pending_start(__u64 pending)
{
	return pending & ((1ull << TRACKER_PENDING_SECTOR_BITS) - 1);
}

static inline __u64 tracker_pending_end(__u64 pending)
{
	return tracker_pending_start(pending) + (pending >> TRACKER_PENDING_SECTOR_BITS);
}

/* Capture (agent/capture.h has the modes and the reasons of holes, with the same numbers). */
enum tracker_capture_mode { TRACKER_CAPTURE_OFF = 1, TRACKER_CAPTURE_ON, TRACKER_CAPTURE_FULL };

enum tracker_hole {
	TRACKER_HOLE_NONE = 1,
	TRACKER_HOLE_RING_FULL,
	TRACKER_HOLE_FAILED_WRITE,
	TRACKER_HOLE_UNSEEN,
	TRACKER_HOLE_UNKNOWN,
	TRACKER_HOLE_ENCRYPTED,
};

struct tracker_capture {
	__u64 mode;	 /* enum tracker_capture_mode */
	__u64 holes;	 /* counts up for each, after its bits are set */
	__u64 last_hole; /* enum tracker_hole */
	__u64 reserved[5];
	/* Written before capture is on for the first time. */
	__u64 vmemmap_base;    /* where the array of struct page begins */
	__u64 direct_map_base; /* where the kernel sees physical address 0 */
	__u64 page_struct_bytes;
	__u64 stream_id;
	__u64 ring_bytes;
	__u64 availability; /* enum capture_availability, agent/linux/capture_internal.h */
	__u64 reserved_end[2];
};

/* Map `ring`: what a record begins with. Data is padded: the verifier wants constant sizes. */
#define TRACKER_PIECE_BYTES	  4096u
#define TRACKER_PIECE_SMALL_BYTES 512u

enum tracker_record_kind { TRACKER_RECORD_DATA = 1, TRACKER_RECORD_ZERO };

struct tracker_record {
	__u64 offset, length; /* bytes */
	__u64 holes;
	__u32 slot;
	__u32 kind; /* enum tracker_record_kind */
};

/* While armed: what the programs see of the reads of one disk. */
struct tracker_sighting {
	__u64 sector, bio_sector;
	__u32 bytes, bio_bytes, done_bytes, op;
	__u32 count;	   /* requests at the wanted sector */
	__u32 other_count; /* requests of that disk elsewhere */
	__u64 other_sector;
	/* Of the issue program: where the request and its first page are described, and where in the page (or
	 * in the run of pages that it begins) its data goes. */
	__u64 request, page;
	__u64 page_offset;
};

struct tracker_selftest {
	__u64 device; /* tracker_device_key */
	__u64 sector;
	__u32 is_armed;
	__u32 reserved;
	struct tracker_sighting seen[TRACKER_PROGRAMS];
};

/* What a set of pins is. Its beginning never changes, whatever the layout. */
struct tracker_header {
	__u64 magic;
	__u32 layout;
	__u32 slots;
	__u64 programs_hash; /* of the BPF object: another build replaces the set */
	__u8 boot_id[16];
	__u64 dirty_words, coarse_words, pending_words;
	__u32 map_ids[8]; /* the maps that belong together, in the order of enum set_map */
	__u32 program_ids[TRACKER_PROGRAMS];
	__u64 seen_misses[TRACKER_COMPLETES]; /* recursion_misses at the last look */
};

/* device -> slot: an open hash with linear probing, written once before the programs are attached. A
 * BPF hash map does the same for forty nanoseconds more, four times a write. */
struct tracker_device {
	__u64 key; /* tracker_device_key; 0: free */
	__u32 slot;
	__u32 reserved;
};

#define TRACKER_DEVICES_SIZE 256 /* power of two, at least twice the slots */
#define TRACKER_PROBES_MAX   16

/* Map `.data.state`: everything of fixed size. */
struct tracker_state {
	struct tracker_header header;
	struct tracker_selftest selftest;
	struct tracker_capture capture __attribute__((aligned(64)));
	struct tracker_device devices[TRACKER_DEVICES_SIZE];
	struct tracker_slot slots[TRACKER_SLOTS_MAX] __attribute__((aligned(64)));
};

static inline __u32 tracker_device_hash(__u64 key)
{
	return (__u32)(key * 0x9e3779b97f4a7c15ull >> 56) % TRACKER_DEVICES_SIZE;
}

static inline __u64 tracker_device_key(__u32 major, __u32 minor)
{
	return (__u64)major << 32 | minor;
}

#endif
