// SPDX-License-Identifier: GPL-2.0-or-later
/* A session's threads and mailboxes; see session.h. */
#include "agent/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/session_internal.h"
#include "agent/stream.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "common/units.h"
#include "common/wire_check.h"

/* Ends what waits for the network. */
static void cancel_all(struct session *session, struct stream *stream)
{
	if (session->control)
		tls_stream_cancel(session->control);
	if (session->flow)
		flow_fail(session->flow);
	if (stream) {
		stream_fail(stream);
		tls_stream_cancel(session->stream_connection);
	}
}

void session_fail(struct session *session, const struct fault *fault)
{
	struct stream *stream;

	os_mutex_lock(&session->lock);
	if (!session->has_failed) {
		session->has_failed = true;
		session->fault = *fault;
	}
	stream = session->stream;
	os_cond_broadcast(&session->changed);
	os_mutex_unlock(&session->lock);
	cancel_all(session, stream);
}

static void on_sender_failed(void *context, const struct fault *fault)
{
	session_fail(context, fault);
}

/* Takes effect at once, whatever is under way. */
static int take_limit(struct session *session, const struct wire_command *command)
{
	struct wire_reply reply = {.id = command->id};
	char limit[32];

	rate_limit_set(session->setup.limit, command->value);
	if (command->value)
		snprintf(reply.text, sizeof(reply.text), "limit is %s/s now",
			 units_format_bytes(command->value, limit, sizeof(limit)));
	else
		snprintf(reply.text, sizeof(reply.text), "no limit now");
	log_info("%s", reply.text);
	return frame_send(&session->link, WIRE_REPLY, &reply, sizeof(reply), NULL, 0, NULL);
}

static int take_command(struct session *session, const struct wire_command *command)
{
	int error = 0;

	if (command->kind == WIRE_COMMAND_LIMIT)
		return take_limit(session, command);
	os_mutex_lock(&session->lock);
	if (session->command_count == SESSION_COMMANDS_MAX)
		error = -EPROTO;
	else
		session->commands[session->command_count++] = *command;
	os_cond_broadcast(&session->changed);
	os_mutex_unlock(&session->lock);
	return error;
}

static void take_answer(struct session *session, enum session_answer answer, uint64_t id)
{
	os_mutex_lock(&session->lock);
	session->answer = answer;
	session->answer_id = id;
	if (answer == SESSION_ANSWER_CANCEL)
		session->cancelled_id = id;
	os_cond_broadcast(&session->changed);
	os_mutex_unlock(&session->lock);
}

static int take_stream_ready(struct session *session, const struct wire_stream_ready *ready)
{
	int error = 0;

	os_mutex_lock(&session->lock);
	if (session->has_stream_ready || session->has_no_stream)
		error = -EPROTO;
	session->has_stream_ready = true;
	session->stream_ready = *ready;
	os_cond_broadcast(&session->changed);
	os_mutex_unlock(&session->lock);
	return error;
}

/* One about batches of an earlier session may come before there is a stream here. */
static int take_stream_ack(struct session *session, const struct wire_stream_ack *ack)
{
	struct stream *stream = session_stream(session);

	return stream ? stream_on_ack(stream, ack) : 0;
}

/* What the receiver may send on the control connection; everything else breaks the rules. */
static int dispatch(struct session *session, enum wire_type type, const void *message,
		    struct fault *fault)
{
	const struct wire_digest_result *result = message;
	int error = -EPROTO;

	if (type == WIRE_PING)
		error = 0;
	else if (type == WIRE_ACK)
		error = flow_on_ack(session->flow, ((const struct wire_ack *)message)->epoch);
	else if (type == WIRE_DIGEST_RESULT)
		error = flow_on_verdicts(session->flow, result->number,
					 wire_digest_verdicts(result), result->count);
	else if (type == WIRE_STREAM_READY)
		error = take_stream_ready(session, message);
	else if (type == WIRE_STREAM_ACK)
		error = take_stream_ack(session, message);
	else if (type == WIRE_COMMAND)
		error = take_command(session, message);
	else if (type == WIRE_ERROR)
		return frame_error_to_fault(&session->link, message, fault);
	else if (type == WIRE_COMMIT || type == WIRE_CANCEL || type == WIRE_FENCED) {
		take_answer(session,
			    type == WIRE_COMMIT	  ? SESSION_ANSWER_COMMIT
			    : type == WIRE_CANCEL ? SESSION_ANSWER_CANCEL
						  : SESSION_ANSWER_FENCED_HEARD,
			    *(const le64 *)message); /* all three begin with the id */
		error = 0;
	}
	if (error)
		return fault_set(fault, FAULT_RETRY, EPROTO,
				 "the receiver sent a %s frame that makes no sense here",
				 wire_type_name(type));
	return 0;
}

static void read_control(void *argument)
{
	struct session *session = argument;
	uint64_t buffer[WIRE_CONTROL_MAX / sizeof(uint64_t)];
	struct fault fault = {0};
	enum wire_type type;
	uint32_t length;
	int error;

	do {
		error = frame_receive(&session->link, buffer, sizeof(buffer), &type, &length, 0,
				      &fault);
		if (error)
			break;
		os_mutex_lock(&session->lock);
		session->heard_ns = os_monotonic_ns();
		/* STREAM_READY comes right behind the disks, or never. */
		if (type != WIRE_STREAM_READY && !session->has_stream_ready &&
		    !session->has_no_stream) {
			session->has_no_stream = true;
			os_cond_broadcast(&session->changed);
		}
		os_mutex_unlock(&session->lock);
		error = dispatch(session, type, buffer, &fault);
	} while (!error);
	session_fail(session, &fault);
}

/* Sends STATUS twice a second and ends a session whose receiver has fallen silent. */
static void beat(void *argument)
{
	struct session *session = argument;
	const struct session_setup *setup = &session->setup;
	struct wire_status message;
	struct fault fault = {0};
	int error = 0;

	os_mutex_lock(&session->lock);
	while (!session->has_failed && !session->is_closing && !error) {
		bool is_silent = os_monotonic_ns() - session->heard_ns >
				 WIRE_SILENCE_MS * NS_PER_MS;

		os_mutex_unlock(&session->lock);
		if (__atomic_load_n(setup->is_stopping, __ATOMIC_ACQUIRE)) {
			error = fault_set(&fault, FAULT_RETRY, ECANCELED, "the agent is ending");
		} else if (is_silent) {
			error = fault_set(&fault, FAULT_RETRY, ETIMEDOUT,
					  "nothing heard from the receiver for %d s",
					  WIRE_SILENCE_MS / 1000);
		} else {
			status_fill(setup->status, setup->source, session->flow, setup->limit,
				    &message);
			error = frame_send(&session->link, WIRE_STATUS, &message, sizeof(message),
					   NULL, 0, &fault);
			if (!error)
				error = session_send_checks(session, &message, &fault);
		}
		os_mutex_lock(&session->lock);
		if (!error)
			(void)os_cond_wait_until(&session->changed, &session->lock,
						 os_monotonic_ns() + WIRE_STATUS_MS * NS_PER_MS);
	}
	os_mutex_unlock(&session->lock);
	if (error)
		session_fail(session, &fault);
}

static uint64_t first_epoch(const struct session *session)
{
	const struct source *source = session->setup.source;
	uint64_t newest = 0;

	for (unsigned int i = 0; i < source->count; i++) {
		if (session->disks[i].epoch > newest)
			newest = session->disks[i].epoch;
		if (source->disks[i].memory->acked_epoch > newest)
			newest = source->disks[i].memory->acked_epoch;
	}
	return newest + 1;
}

static int start_flow(struct session *session, struct fault *fault)
{
	struct source *source = session->setup.source;
	struct flow_disk disks[WIRE_DISKS_MAX];

	for (unsigned int i = 0; i < source->count; i++) {
		struct source_disk *disk = &source->disks[i];

		disks[i] = (struct flow_disk){
			.size_bytes = disk->disk.size_bytes,
			.block_bytes = disk->block_bytes,
			.acked_epoch = &disk->memory->acked_epoch,
			.opened_epoch = &disk->memory->opened_epoch,
		};
		session->fds[i] = disk->fd;
	}
	if (flow_new(disks, source->count, session->connections, first_epoch(session),
		     &session->flow))
		return fault_set(fault, FAULT_RETRY, ENOMEM, "no memory for a session");
	return 0;
}

static int start_threads(struct session *session, struct fault *fault)
{
	int error = 0;

	for (unsigned int i = 0; !error && i < session->connections; i++) {
		struct sender_setup setup = {
			.flow = session->flow,
			.connection = i,
			.stream = session->data[i],
			.disk_fds = session->fds,
			.disks = session->setup.source->count,
			.limit = session->setup.limit,
			.codec = (enum compress_codec)session->setup.source->options->compression,
			.failed = on_sender_failed,
			.context = session,
		};

		error = sender_start(&setup, &session->senders[i]);
		if (!error)
			session->data[i] = NULL;
	}
	if (!error)
		error = os_thread_start(&session->reader, "control", read_control, session);
	if (!error)
		error = os_thread_start(&session->heartbeat, "heartbeat", beat, session);
	if (error)
		return fault_set(fault, FAULT_RETRY, -error, "cannot start a session's threads: %s",
				 strerror(-error));
	return 0;
}

int session_open(const struct session_setup *setup, struct session **ret_session,
		 struct fault *fault)
{
	struct session *session = calloc(1, sizeof(*session));
	int error;

	if (!session)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "no memory for a session");
	session->setup = *setup;
	session->answer = SESSION_ANSWER_NONE;
	os_mutex_init(&session->lock);
	os_cond_init(&session->changed);
	error = session_connect(session, fault);
	if (!error)
		error = start_flow(session, fault);
	session->heard_ns = os_monotonic_ns();
	if (!error)
		error = start_threads(session, fault);
	if (error) {
		session_close(session);
		return error;
	}
	*ret_session = session;
	return 0;
}

void session_close(struct session *session)
{
	if (!session)
		return;
	os_mutex_lock(&session->lock);
	session->is_closing = true;
	os_cond_broadcast(&session->changed);
	os_mutex_unlock(&session->lock);
	cancel_all(session, session->stream);
	for (unsigned int i = 0; i < WIRE_CONNECTIONS_MAX; i++)
		if (session->senders[i])
			sender_cancel(session->senders[i]);
	for (unsigned int i = 0; i < WIRE_CONNECTIONS_MAX; i++) {
		sender_free(session->senders[i]);
		tls_stream_free(session->data[i]);
	}
	os_thread_join(&session->heartbeat);
	os_thread_join(&session->reader);
	stream_free(session->stream);
	if (session->stream_connection)
		frame_link_fini(&session->stream_link);
	tls_stream_free(session->stream_connection);
	if (session->control)
		frame_link_fini(&session->link);
	tls_stream_free(session->control);
	flow_free(session->flow);
	os_cond_fini(&session->changed);
	os_mutex_fini(&session->lock);
	free(session);
}

struct flow *session_flow(struct session *session)
{
	return session->flow;
}

const struct wire_disk_ready *session_disk(const struct session *session, unsigned int index)
{
	return &session->disks[index];
}

bool session_wait_stream_ready(struct session *session, uint64_t deadline_ns,
			       struct wire_stream_ready *ret_ready)
{
	bool has_one;

	os_mutex_lock(&session->lock);
	while (!session->has_failed && !session->has_stream_ready && !session->has_no_stream &&
	       os_cond_wait_until(&session->changed, &session->lock, deadline_ns) == 0)
		;
	has_one = session->has_stream_ready;
	if (has_one)
		*ret_ready = session->stream_ready;
	os_mutex_unlock(&session->lock);
	return has_one;
}

bool session_has_failed(struct session *session, struct fault *fault)
{
	bool has_failed;

	os_mutex_lock(&session->lock);
	has_failed = session->has_failed;
	if (has_failed && fault)
		*fault = session->fault;
	os_mutex_unlock(&session->lock);
	return has_failed;
}

bool session_next_command(struct session *session, uint64_t deadline_ns,
			  struct wire_command *ret_command)
{
	bool has_one;

	os_mutex_lock(&session->lock);
	while (!session->has_failed && !session->command_count &&
	       os_cond_wait_until(&session->changed, &session->lock, deadline_ns) == 0)
		;
	has_one = session->command_count > 0 && !session->has_failed;
	if (has_one) {
		*ret_command = session->commands[0];
		session->command_count--;
		memmove(&session->commands[0], &session->commands[1],
			session->command_count * sizeof(session->commands[0]));
	}
	os_mutex_unlock(&session->lock);
	return has_one;
}

bool session_has_command(struct session *session)
{
	bool has_one;

	os_mutex_lock(&session->lock);
	has_one = session->command_count > 0;
	os_mutex_unlock(&session->lock);
	return has_one;
}

int session_send(struct session *session, enum wire_type type, const void *message, size_t size)
{
	struct fault fault = {0};
	int error = frame_send(&session->link, type, message, size, NULL, 0, &fault);

	if (error)
		session_fail(session, &fault);
	return error;
}

int session_reply(struct session *session, const struct wire_reply *reply)
{
	return session_send(session, WIRE_REPLY, reply, sizeof(*reply));
}

enum session_answer session_wait_answer(struct session *session, uint64_t id, uint64_t deadline_ns)
{
	enum session_answer answer = SESSION_ANSWER_NONE;

	os_mutex_lock(&session->lock);
	while (!session->has_failed &&
	       (session->answer == SESSION_ANSWER_NONE || session->answer_id != id) &&
	       os_cond_wait_until(&session->changed, &session->lock, deadline_ns) == 0)
		;
	if (session->answer != SESSION_ANSWER_NONE && session->answer_id == id) {
		answer = session->answer;
		session->answer = SESSION_ANSWER_NONE;
	}
	os_mutex_unlock(&session->lock);
	return answer;
}

bool session_is_cancelled(struct session *session, uint64_t id)
{
	bool is_cancelled;

	os_mutex_lock(&session->lock);
	is_cancelled = session->cancelled_id == id;
	os_mutex_unlock(&session->lock);
	return is_cancelled;
}
