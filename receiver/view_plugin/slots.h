/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of a few connections are in use: threads take one each, and wait when there is none. */
#ifndef BLKFERRY_RECEIVER_VIEW_PLUGIN_SLOTS_H
#define BLKFERRY_RECEIVER_VIEW_PLUGIN_SLOTS_H

#include "common/os_thread.h"
#include "receiver/view_wire.h"

struct slots {
	struct os_mutex lock;
	struct os_cond changed;
	unsigned int unused[VIEW_CONNECTIONS_MAX]; /* a stack: those used last are connected */
	unsigned int unused_count;
};

void slots_init(struct slots *slots);
void slots_fini(struct slots *slots);
/* Returns a number below VIEW_CONNECTIONS_MAX that nobody else has. */
unsigned int slots_take(struct slots *slots);
void slots_give(struct slots *slots, unsigned int slot);

#endif
