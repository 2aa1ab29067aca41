/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The receiver's part of a cutover (I9). The control connection's thread reports what the agent says;
 * whoever asked for the cutover (control.c) waits on the machine's `changed` condition.
 */
#ifndef BLKFERRY_RECEIVER_CUTOVER_H
#define BLKFERRY_RECEIVER_CUTOVER_H

#include "common/wire.h"
#include "receiver/machine.h"
#include "receiver/session.h"

struct cutover_request {
	uint64_t timeout_ms; /* of the freeze */
	unsigned int fence;  /* as in struct wire_command */
	bool is_dry_run, skips_certify, ignores_checks;
	uint64_t point; /* checkpoint that the target shall be in the end; 0: the newest state */
};

/* Checks and asks the agent to begin. Returns 0 with machine->cutover running, or -errno with a fault:
 * -ENOTCONN, -EBUSY, -EAGAIN (not ready), -EALREADY (completed). */
int cutover_start(struct machine *machine, const struct cutover_request *request,
		  struct fault *fault);
/* Asks the agent to give up. Without effect after COMMIT. */
void cutover_cancel(struct machine *machine);

/* From the control connection's thread. */
void cutover_on_step(struct machine *machine, const struct wire_step *step);
/* Everything durable? Stores COMMITTED, then sends COMMIT. */
int cutover_on_seal(struct session *session, struct machine *machine, const struct wire_seal *seal,
		    uint64_t acked_epoch, struct fault *fault);
/* The agent gave up: back to REPLICATING. */
void cutover_on_reply(struct machines *machines, struct machine *machine,
		      const struct wire_reply *reply);
/* Stores COMPLETED; 0 also when it was said before. The caller answers that it was heard. From here on the
 * replica is the machine. */
int cutover_on_fenced(struct machines *machines, struct machine *machine, uint64_t id,
		      uint64_t data_downtime_ns, struct fault *fault);
/* An agent says hello without being fenced: a COMMITTED cutover has been given up by it. */
void cutover_on_unfenced_hello(struct machines *machines, struct machine *machine);
/* The session ended. A cutover that was running fails, or stays COMMITTED. */
void cutover_on_session_end(struct machine *machine);

/* After COMPLETED, targets closed: runs the start-command. Reports in machine->cutover. */
void cutover_start_target(struct machines *machines, struct machine *machine);
/* A person says that the source of a COMMITTED cutover is dead; or wants the start-command of a COMPLETED
 * one, which failed, run again; or has lost the source, and takes a checkpoint (point, as above). */
int cutover_source_is_dead(struct machines *machines, struct machine *machine, uint64_t point,
			   struct fault *fault);

#endif
