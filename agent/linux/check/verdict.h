/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the last `check` of the running system found, left in the state folder for the agent to tell the receiver. */
#ifndef BLKFERRY_AGENT_CHECK_VERDICT_H
#define BLKFERRY_AGENT_CHECK_VERDICT_H

#include "agent/linux/check/check.h"

/* Writes STATE/check.json, if there is a folder STATE. */
int verdict_write(const char *state_folder, const struct check_context *context);

#endif
