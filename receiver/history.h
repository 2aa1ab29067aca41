/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The history of a machine: its checkpoints, and for each interval between two of them the old contents of
 * what was overwritten in it (undo records). So every kept checkpoint can be read while the targets go on
 * (blkferry-journal(5), receiver/history_format.h).
 *
 *   checkpoint c_1 --- undo of [c_1, c_2) --- c_2 --- undo of [c_2, now): open --- target
 *
 * A block as it was at c_k: its record in the first interval from c_k on that has one, else the target.
 * Order (each arrow is a promise): old contents read -> undo record durable -> target overwritten. Applying
 * the same writes again finds the blocks protected already, and changes no undo record (I7).
 *
 * A closed interval is one immutable file. Dropping a checkpoint merges the intervals on both sides of it:
 * the older record of a block wins. A mark is *pending* until it is confirmed; a pending one that a newer
 * confirmed one follows is dropped. As long as no checkpoint is kept, nothing is protected and nothing
 * costs.
 *
 * Blocks are 4096 bytes. Thread-safe.
 */
#ifndef BLKFERRY_RECEIVER_HISTORY_H
#define BLKFERRY_RECEIVER_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/fault.h"

#define HISTORY_BLOCK_BYTES 4096u
#define HISTORY_LABEL_MAX   64
#define HISTORY_DISKS_MAX   64
#define HISTORY_RULES_MAX   16

struct history;

/* "5m:1s, 1h:1m, 24h:10m": up to an age of 5 minutes a checkpoint every second, ... Ages grow; what is older
 * than the last goes. (receiver/retention.c parses it.) */
struct history_rule {
	uint64_t age_ns, every_ns;
};

/* Reads the target's bytes as they are now; called from whatever thread calls history_*. offset and length are
 * multiples of 4096, except at the end of a disk. 0 or -errno. */
typedef int history_read_fn(void *context, unsigned int disk, void *data, uint64_t offset,
			    uint32_t length);

struct history_setup {
	const char *folder;
	unsigned int disks; /* slots */
	const uint64_t *disk_bytes;
	const struct history_rule *rules;
	unsigned int rule_count;
	uint64_t size_limit_bytes; /* of the folder; the oldest checkpoints go first. 0: none */
	history_read_fn *read;
	void *context;
};

/* Opens what is in folder, or makes it. What was being written when the power went is cut off (it protected
 * nothing yet). Damage elsewhere drops the checkpoints that need it, loudly, never others. */
int history_open(const struct history_setup *setup, struct history **ret_history,
		 struct fault *fault);
void history_close(struct history *history);

/* A range that is going to be overwritten; inside its disk. */
struct history_extent {
	unsigned int disk;
	uint64_t offset, length;
};
/*
 * What the caller has to see to, so that a power cut cannot mix contents from before and after a mark:
 * - Before history_mark(M): all writes that belong before M have completed and the targets are *flushed*. So
 *   after a power cut whatever is replayed from before M finds M's contents on the target, and protects those.
 * - No write belongs to both sides: between the call of history_protect and the completion of the write no
 *   history_mark is called, whatever thread writes.
 */

/* Before these ranges are overwritten: the old contents of every block in them that has no record in the open
 * interval are read and made durable. Returns only then. Many extents in one call cost one fdatasync. Nothing
 * to do when no checkpoint is kept. -ENOSPC with nothing protected: the caller may history_drop_oldest, or
 * history_clear and go on without. After a failed sync every call fails until history_clear. */
int history_protect(struct history *history, const struct history_extent *extents,
		    unsigned int count, struct fault *fault);

enum history_flag {
	HISTORY_CONFIRMED = 1,
	HISTORY_FROZEN = 2, /* all file systems were frozen */
	HISTORY_QUIET = 4,
	HISTORY_PINNED =
		8, /* only in struct history_point: retention leaves it: labelled, or a view is open on it */
	HISTORY_MIXED =
		16, /* no state that the disks were ever in: only its label or number finds it */
};

struct history_point {
	uint64_t number;  /* of the mark; grows */
	uint64_t time_ns; /* wall clock at the source, since 1970 */
	unsigned int flags;
	uint64_t undo_bytes; /* of its interval, on disk */
	char label[HISTORY_LABEL_MAX];
};

/* What was written before belongs before it. Durable when it returns. A number that is not larger than the
 * newest known is one that is replayed: nothing happens, 0. -EMFILE: there are too many marks, the caller may
 * history_drop_oldest. */
int history_mark(struct history *history, uint64_t number, uint64_t time_ns, unsigned int flags,
		 struct fault *fault);
/* It is a checkpoint from now on. Unknown numbers (dropped, replayed) are fine. */
int history_confirm(struct history *history, uint64_t number, struct fault *fault);
uint64_t history_newest_mark(struct history *history); /* confirmed or not; 0: none */
/* "" takes the label off. -ENOENT, -EEXIST (label is another's). */
int history_label(struct history *history, uint64_t number, const char *label, struct fault *fault);
/* It is none any more; nothing happens when there is none of that number. While somebody reads it, it only loses its
 * label. */
int history_drop_point(struct history *history, uint64_t number, struct fault *fault);

/* Confirmed ones, oldest first; the caller frees *ret_points. */
int history_list(struct history *history, struct history_point **ret_points,
		 unsigned int *ret_count);
/* "latest", a label, "#NUMBER", a time ("2026-11-21 14:03:07", "14:03:07" today, "-90s", "-5m": the newest
 * at or before it). The fault names the nearest ones when there is none. */
int history_find(struct history *history, const char *text, struct history_point *ret_point,
		 struct fault *fault);
/* Thins by the rules and the limit as of now_ns (wall clock). The newest checkpoint stays. Call now and then, from one thread; it may take
 * seconds, during which the other functions go on. */
int history_thin(struct history *history, uint64_t now_ns, struct fault *fault);
/* Drops the oldest kept checkpoint that is not pinned. -ENOENT when there is none. Behind a pinned one it takes as
 * long as a merge: that is what makes room then. */
int history_drop_oldest(struct history *history, struct fault *fault);
/* All of them: the replica begins anew, or goes on without. Makes a history usable again whose storage failed. If
 * this fails, too, the targets must not be overwritten: the checkpoints that are on disk would lack it. */
int history_clear(struct history *history, struct fault *fault);
uint64_t history_bytes(struct history *history);

/*
 * Reading a checkpoint. It is pinned as long as the reader is open.
 *
 * The map is a file of one bit a block and disk (disk after disk, each beginning at a multiple of 4096
 * bytes): set, before the target's block is overwritten, for every block that differs from the target. Whoever
 * reads a block from the target himself and finds its bit clear *afterwards* has the checkpoint's contents; else
 * he asks history_reader_read.
 */
struct history_reader; /* used by any threads */
/* map_path NULL: a map in memory, for one's own use. */
int history_reader_open(struct history *history, uint64_t number, const char *map_path,
			struct history_reader **ret_reader, struct fault *fault);
void history_reader_close(struct history_reader *reader);
int history_reader_read(struct history_reader *reader, unsigned int disk, void *data,
			uint64_t offset, uint32_t length, struct fault *fault);
/* The next range, at or after *offset, of blocks that have undo records from this checkpoint on: what a
 * rollback has to put back. false: no more on this disk. */
bool history_reader_next_changed(struct history_reader *reader, unsigned int disk, uint64_t *offset,
				 uint64_t *ret_length);

#endif
