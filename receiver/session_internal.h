/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a session share: its body. */
#ifndef BLKFERRY_RECEIVER_SESSION_INTERNAL_H
#define BLKFERRY_RECEIVER_SESSION_INTERNAL_H

#include "common/os_thread.h"
#include "receiver/session.h"

#define SESSION_WAITERS_MAX 16

/* Somebody who waits for a REPLY. */
struct session_waiter {
	uint64_t id; /* 0: free */
	bool has_reply;
	struct wire_reply reply;
	session_ranges_fn *ranges;
	void *context;
};

struct session {
	struct machines *machines;
	struct machine *machine;
	struct frame_link *link;
	struct wire_hello hello;
	uint8_t id[WIRE_SESSION_LEN];
	struct wire_disk announced[WIRE_DISKS_MAX];
	unsigned int slots[WIRE_DISKS_MAX]; /* of those */
	struct replica *replica;
	struct wire_machine facts; /* cpus 0: it did not say */
	unsigned int disk_count, connections;

	struct os_mutex lock; /* what follows */
	struct os_cond changed;
	bool has_failed, is_welcomed;
	unsigned int holds;
	uint64_t heard_ns;
	struct frame_link *data[WIRE_CONNECTIONS_MAX];
	bool was_attached[WIRE_CONNECTIONS_MAX];
	struct frame_link *stream;
	bool was_stream_attached;
	uint64_t barriers[WIRE_CONNECTIONS_MAX];
	uint64_t acked_epoch;
	struct session_waiter waiters[SESSION_WAITERS_MAX];

	struct os_mutex flush_lock; /* one flush at a time */
};

/* session_open.c: slots for the announced disks, and the replica; then WELCOME and DISK_READY. */
int session_open_disks(struct session *session, struct fault *fault);
void session_close_disks(struct session *session);
int session_welcome(struct session *session, struct fault *fault);

/* session_hello.c: takes the machine for this session, or refuses the agent with a reason. */
int session_greet(struct session *session);
void session_refuse(struct session *session, enum wire_error_code code, const struct fault *fault);
/* Nothing was heard for too long. The session's lock is held, or nobody else has it yet. */
bool session_is_silent(const struct session *session);
/* session.c: everything that waits in this session ends. */
void session_mark_failed(struct session *session);

#endif
