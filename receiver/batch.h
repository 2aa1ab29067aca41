/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A batch of the stream in memory: a STREAM frame and, once opened, its records. Belongs to one thread at a
 * time: the stream connection's, then the applier's.
 */
#ifndef BLKFERRY_RECEIVER_BATCH_H
#define BLKFERRY_RECEIVER_BATCH_H

#include <stdint.h>

#include "common/fault.h"
#include "common/wire.h"
#include "common/wire_records.h"
#include "receiver/journal.h"

struct batch {
	struct journal_place place;  /* of it */
	struct journal_place before; /* of the one that stands before it in the journal */
	uint64_t number;	     /* of the append, from 1 on since the journal was opened */
	uint8_t *frame;		     /* WIRE_STREAM_FRAME_MAX: struct wire_stream, stored bytes */
	uint8_t *plain;		     /* WIRE_STREAM_RAW_MAX, made when needed: restored bytes */
	const struct wire_record *records;
	uint32_t record_count, raw_bytes;
	struct batch *next;
};

struct batch *batch_new(void); /* NULL: no memory */
void batch_free(struct batch *batch);
/* The frame holds a checked STREAM payload: restores its bytes, checks their sum and the records against the
 * disks (I10). Faults: RETRY for a bad sum, STOP for records that break the rules; -EPROTO. */
int batch_open(struct batch *batch, const uint64_t *disk_bytes, unsigned int disks,
	       struct fault *fault);

static inline bool journal_place_is_same(const struct journal_place *a,
					 const struct journal_place *b)
{
	return a->stream == b->stream && a->batch == b->batch;
}

#endif
