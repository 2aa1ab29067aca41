/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WIRE_COMMAND_CHECKPOINT: a mark that somebody asked for, with everything frozen or not. */
#ifndef BLKFERRY_AGENT_CHECKPOINT_H
#define BLKFERRY_AGENT_CHECKPOINT_H

#include "agent/replicate.h"

void checkpoint_command(struct replicator *replicator, const struct wire_command *command);

#endif
