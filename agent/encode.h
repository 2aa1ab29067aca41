/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Turns a batch that was read into the frames that go on the wire; no I/O.
 *
 * encoder_run_data: one DATA frame: runs of zeroes become ZERO extents, the rest is compressed as
 * one piece. encoder_run_digests: one DIGESTS frame an extent.
 */
#ifndef BLKFERRY_AGENT_ENCODE_H
#define BLKFERRY_AGENT_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "agent/effort.h"
#include "agent/flow.h"
#include "common/compress.h"

/* What of a batch could not be read: neither sent nor digested. Ascending. */
#define ENCODE_HOLES_MAX 16
struct encode_hole {
	uint64_t offset;
	uint32_t length;
};

struct encoder; /* output buffer and compressor of one thread */

/* codec: what it tries on data. */
struct encoder *encoder_new(enum compress_codec codec);
void encoder_free(struct encoder *encoder);

/* buffer holds the batch's extents one after another, each start aligned to 4096; it is modified. The
 * result is valid until the next call; size 0 when nothing is left to send. */
int encoder_run_data(struct encoder *encoder, const struct flow_batch *batch, uint8_t *buffer,
		     const struct encode_hole *holes, unsigned int hole_count,
		     enum effort_choice effort, const uint8_t **ret_bytes, size_t *ret_size);
/* Registers each digest frame with the flow. -ECONNRESET when the session has failed. An extent with a
 * hole in it is not digested at all: its bits stay set. */
int encoder_run_digests(struct encoder *encoder, struct flow *flow, const struct flow_batch *batch,
			const uint8_t *buffer, const struct encode_hole *holes,
			unsigned int hole_count, const uint8_t **ret_bytes, size_t *ret_size);

#endif
