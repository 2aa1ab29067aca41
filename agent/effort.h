/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether compressing pays, decided by trying: on a slow link it does, on a fast one the processor is what
 * limits, and sending the bytes as they are moves more of them.
 *
 * A sender measures a window each way, then keeps to the better one for a while. Raw has to win clearly:
 * where both are as fast, fewer bytes on the wire are better.
 */
#ifndef BLKFERRY_AGENT_EFFORT_H
#define BLKFERRY_AGENT_EFFORT_H

#include <stdint.h>

enum effort_choice { EFFORT_COMPRESS = 1, EFFORT_RAW };

struct effort {
	enum effort_choice choice; /* for the frame that comes next */
	enum effort_state { EFFORT_TRY_COMPRESS = 1, EFFORT_TRY_RAW, EFFORT_KEEP } state;
	uint64_t bytes, took_ns; /* of the window so far */
	double compress_rate;	 /* bytes per ns in the last compressed window */
};

void effort_init(struct effort *effort);
/* A frame of plain_bytes was encoded and sent in took_ns: updates the choice. */
void effort_note(struct effort *effort, uint64_t plain_bytes, uint64_t took_ns);

#endif
