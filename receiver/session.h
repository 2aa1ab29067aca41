/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The receiver's side of a session: one control connection, N data connections, the targets.
 *
 * A machine has at most one session. A second agent with the same certificate is refused while the
 * first is alive; the same agent coming back replaces its own old session, but only after that one's
 * last write to the targets has ended, so old data never lands on new.
 */
#ifndef BLKFERRY_RECEIVER_SESSION_H
#define BLKFERRY_RECEIVER_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"
#include "common/frame.h"
#include "common/wire.h"
#include "receiver/machine.h"
#include "receiver/replica.h"

struct session;

/* Serves a control connection whose HELLO was received, until it ends; then brings everything down, and
 * starts the target machine if the cutover got that far. The link stays the caller's. */
void session_serve(struct machines *machines, struct machine *machine, struct frame_link *link,
		   const struct wire_hello *hello);

/* Finds the live session that a data connection's HELLO names and attaches to it. NULL (with a fault) when
 * there is none, or it has all its connections. *ret_number is the connection's number. */
struct session *session_attach(struct machine *machine, struct frame_link *link,
			       const struct wire_hello *hello, unsigned int *ret_number,
			       struct fault *fault);
void session_detach(struct session *session, unsigned int number);

/* The same for the one stream connection. */
struct session *session_attach_stream(struct machine *machine, struct frame_link *link,
				      const struct wire_hello *hello, struct fault *fault);
void session_detach_stream(struct session *session);

struct machines *session_machines(const struct session *session);
unsigned int session_disk_count(const struct session *session);
struct replica *session_replica(const struct session *session);
struct replica_disk *session_disk(const struct session *session, unsigned int index);
/* Something broke: tells the agent, ends the session. Any thread. */
void session_fail(struct session *session, enum wire_error_code code, const struct fault *fault);
bool session_has_failed(struct session *session);
/* A frame to the agent's control connection. */
int session_send(struct session *session, enum wire_type type, const void *first, size_t first_size,
		 const void *second, size_t second_size);

/* This connection has sent BARRIER(epoch), and all its writes have completed. The last connection to get
 * there makes the targets durable through its channels and acknowledges (I6). */
int session_barrier(struct session *session, unsigned int number, uint64_t epoch,
		    struct target_channel *const *channels, struct fault *fault);

/* Sends a command and waits for the reply. ranges (may be NULL) is called for each RANGES. Returns 0 when
 * a reply came (which may carry an error), -ETIMEDOUT, -ECONNRESET. timeout_ns 0: as long as the session
 * lives. */
typedef void session_ranges_fn(void *context, const struct wire_range *ranges, uint32_t count);
int session_command(struct session *session, struct wire_command *command, uint64_t timeout_ns,
		    struct wire_reply *ret_reply, session_ranges_fn *ranges, void *context);
/* Sends a command whose replies the cutover takes (receiver/cutover.c). */
int session_command_start(struct session *session, const struct wire_command *command);

/* Holds a session so that it can be used outside the machine's lock. The lock is held by the caller.
 * NULL when the machine is not connected. */
struct session *session_hold(struct machine *machine);
void session_release(struct session *session);

#endif
