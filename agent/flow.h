/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flow of a session: which blocks the sender threads take next, in which epoch they go, and what
 * the receiver's acknowledgement settles.
 *
 *   main thread      flow_run_pass: offers the set bits of a work bitmap, returns when all is settled
 *   sender threads   flow_next: a batch to read and send, or a barrier to send
 *   control reader   flow_on_ack, flow_on_verdicts
 *
 * I2, I6: a bit of the work bitmap is cleared only when the epoch that its block was sent in (or
 * found the same in) has been acknowledged as durable. So whatever breaks, the bits say what is left.
 *
 * An epoch is closed after a second, when its log is full, or when the pass has handed out
 * everything; each connection then sends BARRIER. At most FLOW_EPOCHS are open or unacknowledged; then
 * the senders wait, which bounds the memory.
 */
#ifndef BLKFERRY_AGENT_FLOW_H
#define BLKFERRY_AGENT_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "common/bitmap.h"
#include "common/fault.h"
#include "common/wire.h"

#define FLOW_BATCH_BYTES   (256u * 1024) /* read and sent as one */
#define FLOW_BATCH_EXTENTS 64
#define FLOW_EPOCHS	   4
#define FLOW_EPOCH_ENTRIES 16384
#define FLOW_BLOCK_MAX	   FLOW_BATCH_BYTES /* largest tracker block that a batch can hold */

enum flow_kind { FLOW_COPY = 1, FLOW_COMPARE };

struct flow_extent {
	uint64_t offset;
	uint32_t length;
};

/* Extents of one disk to read and send (or digest) in this order. */
struct flow_batch {
	enum flow_kind kind;
	unsigned int disk;
	uint64_t epoch;
	uint32_t digest_block; /* FLOW_COMPARE */
	uint32_t bytes;
	unsigned int count;
	struct flow_extent extents[FLOW_BATCH_EXTENTS];
};

/* What flow_next gives a sender to do. */
enum flow_step {
	FLOW_BATCH = 1, /* ret_batch */
	FLOW_BARRIER,	/* send BARRIER(ret_batch->epoch) after all batches taken before */
	FLOW_IDLE,	/* nothing now (only when it may not wait) */
	FLOW_QUIT,	/* the session is over */
};

/* A disk as the flow sees it; work is that of the pass under way. */
struct flow_disk {
	uint64_t size_bytes;
	uint32_t block_bytes;
	uint64_t *acked_epoch;	/* where to remember the newest acknowledged epoch */
	uint64_t *opened_epoch; /* ... and the newest that anything was sent in */
};

/* Called under the flow's lock on the control reader's thread, for each digested block that differs. */
typedef void flow_differs_fn(void *context, unsigned int disk, uint64_t offset, uint32_t length,
			     enum wire_digest_verdict verdict);

struct flow_pass {
	enum flow_kind kind;
	struct bitmap *work;	  /* one a disk; bits are cleared as they are settled */
	uint32_t digest_block;	  /* FLOW_COMPARE: a power of two, at least 4096 */
	flow_differs_fn *differs; /* FLOW_COMPARE, may be NULL */
	void *context;
	/* Hand out only blocks from here on, and for so long (0: no limit). Both are updated, so that a
	 * long comparison can be done in slices. */
	unsigned int from_disk;
	uint64_t from_block;
	uint64_t budget_ns;
	/* Asked every now and then, without a lock (may be NULL): true ends the handing out. */
	bool (*should_stop)(void *stop_context);
	void *stop_context;
};

/* How far the pass under way has come. */
struct flow_progress {
	uint64_t pass_bytes;		 /* set when it began */
	uint64_t todo_bytes;		 /* not yet settled (approximate) */
	uint64_t sent_bytes, wire_bytes; /* of the session */
	uint64_t read_errors;
};

struct flow;

int flow_new(const struct flow_disk *disks, unsigned int count, unsigned int connections,
	     uint64_t first_epoch, struct flow **ret_flow);
void flow_free(struct flow *flow);

/* Returns 0 when every bit that was handed out is settled; *ret_is_complete says whether all were
 * handed out (not: the budget ended, or should_stop). -ECONNRESET when the session failed. */
int flow_run_pass(struct flow *flow, struct flow_pass *pass, bool *ret_is_complete);
/* The session is over: everything that waits here returns. */
void flow_fail(struct flow *flow);
void flow_get_progress(struct flow *flow, struct flow_progress *ret_progress);
/* The newest epoch that was acknowledged. */
uint64_t flow_acked_epoch(struct flow *flow);

enum flow_step flow_next(struct flow *flow, unsigned int connection, bool may_wait,
			 struct flow_batch *ret_batch);
/* A digest is about to be sent: registers it and gives it its number. */
int flow_digest_number(struct flow *flow, const struct flow_batch *batch,
		       const struct flow_extent *extent, uint64_t *ret_number);
void flow_count_sent(struct flow *flow, uint64_t plain_bytes, uint64_t wire_bytes);
/* [offset, offset + length) of this batch could not be read, hence was not sent: its bits stay. */
int flow_read_failed(struct flow *flow, const struct flow_batch *batch, uint64_t offset,
		     uint32_t length);

/* From the receiver. -EPROTO when it makes no sense. */
int flow_on_ack(struct flow *flow, uint64_t epoch);
int flow_on_verdicts(struct flow *flow, uint64_t number, const uint8_t *verdicts, uint32_t count);

#endif
