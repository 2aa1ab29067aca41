/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One session with the receiver, from connect to the first failure.
 *
 * Threads: the main thread runs passes and commands; a control reader takes what the receiver sends to
 * the flow and to the mailboxes below; a heartbeat sends STATUS and notices silence; one sender a data
 * connection. The first of them that fails ends the session for all: every wait returns, and the main
 * thread closes it and opens another. Nothing is lost by that (flow.h).
 */
#ifndef BLKFERRY_AGENT_SESSION_H
#define BLKFERRY_AGENT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/flow.h"
#include "agent/source.h"
#include "agent/status.h"
#include "common/fault.h"
#include "common/rate.h"
#include "common/wire.h"

struct session;

#define SESSION_HOST_MAX 64

struct session_setup {
	struct source *source;
	struct status *status;
	struct rate_limit *limit;
	const uint8_t *instance; /* WIRE_SESSION_LEN random bytes of this process */
	uint64_t fenced;	 /* the cutover that this source is fenced for; 0 none */
	const bool *is_stopping; /* read atomically: the agent is to end */
	char *numeric_host; /* SESSION_HOST_MAX: where the receiver was reached last, for session_repeat_fenced,
			     * which may find every resolver frozen */
};

/* Connects, says hello, opens the data connections and starts the threads. The fault says in plain words
 * what is wrong; its class, whether to try again soon (RETRY) or seldom (STOP). */
int session_open(const struct session_setup *setup, struct session **ret_session,
		 struct fault *fault);
/* In a connection of its own: tells the receiver that this source is fenced (setup->fenced), after the
 * session that should have said so was cut. 0 when it was heard. */
int session_repeat_fenced(const struct session_setup *setup, uint64_t deadline_ns,
			  struct fault *fault);
/* Ends all threads and connections. NULL is fine. */
void session_close(struct session *session);

struct flow *session_flow(struct session *session);
/* What the receiver said of disk index when the session began. */
const struct wire_disk_ready *session_disk(const struct session *session, unsigned int index);

struct stream;
/* Opens the stream connection, if the receiver knows of streams. own_id: of a stream without capture. */
int session_start_stream(struct session *session, uint64_t own_id, struct fault *fault);
/* NULL: there is none. */
struct stream *session_stream(struct session *session);
/* What the receiver has of a stream, waiting for it until deadline_ns; false when it takes no stream. */
bool session_wait_stream_ready(struct session *session, uint64_t deadline_ns,
			       struct wire_stream_ready *ret_ready);

/* Has it failed? Fills *fault with the first cause. */
bool session_has_failed(struct session *session, struct fault *fault);
/* Waits for a command until deadline_ns; a session that fails ends the wait. */
bool session_next_command(struct session *session, uint64_t deadline_ns,
			  struct wire_command *ret_command);
/* Is a command waiting? (A limit never waits: the control reader's thread sets it.) */
bool session_has_command(struct session *session);

int session_reply(struct session *session, const struct wire_reply *reply);
int session_send(struct session *session, enum wire_type type, const void *message, size_t size);

/* What the receiver answers to SEAL and FENCED. */
enum session_answer {
	SESSION_ANSWER_NONE = 1, /* not until the deadline, or the session failed */
	SESSION_ANSWER_COMMIT,
	SESSION_ANSWER_CANCEL,
	SESSION_ANSWER_FENCED_HEARD,
};
enum session_answer session_wait_answer(struct session *session, uint64_t id, uint64_t deadline_ns);
/* CANCEL for this cutover has come. */
bool session_is_cancelled(struct session *session, uint64_t id);

#endif
