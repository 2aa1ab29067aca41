/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's state machine: sessions, phases, passes, commands. This is the main thread.
 *
 *   state         what is true in it
 *   no session    bits gather in `dirty`; `todo` is as the last session left it
 *   FULL          todo lists what of the first copy is not yet durable at the receiver
 *   RESYNC        todo lists what is not yet known to be the same there
 *   DELTA         todo lists what was taken from dirty and is not yet durable there
 *   CATCH_UP      writes are captured; what todo lists is copied inside the stream (stream.h)
 *   STREAMING     the same, and marks are made: todo lists what is no hole
 *   PAUSED        as before, but no pass runs
 *   CUTOVER       cutover.c has the word
 *   FENCED        the source writes no more; nothing is sent but FENCED itself
 */
#ifndef BLKFERRY_AGENT_REPLICATE_H
#define BLKFERRY_AGENT_REPLICATE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/capture.h"
#include "agent/options.h"
#include "agent/session.h"
#include "agent/source.h"
#include "agent/status.h"
#include "common/fault.h"

struct replicator {
	const struct agent_options *options;
	struct source *source;
	struct status *status;
	struct rate_limit *limit;
	struct session *session; /* NULL between sessions */
	uint8_t instance[WIRE_SESSION_LEN];
	char receiver_host[SESSION_HOST_MAX]; /* numeric; where it was reached last */
	uint32_t pass;
	bool is_paused, is_removed;
	bool has_been_complete; /* a pass ended with everything acknowledged, in this process */
	bool is_stopping;	/* read and written atomically: replicate_stop */
	uint64_t ship_rate;	/* bytes a second that passes moved lately */
	uint64_t own_stream;	/* id of a stream without capture */
	bool is_joined;		/* the stream goes on where the last session left it */
	uint64_t stream_pause_ns, stream_after_ns; /* back-off after a ring that was full */
	struct freezer *freezer;		   /* of a source that is fenced: it stays frozen */
	uint64_t cutover;     /* the one, or the checkpoint, under way; 0 none */
	uint64_t fenced;      /* the cutover we are fenced for; 0 none */
	bool is_fenced_heard; /* and the receiver knows it: there is nothing left to do */
};

int replicator_new(const struct agent_options *options, struct replicator **ret_replicator,
		   struct fault *fault);
void replicator_free(struct replicator *replicator);
/* Runs until replicate_stop, until the machine is removed at the receiver (0), or until something
 * fails that only a person can mend (-errno with fault). */
int replicator_run(struct replicator *replicator, struct fault *fault);
/* From a signal thread: end soon. What is pinned goes on tracking. */
void replicator_stop(struct replicator *replicator);
bool replicator_is_stopping(struct replicator *replicator);

/* replicate.c: one session's worth: rounds until it fails, is to end, or the source is fenced. */
int replicator_replicate(struct replicator *replicator, struct fault *fault);
bool replicator_is_scanning(const struct replicator *replicator);
struct session_setup replicator_session_setup(struct replicator *replicator);
/* For verify.c and cutover.c. Takes what was written since and copies until it is acknowledged. Returns
 * 0, -ECONNRESET when the session failed, -EINTR when a command or a cancel interrupted it. */
int replicator_ship(struct replicator *replicator, struct fault *fault);
/* Takes what was written since, and what is on its way; while streaming, `written` holds it, too. */
int replicator_take(struct replicator *replicator, struct fault *fault);
/* Copies what todo lists, without a take. */
int replicator_copy_todo(struct replicator *replicator, struct fault *fault);

/* replicate_stream.c */
/* When a session begins: opens the stream, and finds where it goes on. */
int replicator_join_stream(struct replicator *replicator, struct fault *fault);
/* May streaming begin, or go on? */
bool replicator_may_stream(struct replicator *replicator);
/* Streams as long as it goes, running commands. 0 when passes have to go on, or when the session's loop should
 * look why it ended. */
int replicator_run_stream(struct replicator *replicator, struct fault *fault);
/* Are writes captured and sent in order now? */
bool replicator_is_streaming(struct replicator *replicator);
/* Before any DATA. Harmless when not streaming. */
int replicator_leave_stream(struct replicator *replicator, enum capture_hole reason,
			    struct fault *fault);
/* While something else is done on the main thread: keeps the stream going. */
void replicator_tick(struct replicator *replicator);
/* While streaming: what was written up to now is applied at the receiver. 1: streaming ended, use passes. */
int replicator_drain_stream(struct replicator *replicator, struct fault *fault);
/* Runs the commands that came in, waiting until deadline_ns. False when the session is over. */
bool replicator_attend(struct replicator *replicator, uint64_t deadline_ns);
/* -ESTALE, -ENODEV when a disk is not what it was. */
int replicator_refresh_disks(struct replicator *replicator, uint64_t *refreshed_ns,
			     struct fault *fault);
bool replicator_should_stop(struct replicator *replicator);
/* What ended the session, as the fault. */
int replicator_session_fault(struct replicator *replicator, struct fault *fault);

#endif
