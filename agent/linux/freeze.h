/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Behind freezer_new: the parts that tests put together themselves. */
#ifndef BLKFERRY_AGENT_LINUX_FREEZE_H
#define BLKFERRY_AGENT_LINUX_FREEZE_H

#include "agent/linux/freeze_list.h"
#include "agent/linux/watchdog.h"
#include "agent/platform.h"

/* Opens what the list names. roots->proc leads into other mount namespaces. */
int freezer_open(const struct system_roots *roots, const struct freeze_list *list,
		 const struct freeze_ops *ops, struct freezer **ret_freezer, struct fault *fault);
/* The watchdog's process, for tests that kill it; 0 when there is none. */
pid_t freezer_watchdog_pid(const struct freezer *freezer);

#endif
