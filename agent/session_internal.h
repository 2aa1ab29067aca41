/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What session.c and session_connect.c share: the body of a session. */
#ifndef BLKFERRY_AGENT_SESSION_INTERNAL_H
#define BLKFERRY_AGENT_SESSION_INTERNAL_H

#include "agent/sender.h"
#include "agent/session.h"
#include "common/frame.h"
#include "common/os_thread.h"

#define SESSION_COMMANDS_MAX 16

struct session {
	struct session_setup setup;
	struct frame_link link;
	struct tls_stream *control;
	struct tls_stream *data[WIRE_CONNECTIONS_MAX]; /* until a sender takes them over */
	unsigned int connections;
	uint8_t id[WIRE_SESSION_LEN];
	struct wire_disk_ready disks[WIRE_DISKS_MAX];

	struct tls_stream *stream_connection;
	struct frame_link stream_link;

	struct flow *flow;
	struct sender *senders[WIRE_CONNECTIONS_MAX];
	struct os_thread reader, heartbeat;
	int fds[WIRE_DISKS_MAX];
	struct wire_checks checks; /* as told last; the heartbeat's own */
	uint64_t look_at_checks_ns;

	struct os_mutex lock; /* what follows */
	struct os_cond changed;
	bool has_failed, is_closing;
	struct fault fault;
	uint64_t heard_ns;
	struct wire_command commands[SESSION_COMMANDS_MAX];
	unsigned int command_count;
	enum session_answer answer;
	uint64_t answer_id, cancelled_id;
	struct stream *stream; /* set once; freed by session_close */
	bool has_stream_ready, has_no_stream;
	struct wire_stream_ready stream_ready;
};

/* Connects control and data connections and does the dialogue up to the last DISK_READY. On failure
 * what was opened stays in the session for session_close. */
int session_connect(struct session *session, struct fault *fault);
/* One connection more, for the stream. */
int session_connect_stream(struct session *session, struct fault *fault);

/* The first failure ends the session for all. From any thread. */
void session_fail(struct session *session, const struct fault *fault);

/* Sends CHECKS when there is something new to tell. status is what was told last. */
int session_send_checks(struct session *session, const struct wire_status *status,
			struct fault *fault);

#endif
