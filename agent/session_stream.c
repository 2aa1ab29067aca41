// SPDX-License-Identifier: GPL-2.0-or-later
/* A session's stream connection: opened when the receiver said what it has; see session.h and stream.h. */
#include <errno.h>
#include <string.h>

#include "agent/session_internal.h"
#include "agent/stream.h"
#include "common/log.h"
#include "common/os_clock.h"

#define READY_WAIT_NS (10 * NS_PER_S) /* a PING comes before, if nothing else */
#define THREADS	      2

static void on_failed(void *context, const struct fault *fault)
{
	session_fail(context, fault);
}

/* On a sender thread of the stream. */
static int send_frame(void *context, const void *bytes, size_t size, struct fault *fault)
{
	struct session *session = context;
	const struct wire_stream *head =
		(const void *)((const uint8_t *)bytes + sizeof(struct wire_header));

	if (sender_pace(session->setup.limit, session->stream_connection, size))
		return fault_set(fault, FAULT_RETRY, ECANCELED, "the session ended");
	flow_count_sent(session->flow, head->raw_bytes, size);
	return frame_send_raw(&session->stream_link, bytes, size, fault);
}

int session_start_stream(struct session *session, uint64_t own_id, struct fault *fault)
{
	struct source *source = session->setup.source;
	struct stream_setup setup = {
		.source = source,
		.status = session->setup.status,
		.id = own_id,
		.interval_ns = source->options->checkpoint_interval_ns,
		.codec = (enum compress_codec)source->options->compression,
		.threads = host_cores() > 1 ? THREADS : 1,
		.send = send_frame,
		.failed = on_failed,
		.context = session,
	};
	struct stream *stream = NULL;
	const char *why_not = "";
	bool has_failed;
	int error;

	if (!session_wait_stream_ready(session, os_monotonic_ns() + READY_WAIT_NS, &setup.ready))
		return session_has_failed(session, fault) ? -fault->error : 0;
	setup.capture = source_capture(source, &why_not);
	if (setup.capture)
		setup.id = capture_stream_id(setup.capture);
	else
		status_set_no_capture(session->setup.status, why_not);
	error = session_connect_stream(session, fault);
	if (error)
		return error;
	error = stream_new(&setup, &stream);
	if (error)
		return fault_set(fault, FAULT_RETRY, -error, "no memory for the stream: %s",
				 strerror(-error));
	os_mutex_lock(&session->lock);
	session->stream = stream;
	has_failed = session->has_failed;
	os_mutex_unlock(&session->lock);
	if (has_failed)
		stream_fail(stream); /* whoever ended the session did not see it yet */
	return 0;
}

struct stream *session_stream(struct session *session)
{
	struct stream *stream;

	os_mutex_lock(&session->lock);
	stream = session->stream;
	os_mutex_unlock(&session->lock);
	return stream;
}
