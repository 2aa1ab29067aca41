/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal of a machine: the stream's batches as they came, in append-only segments, until they are on
 * the targets (blkferry-journal(5), receiver/journal_format.h). What the target holds is never the only
 * copy of an unapplied write (I7).
 *
 * One thread appends and syncs, another reads and calls journal_applied; both at the same time. Applying
 * from an older place again gives the same in the end, so the applied place may lag behind.
 */
#ifndef BLKFERRY_RECEIVER_JOURNAL_H
#define BLKFERRY_RECEIVER_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"
#include "common/wire.h"

struct journal;

/* A batch's name; all 0: none. */
struct journal_place {
	uint64_t stream, batch;
	uint64_t position; /* wire_stream.to of it */
};

/* Opens the journal in folder, or makes it. A damaged end (a batch that was being written when the power went)
 * is cut off, and said in the log; damage anywhere before is refused with a STOP fault that says what to
 * do (journal_discard, and a resync). *ret_end is the newest whole batch, *ret_applied the newest that was
 * noted as applied: those in between are to be applied before anything else. */
int journal_open(const char *folder, struct journal **ret_journal, struct journal_place *ret_end,
		 struct journal_place *ret_applied, struct fault *fault);
void journal_close(struct journal *journal);
/* Removes everything in folder. What was not applied is lost: all disks have to be compared. */
int journal_discard(const char *folder, struct fault *fault);

/* Appends a checked STREAM frame: head and its stored_bytes. Not durable until journal_sync. The batch must
 * follow the one before of the same stream (batch + 1), or begin another stream; -EPROTO otherwise. -ENOSPC
 * (RETRY) when the file system is full: nothing was appended. */
int journal_append(struct journal *journal, const struct wire_stream *head, const void *stored,
		   struct fault *fault);
/* Makes all that was appended durable; *ret_durable is the newest batch of it. After a failure the journal
 * takes nothing any more (nobody knows what is durable) until it is opened anew. */
int journal_sync(struct journal *journal, struct journal_place *ret_durable, struct fault *fault);
bool journal_is_broken(const struct journal *journal); /* it has to be opened anew */

/* The next durable batch behind *place (all 0: the oldest kept), into buffer (room at least
 * WIRE_STREAM_FRAME_MAX; struct wire_stream, then the stored bytes). Checks it. 1: read, *place moved; 0:
 * none yet; -errno. */
int journal_read(struct journal *journal, struct journal_place *place, void *buffer,
		 struct fault *fault);
/* All up to place is on the targets and flushed: noted durably, and segments that hold nothing else are
 * removed. */
int journal_applied(struct journal *journal, const struct journal_place *place,
		    struct fault *fault);
/* On disk now. Thread-safe. */
uint64_t journal_bytes(struct journal *journal);

#endif
