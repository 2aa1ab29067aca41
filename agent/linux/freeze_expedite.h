/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Freezing waits for three RCU grace periods (percpu_down_write, once a freeze level): about 40 ms for an idle
 * file system, all of it downtime. With /sys/kernel/rcu_expedited set they take some 0.5 ms, at the cost
 * of interrupts to all processors; so it is set while the freeze is under way, and only then.
 */
#ifndef BLKFERRY_AGENT_LINUX_FREEZE_EXPEDITE_H
#define BLKFERRY_AGENT_LINUX_FREEZE_EXPEDITE_H

#include <stdbool.h>

/* True when it was set by this call, and has to be undone. A kernel without it is just slower. */
bool freeze_expedite_begin(void);
void freeze_expedite_end(void);

#endif
