/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session's stream: what was captured, and blocks copied in between, as records in batches, in one order.
 *
 *   main thread      everything but what is named below
 *   sender threads   compress and send (stream_sender.h)
 *   control reader   stream_on_ack
 *
 *   capture's ring --pump--> batch being filled --> sender --> receiver's journal
 *   todo --round: read----------^                                   |
 *     ^  ^---------- bits cleared, ring released <-- settle <-- STREAM_ACK (I6)
 *     +-- take: dirty bits of holes and discards
 *
 * A round copies what todo lists. Each block is read after the ring's records of then were put into batches, and
 * its COPY goes before any record that came meanwhile (I5). The next take waits until all of the round
 * is acknowledged, so that an old acknowledgement cannot clear a newer bit.
 *
 * The stream is consistent where every hole that was counted lies before a finished round. Only there are marks
 * made; one is confirmed when the requests that were on their way at it have been seen to complete, and no
 * hole was counted meanwhile (capture.h).
 *
 * Without capture there are neither records nor rounds, only marks that are forced (stream_mark_frozen).
 */
#ifndef BLKFERRY_AGENT_STREAM_H
#define BLKFERRY_AGENT_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/capture.h"
#include "agent/source.h"
#include "agent/status.h"
#include "common/compress.h"
#include "common/fault.h"
#include "common/wire.h"

struct stream_setup {
	struct source *source;
	struct status *status;
	struct capture *capture; /* NULL: marks only */
	uint64_t id;		 /* capture's, or one of the agent's own making */
	struct wire_stream_ready ready;
	uint64_t interval_ns; /* between marks */
	enum compress_codec codec;
	unsigned int threads;
	/* As in stream_sender.h. */
	int (*send)(void *context, const void *bytes, size_t size, struct fault *fault);
	void (*failed)(void *context, const struct fault *fault);
	void *context;
};

struct stream;

int stream_new(const struct stream_setup *setup, struct stream **ret_stream);
/* From any thread: the session is over, everything that waits here returns -ECONNRESET. */
void stream_fail(struct stream *stream);
/* `send` must return soon by then. NULL is fine. */
void stream_free(struct stream *stream);
/* On the control reader's thread. -EPROTO when it makes no sense. */
int stream_on_ack(struct stream *stream, const struct wire_stream_ack *ack);

/*
 * Where the stream goes on. joined: behind what the receiver has, without a gap. Otherwise all that capture holds
 * has become bits in todo, and capture is off. Called once, first.
 */
int stream_join(struct stream *stream, bool *ret_is_joined, struct fault *fault);
/* May blocks travel by DATA now? Not while batches may still be applied after them: stream_leave first. */
bool stream_is_left(const struct stream *stream);
/*
 * The end of streaming for now: capture off, what the ring still holds sent, GAP, everything applied by the
 * receiver. Then DATA may mend the rest. reason: for people, if it is a gap that they should hear of; else
 * CAPTURE_HOLE_NONE. Harmless when it was left before.
 */
int stream_leave(struct stream *stream, enum capture_hole reason, struct fault *fault);
/* Between stream_begin and stream_leave. */
bool stream_is_on(const struct stream *stream);
/* Capture on; the stream is not consistent before a round has ended. */
void stream_begin(struct stream *stream);

/*
 * One step of everything, without waiting for the receiver longer than room for batches takes: acknowledgements,
 * the ring, a piece of a round where that is due, marks, the batch that is old enough. Returns 0; -ECONNRESET when
 * the session failed; -ENOBUFS when capture's ring was full and streaming has to end (stream_leave).
 */
int stream_step(struct stream *stream, struct fault *fault);
/* Waits a moment for something to do. */
void stream_rest(struct stream *stream);
/* Since the last hole that was counted, a round has ended: marks are made. */
bool stream_is_consistent(const struct stream *stream);
/* Captured and not yet acknowledged, in bytes of the ring. */
uint64_t stream_lag_bytes(const struct stream *stream);
/* When the newest mark that is durable was made (os_monotonic_ns); 0: none yet. */
uint64_t stream_marked_ns(const struct stream *stream);
/* What was not copied since it could not be read: it stays in todo, and no mark is made. */
bool stream_has_unreadable(const struct stream *stream);

/*
 * Takes what was written, copies it, and returns when all that completed before the call is applied at the
 * receiver. should_stop (asked all the time; may be NULL): true ends it with -EINTR.
 */
typedef bool stream_stop_fn(void *context);
int stream_drain(struct stream *stream, stream_stop_fn *should_stop, void *context,
		 struct fault *fault);
/* Takes what was written, and what is on its way; what was captured so far is in batches. */
int stream_take_all(struct stream *stream, stream_stop_fn *should_stop, void *context,
		    struct fault *fault);
/* Frozen and drained: was anything written since, or is anything on its way? Then 1. */
int stream_has_moved(struct stream *stream, struct fault *fault);

/*
 * Makes a mark now, and waits until it is confirmed and durable; while streaming. flags: WIRE_MARK_*. -EAGAIN when
 * it cannot be consistent now; -ETIMEDOUT.
 */
int stream_mark(struct stream *stream, uint32_t flags, uint64_t deadline_ns, uint64_t *ret_number,
		struct fault *fault);
/* The same when everything was frozen, shipped by DATA and acknowledged: the target itself is the checkpoint. */
int stream_mark_left(struct stream *stream, uint32_t flags, uint64_t deadline_ns,
		     uint64_t *ret_number, struct fault *fault);

#endif
