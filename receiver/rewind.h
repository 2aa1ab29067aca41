/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taking a machine's replica back to a checkpoint, for good or until it is undone: the machine's states around
 * replica_restore. In ROLLED_BACK no agent is let in, since its stream does not continue what the targets hold.
 *
 *   REPLICATING --rewind_to--> ROLLED_BACK --rewind_undo--> REPLICATING (as if nothing had been)
 *                                        \--rewind_follow-> REPLICATING, all compared with the source
 */
#ifndef BLKFERRY_RECEIVER_REWIND_H
#define BLKFERRY_RECEIVER_REWIND_H

#include "receiver/history.h"
#include "receiver/machine.h"

/* Labels that a person cannot give: one of them would be taken off, or its checkpoint dropped. */
#define REWIND_CUTOVER_LABEL "cutover"
bool rewind_is_own_label(const char *label);

/* when: as history_find. The machine is disconnected, or paused: its session is ended then. Again after a failure,
 * with any checkpoint. */
int rewind_to(struct machines *machines, struct machine *machine, const char *when,
	      struct fault *fault);
int rewind_undo(struct machines *machines, struct machine *machine, struct fault *fault);
int rewind_follow(struct machines *machines, struct machine *machine, struct fault *fault);

/* For `cutover --at`: which checkpoint that is, and whether it can be gone back to. */
int rewind_find(struct machines *machines, struct machine *machine, const char *when,
		uint64_t *ret_number, struct fault *fault);
/* I8: may a machine be started from this checkpoint? Fault STOP. */
int rewind_check_point(const struct history_point *point, struct fault *fault);
/* A cutover is completed, its start-command due: the checkpoint that it asked for, if it did. Once. */
int rewind_before_start(struct machines *machines, struct machine *machine, struct fault *fault);

#endif
