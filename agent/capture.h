/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Capture: the bytes of each write in completion order, all disks of the machine in one ring in kernel
 * memory, pinned. A part of the bpf tracker (agent/linux/capture*.c); other trackers have none.
 *
 *   mode    what happens to a write that completes
 *   OFF     its bits are set in `dirty`
 *   ON      its bytes go into the ring, in pieces of at most 4096. Only what cannot be captured sets bits:
 *           that is a hole, and is counted *before* the completion is reported
 *   FULL    the ring had no room: as OFF, until capture_start. What is in the ring stays good
 *
 * A discard is no hole: it sets bits, for its contents are nobody's until they are written again. Nor is what is
 * written to swap, and marked so by the kernel: bits only, which the agent drops.
 *
 * Positions are byte offsets in the endless ring: they only grow, and name a record for the life of
 * the ring (its stream id). What lies below the released position is forgotten; the rest outlives a
 * killed agent. I4: reserve order is completion order; if B was issued after A completed, A's records lie
 * before B's.
 *
 * Changing the mode races with programs that run at that moment. A program that saw OFF or FULL sets its bits and
 * then looks again: it counts a hole if the mode is ON by now (else a take after capture_start could come
 * before the bits, and the mark after it would be false). A program that saw ON submits its record and
 * then looks again: it sets its bits as well if the mode is not ON any more, for the record may come after the
 * last one that capture_spill saw. capture_start spills what is left in the ring before it turns the mode.
 *
 * What makes a position consistent (a state that a power cut could have left): every hole counted up to
 * it was read back from the disk and that copy lies before it, and no request that was on its way when it
 * was produced completes without being seen (capture_notes). Used by one thread.
 */
#ifndef BLKFERRY_AGENT_CAPTURE_H
#define BLKFERRY_AGENT_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"

#define CAPTURE_PIECE_BYTES 4096u /* most data in one record */

struct capture;

enum capture_mode { CAPTURE_OFF = 1, CAPTURE_ON, CAPTURE_FULL };

enum capture_kind {
	CAPTURE_DATA = 1, /* length bytes at data */
	CAPTURE_ZERO,	  /* write-zeroes: reads as zeroes; no data */
};

struct capture_record {
	enum capture_kind kind;
	unsigned int disk;	 /* as given to tracker_bpf_open */
	uint64_t offset, length; /* bytes; whole sectors, but not always whole blocks */
	uint64_t position, end;	 /* of this record, and of the one after it */
	uint64_t holes; /* capture_holes when it was reserved, or somewhat later: never earlier */
	uint8_t data[CAPTURE_PIECE_BYTES];
};

/* Why there was a hole: the newest one's reason, for status. */
enum capture_hole {
	CAPTURE_HOLE_NONE = 1,
	CAPTURE_HOLE_RING_FULL,
	CAPTURE_HOLE_FAILED_WRITE, /* or one that completed only in part */
	CAPTURE_HOLE_UNSEEN, /* a completion that no program saw, found when its tag was used again */
	CAPTURE_HOLE_UNKNOWN, /* an operation, size or page that the programs do not know how to copy */
	CAPTURE_HOLE_ENCRYPTED, /* inline encryption: the pages are not what the disk gets */
};
const char *capture_hole_name(enum capture_hole hole); /* "ring full" ... */

/* Of the ring: random, made with it. Another id means that positions of before say nothing. */
uint64_t capture_stream_id(const struct capture *capture);
uint64_t capture_ring_bytes(const struct capture *capture);

/* From now on writes are captured; what completed before, or does so meanwhile, has set its bits. Harmless
 * when it is on. */
void capture_start(struct capture *capture);
void capture_stop(struct capture *capture);
enum capture_mode capture_get_mode(const struct capture *capture);

/* Every record whose write was reported complete before this call lies below. */
uint64_t capture_produced(const struct capture *capture);
uint64_t capture_released(const struct capture *capture);
/* The record at *position, which is moved behind it. False when there is none yet (the end, or one that is
 * being filled at this moment). Data is copied out of the ring. */
bool capture_next(struct capture *capture, uint64_t *position, struct capture_record *ret_record);
/* The receiver has all below position durably (I6): its room is free again. */
void capture_release(struct capture *capture, uint64_t position);
/* Every record from position on, up to the end, becomes bits in todo, and is released: the stream ends
 * here (a gap), and delta passes take over. Capture is stopped first. Nothing is lost if killed midway. */
int capture_spill(struct capture *capture, uint64_t position, struct fault *fault);

/* Counts up for every hole, after its bits are set, before the completion is reported (of one that was not seen:
 * before it counts as settled). To read back all holes up to a number: ask for the number, then capture_take. */
uint64_t capture_holes(const struct capture *capture);
enum capture_hole capture_last_hole(const struct capture *capture);

/* Moves the bits that were set in dirty into todo, without the requests that are merely on their way (which
 * tracker ops' take() lists as well): those will be captured. */
int capture_take(struct capture *capture, unsigned int disk, struct fault *fault);

/*
 * Requests on their way at one moment, of all disks, and what became of them. A mark is made in this order:
 * all holes counted are read back; capture_produced, the mark's position; capture_notes_take. It may be
 * confirmed when the notes have settled and then, asked for after that, holes have not counted up.
 */
struct capture_notes;
int capture_notes_new(const struct capture *capture, struct capture_notes **ret_notes);
void capture_notes_free(struct capture_notes *notes);
void capture_notes_take(struct capture *capture, struct capture_notes *notes);
/* True when each was seen to complete, or its disk was found idle. (One that was not seen counts a hole when
 * it is found.) Looks at the disks' idle state where notes stay; an idle disk's stale notes become holes. */
bool capture_notes_have_settled(struct capture *capture, struct capture_notes *notes);

#endif
