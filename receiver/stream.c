// SPDX-License-Identifier: GPL-2.0-or-later
/* The stream connection's loop: frames in, synced in groups, acknowledged; see stream.h. */
#include "receiver/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/wire_check.h"
#include "receiver/session.h"

#define SYNC_NS	     (15 * NS_PER_MS)	/* a batch waits so long for others at most ... */
#define SYNC_BYTES   (4u * 1024 * 1024) /* ... or until so much has come */
#define TICK_NS	     (20 * NS_PER_MS)
#define FULL_NS	     (100 * NS_PER_MS)
#define FULL_MOST_NS (10 * NS_PER_S) /* then the agent is told, and tries again by and by */
#define APPLY_NS     (2 * NS_PER_S)  /* for what the journal holds, before checkpoints go for it */

struct stream {
	struct machine *machine;
	struct session *session;
	struct replica *replica;
	struct frame_link *link;
	struct batch *batch; /* where the next frame goes */
	uint64_t unsynced_bytes, unsynced_since_ns;
	struct journal_place durable;
	struct wire_stream_ack told; /* the last acknowledgement */
	bool is_full;		     /* and that was said */
	uint64_t full_since_ns;	     /* nothing could be appended since then; 0: it can */
};

static int acknowledge(struct stream *stream, struct fault *fault)
{
	struct journal_place applied;
	struct wire_stream_ack ack = {
		.stream = stream->durable.stream,
		.batch = stream->durable.batch,
	};

	replica_stream_applied(stream->replica, &applied);
	if (applied.stream == ack.stream)
		ack.applied = applied.batch;
	if (!ack.stream || memcmp(&ack, &stream->told, sizeof(ack)) == 0)
		return 0;
	stream->told = ack;
	if (session_send(stream->session, WIRE_STREAM_ACK, &ack, sizeof(ack), NULL, 0))
		return fault_set(fault, FAULT_RETRY, ECONNRESET, "the connection was cut");
	return 0;
}

static int sync_and_acknowledge(struct stream *stream, struct fault *fault)
{
	int error = 0;

	if (stream->unsynced_bytes)
		error = replica_stream_sync(stream->replica, &stream->durable, fault);
	stream->unsynced_bytes = 0;
	return error ? error : acknowledge(stream, fault);
}

static bool is_sync_due(const struct stream *stream)
{
	return stream->unsynced_bytes >= SYNC_BYTES ||
	       (stream->unsynced_bytes && os_monotonic_ns() - stream->unsynced_since_ns >= SYNC_NS);
}

/* In the log once, in status as long as it lasts. */
static void say_full(struct stream *stream, const char *text)
{
	if (!stream->is_full)
		log_error("%s: %s", stream->machine->name, text);
	stream->is_full = true;
	machine_set_error(stream->machine, text);
}

/* Nothing more is read while there is no room. What is applied goes from the journal by itself. */
static int await_room(struct stream *stream, struct fault *fault)
{
	while (!replica_stream_has_room(stream->replica)) {
		int error = sync_and_acknowledge(stream, fault);

		if (error)
			return error;
		say_full(stream, "journal-size is reached, and no checkpoint may be dropped: the "
				 "stream waits for room");
		if (session_has_failed(stream->session))
			return fault_set(fault, FAULT_RETRY, ECANCELED, "the session ended");
		os_sleep_ns(FULL_NS);
	}
	stream->is_full = false;
	return 0;
}

/* One try to have room on a file system that is full, and to append again. What the journal holds is applied first: then
 * it gives its own room back. Only when that was not enough do checkpoints go. */
static int make_room(struct stream *stream, struct fault *fault)
{
	struct fault why = *fault;
	int error = sync_and_acknowledge(stream, fault);

	if (error)
		return error;
	if (!replica_drain(stream->replica, APPLY_NS, NULL)) {
		error = replica_stream_append(stream->replica, &stream->batch, fault);
		if (error != -ENOSPC)
			return error;
	}
	if (!replica_make_room(stream->replica)) {
		say_full(stream, why.text);
		if (!stream->full_since_ns)
			stream->full_since_ns = os_monotonic_ns();
		os_sleep_ns(FULL_NS);
	}
	return replica_stream_append(stream->replica, &stream->batch, fault);
}

static bool is_given_up(const struct stream *stream)
{
	return session_has_failed(stream->session) ||
	       (stream->full_since_ns && os_monotonic_ns() - stream->full_since_ns > FULL_MOST_NS);
}

/* A file system that is full is waited for; not for ever, since the agent's main thread waits, too. */
static int append(struct stream *stream, struct fault *fault)
{
	const struct wire_stream *head = replica_stream_buffer(stream->batch);
	uint32_t bytes = head->stored_bytes;
	int error = replica_stream_append(stream->replica, &stream->batch, fault);

	while (error == -ENOSPC && !is_given_up(stream))
		error = make_room(stream, fault);
	if (!error)
		stream->full_since_ns = 0;
	if (!error && !stream->unsynced_bytes)
		stream->unsynced_since_ns = os_monotonic_ns();
	stream->unsynced_bytes += error ? 0 : bytes;
	return error;
}

static int receive(struct stream *stream, struct fault *fault)
{
	enum wire_type type;
	uint32_t length;
	int error = frame_receive(stream->link, replica_stream_buffer(stream->batch),
				  WIRE_STREAM_FRAME_MAX, &type, &length, 0, fault);

	if (error)
		return error;
	if (type != WIRE_STREAM)
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "the agent sent a %s frame on the stream connection",
				 wire_type_name(type));
	return append(stream, fault);
}

static int serve_frames(struct stream *stream, struct fault *fault)
{
	for (;;) {
		int error = await_room(stream, fault);

		if (!error && is_sync_due(stream))
			error = sync_and_acknowledge(stream, fault);
		if (error)
			return error;
		/* No more has come: what is there is made durable without waiting for it. */
		error = tls_stream_wait_readable(
			stream->link->stream,
			stream->unsynced_bytes ? os_monotonic_ns() : os_monotonic_ns() + TICK_NS);
		if (error == -ETIMEDOUT)
			error = sync_and_acknowledge(stream, fault);
		else if (error)
			error = fault_set(fault, FAULT_RETRY, -error, "the stream was cut: %s",
					  strerror(-error));
		else
			error = receive(stream, fault);
		if (error)
			return error;
	}
}

static void on_result(void *context, const struct wire_stream_result *result,
		      const uint8_t *verdicts)
{
	(void)session_send(context, WIRE_STREAM_RESULT, result, sizeof(*result), verdicts,
			   result->count);
}

static void on_failure(void *context, const struct fault *fault)
{
	session_fail(context, WIRE_ERROR_TARGET, fault);
}

static int serve(struct machine *machine, struct session *session, struct frame_link *link,
		 struct fault *fault)
{
	struct wire_welcome welcome = {.version = WIRE_VERSION};
	struct replica_listener listener = {
		.result = on_result, .failed = on_failure, .context = session};
	struct stream stream = {.machine = machine,
				.session = session,
				.link = link,
				.replica = session_replica(session)};
	uint64_t newest_mark;
	int error;

	stream.batch = replica_stream_begin(stream.replica);
	if (!stream.batch)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	replica_stream_end(stream.replica, &stream.durable, &newest_mark);
	replica_listen(stream.replica, &listener);
	error = frame_send(link, WIRE_WELCOME, &welcome, sizeof(welcome), NULL, 0, fault);
	if (!error)
		error = serve_frames(&stream, fault);
	/* What was appended must not wait, unsynced and unapplied, for a session that appends it again. */
	if (stream.unsynced_bytes)
		(void)replica_stream_sync(stream.replica, &stream.durable, NULL);
	replica_listen(stream.replica, NULL);
	replica_stream_end_batch(stream.replica, stream.batch);
	return error;
}

void stream_serve(struct machine *machine, struct frame_link *link, const struct wire_hello *hello)
{
	struct fault fault = {0};
	struct session *session = session_attach_stream(machine, link, hello, &fault);
	int error;

	if (!session) {
		log_info("%s: a stream connection was refused: %s", machine->name, fault.text);
		frame_send_error(link, WIRE_ERROR_PROTOCOL, fault.class, fault.text);
		return;
	}
	error = serve(machine, session, link, &fault);
	/* A connection that ends takes the session with it: the agent goes on from what was acknowledged. */
	session_fail(session, error == -EPROTO ? WIRE_ERROR_PROTOCOL : WIRE_ERROR_TARGET, &fault);
	session_detach_stream(session);
}
