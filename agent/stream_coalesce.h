/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When the stream is behind, a write that the ring overwrites later need not travel. Looked at is only what lies between
 * the place that the stream has reached and one that the ring had reached: no mark is ever made in between, since a
 * mark is made where the ring ends at that moment, behind all of it. So the state at every mark is the same with and
 * without; only what no checkpoint could show is left out.
 */
#ifndef BLKFERRY_AGENT_STREAM_COALESCE_H
#define BLKFERRY_AGENT_STREAM_COALESCE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/capture.h"

struct stream_coalesce;

/* NULL: no memory. */
struct stream_coalesce *stream_coalesce_new(void);
void stream_coalesce_free(struct stream_coalesce *coalesce);

/* Reads the ring from position up to `until` (or to a record that is being filled), and remembers the last record of
 * each range. record: room for one. */
void stream_coalesce_look(struct stream_coalesce *coalesce, struct capture *capture,
			  uint64_t position, uint64_t until, struct capture_record *record);
/* Where what was looked at ends; 0 at first. */
uint64_t stream_coalesce_end(const struct stream_coalesce *coalesce);
/* Does a record of exactly the same range come later, within what was looked at? */
bool stream_coalesce_is_overwritten(const struct stream_coalesce *coalesce,
				    const struct capture_record *record);

#endif
