/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's part of a cutover (I9): checks, live verify, hook, converge, freeze, drain, certify,
 * seal, and, once the receiver committed, the fence.
 *
 * Until the watchdog has agreed never to thaw (freezer_commit) every failure thaws, runs the
 * post-thaw-command, answers the command with what failed, and replication goes on. After that the source
 * is fenced: FENCED is said until it was heard, and nothing here writes again.
 */
#ifndef BLKFERRY_AGENT_CUTOVER_H
#define BLKFERRY_AGENT_CUTOVER_H

#include "agent/replicate.h"

void cutover_command(struct replicator *replicator, const struct wire_command *command);

#endif
