// SPDX-License-Identifier: GPL-2.0-or-later
/* Whether compressing pays; see effort.h. */
#include "agent/effort.h"

#include "common/units.h"

#define TRY_BYTES  (6 * MIB)
#define KEEP_BYTES (96 * MIB)
/* Raw must move this much more to be worth its bytes on the wire. */
#define RAW_GAIN 1.2

void effort_init(struct effort *effort)
{
	*effort = (struct effort){.choice = EFFORT_COMPRESS, .state = EFFORT_TRY_COMPRESS};
}

static double window_rate(const struct effort *effort)
{
	return (double)effort->bytes / (double)(effort->took_ns ? effort->took_ns : 1);
}

static void enter(struct effort *effort, enum effort_state state, enum effort_choice choice)
{
	effort->state = state;
	effort->choice = choice;
	effort->bytes = 0;
	effort->took_ns = 0;
}

void effort_note(struct effort *effort, uint64_t plain_bytes, uint64_t took_ns)
{
	effort->bytes += plain_bytes;
	effort->took_ns += took_ns;
	switch (effort->state) {
	case EFFORT_TRY_COMPRESS:
		if (effort->bytes < TRY_BYTES)
			return;
		effort->compress_rate = window_rate(effort);
		enter(effort, EFFORT_TRY_RAW, EFFORT_RAW);
		return;
	case EFFORT_TRY_RAW:
		if (effort->bytes < TRY_BYTES)
			return;
		enter(effort, EFFORT_KEEP,
		      window_rate(effort) > effort->compress_rate * RAW_GAIN ? EFFORT_RAW
									     : EFFORT_COMPRESS);
		return;
	case EFFORT_KEEP:
		if (effort->bytes >= KEEP_BYTES)
			enter(effort, EFFORT_TRY_COMPRESS, EFFORT_COMPRESS);
		return;
	}
}
