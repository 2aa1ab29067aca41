/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stream*.c share: the body of a stream. */
#ifndef BLKFERRY_AGENT_STREAM_INTERNAL_H
#define BLKFERRY_AGENT_STREAM_INTERNAL_H

#include "agent/reader.h"
#include "agent/stream.h"
#include "agent/stream_coalesce.h"
#include "agent/stream_sender.h"
#include "common/os_clock.h"
#include "common/os_thread.h"

#define STREAM_SENT_MAX	  1024 /* batches that are not acknowledged */
#define STREAM_COPIED_MAX 8192 /* runs of copied blocks that are not acknowledged */
#define STREAM_READS	  64   /* of one piece of a round */
#define STREAM_READ_BYTES (1024u * 1024)

struct stream_sent {
	uint64_t batch;
	uint64_t to; /* all of the ring below is in batches up to this one */
};

struct stream_copied {
	uint64_t batch; /* the last one that carries a part of it */
	uint64_t first, count;
	unsigned int disk;
};

/* A copy of what todo listed when it began. */
struct stream_round {
	bool is_copying;     /* not all of it is in batches yet */
	bool has_unreadable; /* some of it could not be read */
	bool has_taken;	     /* it began with a take: then it mends the holes up to here */
	uint64_t holes;
	unsigned int disk; /* where it goes on */
	uint64_t block;
	uint64_t ended_ns;
};

struct stream_mark {
	bool is_pending;
	uint64_t number;
	uint64_t holes;	  /* as counted when it was made */
	uint64_t made_ns; /* at its position */
};

struct stream {
	struct stream_setup setup;
	struct capture *capture;
	struct stream_sender *sender;
	struct reader *reader;
	uint8_t *read_buffer; /* STREAM_READ_BYTES */
	int fds[TRACKER_DISKS_MAX];
	bool is_left, is_on; /* stream_is_left; between stream_begin and stream_leave */

	struct stream_buffer *filling; /* NULL: nothing to send is gathered */
	struct wire_record *last;      /* in it */
	uint64_t filling_since_ns;
	uint32_t raw_max;
	uint64_t batch;	      /* the newest that was put */
	uint64_t batch_to;    /* its `to` */
	uint64_t position;    /* the ring below is in batches, the one being filled included */
	uint64_t moved_ns;    /* when it moved last */
	uint64_t moved_bytes; /* plain bytes put into batches */

	struct stream_sent sent[STREAM_SENT_MAX];
	unsigned int sent_head, sent_count;
	struct stream_copied copied[STREAM_COPIED_MAX];
	unsigned int copied_head, copied_count;

	bool is_consistent;
	enum capture_hole told_gap; /* people know of it: since it was consistent last; 0: none */
	uint64_t repaired_holes; /* is_consistent: each up to here lies before a finished round */
	struct stream_round round;

	struct capture_notes *notes; /* of `mark` */
	struct stream_mark mark;
	uint64_t mark_number; /* the newest that was given */
	uint64_t mark_due_ns, look_due_ns, status_due_ns;
	uint64_t mark_position; /* of the ring, at the newest mark */
	struct stream_confirmed {
		uint64_t number;
		uint64_t batch;	  /* carries the CONFIRM */
		uint64_t made_ns; /* when the mark was made */
	} confirmed, awaited; /* the newest; and the oldest that is not durable (batch 0: none) */
	uint64_t durable_made_ns; /* when the newest one that is durable was made */

	struct capture_record record; /* large: not on a stack */
	struct stream_coalesce *coalesce;
	uint64_t coalesced_bytes; /* captured and never sent */

	struct os_mutex lock; /* what follows */
	struct os_cond changed;
	bool has_failed;
	uint64_t put_batch, acked_batch, applied_batch;
};

/* stream_pack.c: records into batches. All return 0 or -ECONNRESET. */
int stream_add(struct stream *stream, const struct wire_record *record, const void *data);
int stream_flush(struct stream *stream);
/* The number of the batch that a record which is added now goes into, if it fits. */
uint64_t stream_next_batch(const struct stream *stream);
/* Everything in the ring below `until`. -EIO with a fault when the ring cannot be read. */
int stream_pump(struct stream *stream, uint64_t until, struct fault *fault);
/* The same, but not for much longer than until deadline_ns. */
int stream_pump_until(struct stream *stream, uint64_t until, uint64_t deadline_ns,
		      struct fault *fault);
int stream_say_gap(struct stream *stream, enum capture_hole reason);

/* stream.c */
bool stream_has_failed(struct stream *stream);
int stream_session_over(struct fault *fault);
/* What acknowledgements have come: forget it (I6). */
void stream_settle(struct stream *stream);
enum stream_reached { STREAM_DURABLE = 1, STREAM_APPLIED };
bool stream_has_reached(struct stream *stream, enum stream_reached what, uint64_t batch);

/* stream_copy.c: rounds. */
void stream_round_begin(struct stream *stream);
bool stream_round_is_over(const struct stream *stream);
/* Copies for about that long. 0, -ECONNRESET, or what went wrong. */
int stream_round_step(struct stream *stream, uint64_t budget_ns, struct fault *fault);
/* Takes what is dirty, and begins a round. */
int stream_take(struct stream *stream, struct fault *fault);

/* stream_mark.c */
int stream_mark_step(struct stream *stream, struct fault *fault);

#endif
