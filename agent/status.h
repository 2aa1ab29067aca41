/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the agent says of itself: the main thread writes how it stands, the session's heartbeat thread
 * reads it twice a second and sends it. Lives as long as the agent, across sessions.
 */
#ifndef BLKFERRY_AGENT_STATUS_H
#define BLKFERRY_AGENT_STATUS_H

#include <stdint.h>

#include "agent/flow.h"
#include "agent/source.h"
#include "common/rate.h"
#include "common/wire.h"

struct status;

struct status *status_new(void);
void status_free(struct status *status);

void status_set_phase(struct status *status, enum wire_phase phase);
/* Sets or clears a mask of enum wire_status_flag. */
void status_set_flags(struct status *status, unsigned int flags, unsigned int cleared_flags);
unsigned int status_flags(struct status *status);
void status_set_pass(struct status *status, uint32_t pass);
void status_set_verify(struct status *status, uint64_t done_bytes, uint64_t all_bytes);
/* Capture: its ring, how much of that is not durable at the receiver, how much was captured so far. */
void status_set_ring(struct status *status, uint64_t ring_bytes, uint64_t used_bytes,
		     uint64_t captured_bytes);
/* The stream lost order or bytes; reason is for people. */
void status_count_gap(struct status *status, const char *reason);
/* Why there is no capture. */
void status_set_no_capture(struct status *status, const char *why);
/* The remark for people; "" clears it. */
void status_set_note(struct status *status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Everything together, with the flow's counters and what the source and the process tell. */
void status_fill(struct status *status, struct source *source, struct flow *flow,
		 struct rate_limit *limit, struct wire_status *ret_status);

#endif
