/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the journal's files share: journal.c appends, journal_scan.c opens, journal_read.c reads and forgets. */
#ifndef BLKFERRY_RECEIVER_JOURNAL_INTERNAL_H
#define BLKFERRY_RECEIVER_JOURNAL_INTERNAL_H

#include <limits.h>
#include <stddef.h>

#include "common/os_thread.h"
#include "receiver/journal.h"
#include "receiver/journal_format.h"

#define JOURNAL_NAME_MAX 64 /* of a file in it, with the slash */

struct journal_file {
	uint64_t sequence; /* of its first record */
	uint64_t bytes;
};

/* Batches of one stream that follow each other: batch first_batch + i has sequence first_sequence + i. */
struct journal_run {
	uint64_t stream, first_batch, first_sequence;
};

struct journal_end {
	uint64_t sequence; /* 0: none */
	struct journal_place place;
};

struct journal {
	char folder[PATH_MAX - JOURNAL_NAME_MAX];
	int lock_fd;
	uint64_t id;
	uint64_t segment_bytes;

	/* The appending thread's. */
	int fd;		   /* the newest segment */
	uint64_t position; /* its length */
	uint64_t durable_position;
	struct journal_end end;
	bool is_broken; /* nobody knows what is durable */

	/* The reading thread's. */
	int read_fd;
	uint64_t read_segment; /* sequence that read_fd is named by */
	uint64_t read_position;
	struct journal_end read_end; /* what was read last; the next lies at read_position */

	struct os_mutex lock; /* for all below */
	struct journal_file *files;
	unsigned int file_count, file_room;
	struct journal_run *runs;
	unsigned int run_count, run_room;
	struct journal_end durable, applied;
	int applied_fd;
	unsigned int applied_slot; /* that is written next */
	bool is_applied_broken;
};

struct journal_record;

void journal_segment_path(const struct journal *journal, uint64_t sequence, char path[PATH_MAX]);
void journal_applied_path(const struct journal *journal, char path[PATH_MAX]);
/* Makes a segment, durably, whose first record will have this sequence, and appends to it from now on. */
int journal_segment_add(struct journal *journal, uint64_t sequence);
/* Notes the segment or batch in the lists. -ENOMEM. */
int journal_file_note(struct journal *journal, uint64_t sequence, uint64_t bytes);
int journal_run_note(struct journal *journal, uint64_t sequence, const struct wire_stream *head);
/* Reads the slots of the applied file; makes the file when there is none. */
int journal_applied_load(struct journal *journal, struct fault *fault);
/* Removes segments that hold nothing behind the applied place. Under lock. */
void journal_forget(struct journal *journal);

/* The opening scan: checks every record, cuts a torn end, fills the lists and the ends. */
int journal_scan(struct journal *journal, struct fault *fault);

int journal_damaged(const struct journal *journal, struct fault *fault, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The record at a position: 1 and its size in the file, with the body (room JOURNAL_LENGTH_MAX); 0 when it is not
 * a valid one, or not of this sequence; -errno when reading failed. */
int journal_record_read(int fd, const struct journal *journal, uint64_t position, uint64_t sequence,
			void *body, uint64_t *ret_bytes);

#endif
