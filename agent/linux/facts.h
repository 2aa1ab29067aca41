/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this machine is, read from made-up roots in tests; facts_read of platform.h uses the real ones. */
#ifndef BLKFERRY_AGENT_LINUX_FACTS_H
#define BLKFERRY_AGENT_LINUX_FACTS_H

#include "agent/linux/sysfs.h"
#include "common/wire.h"

void facts_read_from(const struct system_roots *roots, struct wire_machine *ret_machine);

#endif
