/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the history's files share.
 *
 *   history.c         opening: which files and marks go together
 *   history_log.c     the points file
 *   history_points.c  marks: making, confirming, dropping, listing
 *   history_find.c    a checkpoint by what a person calls it
 *   history_protect.c undo records before an overwrite
 *   history_part.c    the file that they go to, and its index in memory
 *   history_file.c    closed files and their indexes
 *   history_thin.c, history_merge.c   retention
 *   history_reader.c  reading a checkpoint
 *   history_record.c  what stands in the files: made, and checked; no I/O
 *
 * Locks, in this order: merge_lock (one merge at a time), change_lock (who changes the points or replaces files; held over I/O), append_lock
 * (who writes to the open part; held over I/O), lock (everything in memory; never held over I/O, page faults
 * of mapped indexes excepted). Closed files do not change; a reference keeps their index mapped. Their path may go
 * at any time: who opens one and gets -ENOENT looks again, since a merged file is there by then.
 */
#ifndef BLKFERRY_RECEIVER_HISTORY_INTERNAL_H
#define BLKFERRY_RECEIVER_HISTORY_INTERNAL_H

#include <limits.h>

#include "common/bitmap.h"
#include "common/compress.h"
#include "common/os_thread.h"
#include "receiver/history.h"
#include "receiver/history_format.h"

#define HISTORY_NAME_MAX 64	   /* of a file in the folder, with the slash */
#define HISTORY_MERGING	 "merging" /* a merge under way; removed on opening */
#define HISTORY_WINDOW	 256u	   /* blocks that are looked at, read and written at a time */

/* A closed file. */
struct history_file {
	unsigned int refs; /* under lock */
	uint64_t first, last;
	uint64_t bytes; /* with its index */
	uint64_t count;
	const struct history_index_entry *entries;
	void *map; /* that entries lie in; NULL: they are allocated */
	size_t map_bytes;
};

/* Positions that are none. */
#define PART_CLAIMED 0u /* somebody is reading the old contents, or writing them down */
#define PART_ABSENT  1u /* that failed: as if it were not there */

/* The open file. */
struct history_part {
	uint64_t serial;
	int fd; /* -1: nothing was written yet, and there is no file */
	uint64_t end, durable;
	bool is_syncing, is_named; /* its name is durable */
	struct history_index_entry *entries;
	uint32_t count, room;
	uint32_t *slots; /* open addressing: entry + 1 */
	uint32_t slot_mask;
};

struct history_mark {
	uint64_t number, time_ns, serial;
	unsigned int flags; /* without HISTORY_PINNED */
	unsigned int readers;
	char label[HISTORY_LABEL_MAX];
};

/* Buffers of one call of history_protect; kept for the next. */
struct history_worker {
	struct history_worker *next;
	struct compressor *compressor;
	uint64_t keys[HISTORY_WINDOW];
	uint32_t offsets[HISTORY_WINDOW]; /* in records */
	uint8_t data[HISTORY_WINDOW * HISTORY_BLOCK_BYTES];
	uint8_t records[HISTORY_WINDOW * HISTORY_RECORD_MAX];
};

struct history {
	char folder[PATH_MAX - HISTORY_NAME_MAX];
	int lock_fd;
	uint64_t id;
	unsigned int disks;
	uint64_t disk_bytes[HISTORY_DISKS_MAX];
	struct history_rule rules[HISTORY_RULES_MAX];
	unsigned int rule_count;
	uint64_t size_limit_bytes;
	uint32_t part_blocks;
	unsigned int points_max;
	history_read_fn *read;
	void *context;

	struct os_mutex merge_lock, change_lock;
	int log_fd;
	uint64_t log_slots, log_used; /* entries that fit, that are written */
	bool is_log_broken;
	bool has_bad_entries; /* found on opening */

	struct os_mutex append_lock;
	struct os_mutex lock; /* for all below */
	struct os_cond changed;
	struct history_mark *marks; /* by number; changed with change_lock held as well */
	unsigned int mark_count, mark_room;
	uint64_t newest_mark;
	uint64_t
		interval_serial; /* of the newest mark: files from it on belong to the open interval */
	struct history_file **files;
	unsigned int file_count, file_room;
	struct history_part part;
	uint64_t appends;    /* counts up when records become visible */
	unsigned int active; /* calls that have claims in the part */
	bool is_switching;
	int broken; /* a failed sync: -errno until history_clear */
	struct history_worker *workers;
	struct history_reader *readers;
};

int history_failed(const struct history *history, int error, struct fault *fault);

/* history_log.c */
int history_log_open(struct history *history, struct fault *fault);
/* Durable when it returns. change_lock. */
int history_log_append(struct history *history, const struct history_entry *entries,
		       unsigned int count, struct fault *fault);
/* Writes it anew, with the marks that there are. change_lock. */
int history_log_compact(struct history *history, struct fault *fault);

/* history_points.c */
int history_mark_add(struct history *history, const struct history_mark *mark);
struct history_mark *history_mark_find(struct history *history, uint64_t number);
void history_mark_remove(struct history *history, unsigned int index);
/* The unconfirmed ones below it are none any more. */
void history_mark_confirmed(struct history *history, uint64_t number);
/* change_lock. Drops these, durably, and what only they needed. */
int history_drop(struct history *history, const uint64_t *numbers, unsigned int count,
		 struct fault *fault);
/* change_lock. Removes files that no mark needs. */
int history_forget(struct history *history, struct fault *fault);

/* history_file.c */
void history_undo_path(const struct history *history, uint64_t first, uint64_t last,
		       char path[PATH_MAX]);
/* Opens a closed file, making its index if it has to. A newest one's torn end is cut, and closed. -EBADMSG when
 * it is damaged; 0 with *ret_file NULL when nothing is in it (it is removed). */
int history_file_open(struct history *history, uint64_t first, uint64_t last, bool is_newest,
		      struct history_file **ret_file);
/* For a file just written, whose END is at undo_bytes' end. Takes entries (allocated, sorted). */
struct history_file *history_file_new(struct history *history, uint64_t first, uint64_t last,
				      uint64_t undo_bytes, struct history_index_entry *entries,
				      uint64_t count);
/* lock */
int history_file_add(struct history *history, struct history_file *file);
/* The first in the list that begins at this serial or later: they are in the order of their serials. lock */
unsigned int history_file_from(const struct history *history, uint64_t serial);
void history_file_put(struct history *history, struct history_file *file);
void history_file_unlink(const struct history *history, uint64_t first, uint64_t last);
/* The block of key at position in an undo file opened with history_file_fd. */
int history_file_fd(const struct history *history, uint64_t first, uint64_t last);
int history_record_load(int fd, uint64_t seed, uint64_t position, uint64_t key,
			uint8_t record[HISTORY_RECORD_MAX]);
int history_entries_compare(const void *left, const void *right);

/* history_part.c */
void history_part_init(struct history_part *part, uint64_t serial);
void history_part_fini(struct history_part *part);
/* lock */
struct history_index_entry *history_part_find(const struct history_part *part, uint64_t key);
int history_part_claim(struct history_part *part, uint64_t key);
/* Appends, whole or not at all. No lock. */
int history_part_append(struct history *history, const void *records, size_t size,
			uint64_t *ret_position);
/* Durable up to end of the part of this serial; calls at the same time share one sync. No lock. */
int history_part_sync(struct history *history, uint64_t serial, uint64_t end);
/* Closes the part if anything is in it; the next one has the next serial. No lock. */
int history_part_switch(struct history *history);
/* Throws away what is in it, when no mark needs that. What was broken begins anew. No lock. */
void history_part_discard(struct history *history);

/* history_reader.c. lock: sets the bits of these ranges in every reader's map. */
void history_readers_note(struct history *history, const struct history_extent *extents,
			  unsigned int count);

/* history_merge.c. change_lock must not be held. Merges closed files that no mark separates: where the mark
 * before them is older than the first rule's age, where there are many, or everywhere. */
int history_merge(struct history *history, uint64_t now_ns, bool is_everywhere,
		  struct fault *fault);

#endif
