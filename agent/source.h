/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source: the machine's disks, open for reading, with their tracker.
 *
 * For every disk `todo` lists what the replica lacks. source_take is the only way into it, and only the
 * receiver's acknowledgement (flow.c) leads out. Used by one thread, but for the bitmaps, whose words
 * change atomically.
 */
#ifndef BLKFERRY_AGENT_SOURCE_H
#define BLKFERRY_AGENT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/options.h"
#include "agent/platform.h"
#include "agent/tracker.h"
#include "common/bitmap.h"
#include "common/fault.h"
#include "common/wire.h"

struct capture;

struct source_disk {
	struct tracked_disk disk;
	int fd; /* O_RDONLY | O_DIRECT */
	uint32_t block_bytes;
	struct bitmap dirty; /* words NULL: the scan tracker, which sees no writes */
	struct bitmap todo;
	struct tracker_disk_memory *memory;
	/* Written (taken, or captured) since source_watch_changes; and since source_watch_written. words NULL:
	 * not watched. */
	struct bitmap changed, written;
	struct swap_range swap[SWAP_RANGES_MAX];
	unsigned int swap_count;
};

struct source {
	const struct agent_options *options;
	struct tracker *tracker;
	struct source_disk disks[TRACKER_DISKS_MAX];
	unsigned int count;
	char note[192]; /* of the last source_poll: what people should know of a disk, or "" */
	struct start_note start; /* what the last start of the system meant */
	/* Of the tracker, as of the last source_poll; atomic, for the heartbeat thread. */
	uint64_t writes_seen, missed_runs, tracker_bytes;
};

/* Finds and opens the disks and attaches the tracker. Says in the log what it chose and why. */
int source_open(const struct agent_options *options, struct source **ret_source,
		struct fault *fault);
/* No acknowledgement will come any more: leaves what a stop of the system needs to know. Before source_close. */
void source_end_in_order(struct source *source);
/* Closes; what is pinned goes on tracking unless ends_tracking. */
enum source_end { SOURCE_KEEP_TRACKING = 1, SOURCE_END_TRACKING };
void source_close(struct source *source, enum source_end end);

/* Capture, or NULL with a sentence that says why there is none. */
struct capture *source_capture(struct source *source, const char **ret_why_not);

/* Moves what was written since into todo, without the contents of swap. */
int source_take(struct source *source, struct fault *fault);
/* The same while capture is on: without the requests that are merely on their way. */
int source_take_captured(struct source *source, struct capture *capture, struct fault *fault);
/* A write was captured: for `changed` and `written`. */
void source_note_captured(struct source *source, unsigned int disk, uint64_t offset,
			  uint64_t length);
/* Clears the blocks that lie wholly in swap. */
void source_leave_out_swap(const struct source *source, unsigned int disk, struct bitmap *map);
/* Makes todo of one disk list everything worth copying: allocated blocks, or all of them if
 * allocated-only is off. Until source_adopt_replica it counts as knowing of no replica. */
int source_list_all(struct source *source, unsigned int disk, struct fault *fault);
/* From now on todo lists what the replica of that id lacks. */
enum source_stage {
	SOURCE_STAGE_COPY = 1, /* first copy */
	SOURCE_STAGE_COMPARE, /* what todo lists may be there already: compare, then copy what differs */
	SOURCE_STAGE_DELTA, /* todo lists what was written since */
};
void source_adopt_replica(struct source *source, unsigned int disk,
			  const uint8_t replica[WIRE_REPLICA_LEN], uint64_t epoch,
			  enum source_stage stage);

/* Asks the tracker how the disks are. *ret_relist is set for each that is suspect (I3), and stays so until
 * source_list_all lists it anew. */
int source_poll(struct source *source, bool ret_relist[TRACKER_DISKS_MAX], char *ret_why,
		size_t why_size, struct fault *fault);

/* True when any disk is in that stage. */
/* -EBUSY when a write to any of the disks may have been missed. */
int source_check_suspects(struct source *source, struct fault *fault);
bool source_has_stage(const struct source *source, enum source_stage stage);

uint64_t source_todo_bytes(const struct source *source);
uint64_t source_dirty_bytes(const struct source *source);

/* Collects in `changed` what was written from now on, for the certification of a cutover. */
int source_watch_changes(struct source *source, struct fault *fault);
void source_unwatch_changes(struct source *source);
/* The same in `written`, for a verify while writes are captured; called again, it begins anew. */
int source_watch_written(struct source *source, struct fault *fault);
void source_unwatch_written(struct source *source);

#endif
