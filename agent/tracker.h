/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tracker knows which blocks of the machine's disks were written. Variants, a file each:
 *   tracker_bpf   eBPF programs on block_rq_complete mark bits in pinned kernel maps
 *   tracker_scan  no kernel help: every block may have been written, every pass compares digests
 *
 * For every disk there are two bitmaps, one bit a block of `block_bytes`:
 *   dirty  set by the tracker when a write completes (I1)
 *   todo   what the replica still lacks: bits move dirty -> todo before their blocks are read (I2), and
 *          leave todo only when the receiver has acknowledged the block as durable (I6)
 * With the bpf tracker both live in the kernel and are pinned, so an agent that is killed at any
 * point forgets nothing. A tracker's functions are called from one thread at a time.
 */
#ifndef BLKFERRY_AGENT_TRACKER_H
#define BLKFERRY_AGENT_TRACKER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/bitmap.h"
#include "common/fault.h"

#define TRACKER_DISKS_MAX      64
#define TRACKER_REPLICA_ID_LEN 16

enum tracker_kind { TRACKER_BPF = 1, TRACKER_SCAN };

/* What the agent found out about a disk before it asks for it to be tracked (disks.h fills it). */
struct tracked_disk {
	char path[128];	    /* /dev/vda: for messages and to open */
	char identity[128]; /* serial, WWN or, lacking both, the path: the same disk tomorrow */
	uint32_t major, minor;
	uint64_t size_bytes;
	uint32_t logical_block_bytes; /* 512 or 4096 */
	uint64_t sequence;	      /* the kernel's diskseq; 0 where the kernel has none */
	bool is_request_based;	      /* blk-mq: block_rq_complete fires for it */
};

/* Survives the agent with the bitmaps (pinned): what they are worth. */
struct tracker_disk_memory {
	uint8_t replica_id
		[TRACKER_REPLICA_ID_LEN]; /* whose lacks `todo` lists; all zero: none yet */
	uint64_t acked_epoch;		  /* newest epoch the receiver acknowledged */
	uint64_t opened_epoch;		  /* newest epoch that anything was sent in */
	uint64_t stage; /* enum source_stage: what is to be done with what `todo` lists; 0 none */
	/* Of the stream: the newest batch that the receiver acknowledged, and the newest that was sent. */
	uint64_t acked_stream, acked_batch, opened_stream, opened_batch;
};

/* How one disk stands; tracker_poll fills it. Counters only grow. */
struct tracker_disk_state {
	bool is_continuous; /* no write since `memory` was written can be missing from dirty and todo */
	bool is_suspect;  /* I3: something could not be recorded: all blocks are to be compared */
	const char *why;  /* when not continuous, or suspect: a sentence. Static storage. */
	const char *note; /* what people should know of the disk; NULL. Static storage. */
	uint64_t dirty_blocks; /* set in dirty now */
	uint64_t writes;       /* write requests seen so far */
};

struct capture;
struct tracker;

struct tracker_ops {
	enum tracker_kind kind;
	const char *name;

	/* The bitmaps and the remembered facts of disk index; valid as long as the tracker lives.
	 * ret_dirty->words is NULL with the scan tracker. */
	uint32_t (*block_bytes)(struct tracker *tracker, unsigned int disk);
	void (*bitmaps)(struct tracker *tracker, unsigned int disk, struct bitmap *ret_dirty,
			struct bitmap *ret_todo);
	struct tracker_disk_memory *(*memory)(struct tracker *tracker, unsigned int disk);

	/* Moves every dirty bit into todo (bitmap_move), ranges that the kernel side kept apart
	 * included. Returns 0, or -errno with a fault. */
	int (*take)(struct tracker *tracker, unsigned int disk, struct fault *fault);
	/* Looks at miss counters, passthrough commands, failed attachments... and fills *ret_state.
	 * A disk stays suspect until clear_suspect, which is called before the comparison of all its blocks
	 * begins (what happens later makes it suspect again). */
	int (*poll)(struct tracker *tracker, unsigned int disk,
		    struct tracker_disk_state *ret_state, struct fault *fault);
	void (*clear_suspect)(struct tracker *tracker, unsigned int disk);

	/* Figures for status: bytes of kernel memory, skipped program runs (all programs together). */
	uint64_t (*memory_bytes)(struct tracker *tracker);
	uint64_t (*missed_runs)(struct tracker *tracker);

	/* Capture (agent/capture.h), or NULL with the reason why this tracker, or this kernel, has none:
	 * a sentence, static storage. ops->capture itself is NULL for trackers that never have it. */
	struct capture *(*capture)(struct tracker *tracker, const char **ret_why_not);

	/* Stops using the tracker; pinned parts go on tracking. */
	void (*close)(struct tracker *tracker);
	/* The same, and removes what is pinned: tracking ends. */
	void (*remove)(struct tracker *tracker);
};

struct tracker {
	const struct tracker_ops *ops;
};

/* What a bit stands for lies between these. The upper one is what a batch can hold (flow.h). */
#define TRACKER_BLOCK_BYTES_MIN 4096u
#define TRACKER_BLOCK_BYTES_MAX (256u * 1024)
/* A disk's words are counted in cache lines, so that two disks never share one. */
#define TRACKER_WORDS_ALIGN 8u

static inline uint64_t tracker_align_words(uint64_t words)
{
	return (words + TRACKER_WORDS_ALIGN - 1) / TRACKER_WORDS_ALIGN * TRACKER_WORDS_ALIGN;
}

/* Chooses the block size of each disk (count of them in ret_block_bytes, garbage on failure): as small
 * as the bitmaps of all together fit in bitmap_bytes; the largest disk becomes coarser first. -ENOMEM with a
 * STOP fault when blocks would have to be larger than TRACKER_BLOCK_BYTES_MAX. */
int tracker_choose_blocks(const struct tracked_disk *disks, unsigned int count,
			  uint64_t bitmap_bytes, uint32_t *ret_block_bytes, struct fault *fault);

struct tracker_options {
	const char *pin_folder;	  /* under a mounted bpffs, for example /sys/fs/bpf/blkferry */
	const char *state_folder; /* holds the canary file */
	uint64_t bitmap_bytes;	  /* ceiling for one of the two bitmaps, all disks together */
	uint64_t ring_bytes;	  /* of capture: a power of two, at least 256 KiB; 0: no capture */
};

/* Attaches, or goes on with what an earlier agent pinned if that is whole and for the same disks;
 * runs the self-test; and only then returns. Whether a disk went on without a hole is said by its
 * state's is_continuous. -EOPNOTSUPP with a fault that says why when BPF cannot be had here (no BTF,
 * no bpffs, self-test failed, disk not request-based ...). */
int tracker_bpf_open(const struct tracker_options *options, const struct tracked_disk *disks,
		     unsigned int count, struct tracker **ret_tracker, struct fault *fault);
int tracker_scan_open(const struct tracker_options *options, const struct tracked_disk *disks,
		      unsigned int count, struct tracker **ret_tracker, struct fault *fault);
/* Ends the tracking that an earlier agent left pinned, if any. */
int tracker_bpf_remove_pins(const char *pin_folder, struct fault *fault);

#endif
