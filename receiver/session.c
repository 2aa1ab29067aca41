// SPDX-License-Identifier: GPL-2.0-or-later
/* A session's control connection; see session.h. */
#include "receiver/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "common/wire_check.h"
#include "receiver/cutover.h"
#include "receiver/session_internal.h"

#define CONNECTIONS_MAX 8

static struct session *session_new(struct machines *machines, struct machine *machine,
				   struct frame_link *link, const struct wire_hello *hello)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->machines = machines;
	session->machine = machine;
	session->link = link;
	session->hello = *hello;
	session->disk_count = hello->disks;
	session->heard_ns = os_monotonic_ns();
	os_random(session->id, sizeof(session->id));
	os_mutex_init(&session->lock);
	os_mutex_init(&session->flush_lock);
	os_cond_init(&session->changed);
	return session;
}

static void session_free(struct session *session)
{
	os_cond_fini(&session->changed);
	os_mutex_fini(&session->flush_lock);
	os_mutex_fini(&session->lock);
	free(session);
}

void session_mark_failed(struct session *session)
{
	os_mutex_lock(&session->lock);
	session->has_failed = true;
	os_cond_broadcast(&session->changed);
	for (unsigned int i = 0; i < WIRE_CONNECTIONS_MAX; i++)
		if (session->data[i])
			tls_stream_cancel(session->data[i]->stream);
	if (session->stream)
		tls_stream_cancel(session->stream->stream);
	os_mutex_unlock(&session->lock);
	tls_stream_cancel(session->link->stream);
}

void session_fail(struct session *session, enum wire_error_code code, const struct fault *fault)
{
	bool is_first;

	os_mutex_lock(&session->lock);
	is_first = !session->has_failed;
	session->has_failed = true;
	os_mutex_unlock(&session->lock);
	if (is_first) {
		log_warning("%s: %s", session->machine->name, fault->text);
		machine_set_error(session->machine, fault->text);
		frame_send_error(session->link, code, fault->class, fault->text);
	}
	session_mark_failed(session);
}

bool session_has_failed(struct session *session)
{
	bool has_failed;

	os_mutex_lock(&session->lock);
	has_failed = session->has_failed;
	os_mutex_unlock(&session->lock);
	return has_failed;
}

int session_send(struct session *session, enum wire_type type, const void *first, size_t first_size,
		 const void *second, size_t second_size)
{
	return frame_send(session->link, type, first, first_size, second, second_size, NULL);
}

unsigned int session_disk_count(const struct session *session)
{
	return session->disk_count;
}

struct replica *session_replica(const struct session *session)
{
	return session->replica;
}

struct replica_disk *session_disk(const struct session *session, unsigned int index)
{
	return replica_disk(session->replica, session->slots[index]);
}

struct session *session_hold(struct machine *machine)
{
	struct session *session = machine->is_ending ? NULL : machine->session;

	if (session) {
		bool is_open;

		os_mutex_lock(&session->lock);
		is_open = session->is_welcomed;
		if (is_open)
			session->holds++;
		os_mutex_unlock(&session->lock);
		if (!is_open)
			return NULL; /* the agent does not expect commands before WELCOME */
	}
	return session;
}

void session_release(struct session *session)
{
	if (!session)
		return;
	os_mutex_lock(&session->lock);
	session->holds--;
	os_cond_broadcast(&session->changed);
	os_mutex_unlock(&session->lock);
}

/* What was asked for while the agent was away, or before it was restarted. */
static void send_standing_orders(struct session *session)
{
	struct machine *machine = session->machine;
	struct wire_command pause = {.kind = WIRE_COMMAND_PAUSE};
	struct wire_command limit = {.kind = WIRE_COMMAND_LIMIT};
	bool is_paused, has_limit;

	os_mutex_lock(&machine->lock);
	is_paused = machine->is_paused;
	has_limit = machine->has_limit;
	limit.value = machine->limit;
	os_mutex_unlock(&machine->lock);
	if (has_limit)
		(void)session_send(session, WIRE_COMMAND, &limit, sizeof(limit), NULL, 0);
	if (is_paused)
		(void)session_send(session, WIRE_COMMAND, &pause, sizeof(pause), NULL, 0);
}

static int on_ranges(struct session *session, const void *payload, uint32_t length)
{
	uint64_t id = *(const le64 *)payload;
	uint32_t count;
	const struct wire_range *ranges = wire_ranges(payload, length, &count);

	os_mutex_lock(&session->lock);
	for (unsigned int i = 0; i < SESSION_WAITERS_MAX; i++) {
		struct session_waiter *waiter = &session->waiters[i];

		if (id && waiter->id == id && waiter->ranges)
			waiter->ranges(waiter->context, ranges, count);
	}
	os_mutex_unlock(&session->lock);
	return 0;
}

static int on_reply(struct session *session, const struct wire_reply *reply)
{
	os_mutex_lock(&session->lock);
	for (unsigned int i = 0; i < SESSION_WAITERS_MAX; i++) {
		struct session_waiter *waiter = &session->waiters[i];

		if (reply->id && waiter->id == reply->id) {
			waiter->reply = *reply;
			waiter->has_reply = true;
			os_cond_broadcast(&session->changed);
		}
	}
	os_mutex_unlock(&session->lock);
	cutover_on_reply(session->machines, session->machine, reply);
	return 0;
}

static int on_status(struct session *session, const struct wire_status *status)
{
	struct machine *machine = session->machine;
	uint64_t now_ns = os_monotonic_ns(), passed_ns;

	os_mutex_lock(&machine->lock);
	passed_ns = now_ns - machine->status_ns;
	machine->capture_rate = 0;
	if (passed_ns && status->captured_bytes > machine->status.captured_bytes)
		machine->capture_rate = (uint64_t)((double)(status->captured_bytes -
							    machine->status.captured_bytes) *
						   (double)NS_PER_S / (double)passed_ns);
	machine->status = *status;
	machine->status_ns = now_ns;
	if (status->flags & WIRE_STATUS_READY)
		machine->last_error[0] = '\0';
	os_cond_broadcast(&machine->changed);
	os_mutex_unlock(&machine->lock);
	return 0;
}

static uint64_t acked_epoch(struct session *session)
{
	uint64_t epoch;

	os_mutex_lock(&session->lock);
	epoch = session->acked_epoch;
	os_mutex_unlock(&session->lock);
	return epoch;
}

/* Ends the session: there is nothing more to replicate. */
static int on_fenced(struct session *session, const struct wire_fenced *fenced, struct fault *fault)
{
	int error = cutover_on_fenced(session->machines, session->machine, fenced->id,
				      fenced->data_downtime_ns, fault);

	if (error)
		return error;
	(void)session_send(session, WIRE_FENCED, fenced, sizeof(*fenced), NULL, 0);
	return fault_set(fault, FAULT_STOP, EALREADY, "%s was cut over", session->machine->name);
}

static int dispatch(struct session *session, enum wire_type type, const void *message,
		    uint32_t length, struct fault *fault)
{
	struct machine *machine = session->machine;

	if (type == WIRE_STATUS)
		return on_status(session, message);
	if (type == WIRE_CHECKS) {
		machine_set_checks(session->machine, message);
		return 0;
	}
	if (type == WIRE_START) {
		machine_set_start(session->machine, message);
		return 0;
	}
	if (type == WIRE_REPLY)
		return on_reply(session, message);
	if (type == WIRE_RANGES)
		return on_ranges(session, message, length);
	if (type == WIRE_STEP) {
		cutover_on_step(machine, message);
		return 0;
	}
	if (type == WIRE_SEAL)
		return cutover_on_seal(session, machine, message, acked_epoch(session), fault);
	if (type == WIRE_FENCED)
		return on_fenced(session, message, fault);
	if (type == WIRE_ERROR) {
		(void)frame_error_to_fault(session->link, message, fault);
		machine_set_error(machine, fault->text);
		return -EREMOTEIO;
	}
	return fault_set(fault, FAULT_STOP, EPROTO,
			 "the agent sent a %s frame that makes no sense "
			 "here",
			 wire_type_name(type));
}

static void read_control(struct session *session, struct fault *fault)
{
	uint64_t buffer[WIRE_CONTROL_MAX / sizeof(uint64_t)];
	enum wire_type type;
	uint32_t length;
	int error;

	do {
		error = frame_receive(session->link, buffer, sizeof(buffer), &type, &length, 0,
				      fault);
		if (!error) {
			os_mutex_lock(&session->lock);
			session->heard_ns = os_monotonic_ns();
			os_mutex_unlock(&session->lock);
			error = dispatch(session, type, buffer, length, fault);
		}
		if (error == -EPROTO || error == -EMSGSIZE)
			frame_send_error(session->link, WIRE_ERROR_PROTOCOL, fault->class,
					 fault->text);
	} while (!error);
}

/* Pings once a second; ends a session whose agent has fallen silent. */
static void ping(void *argument)
{
	struct session *session = argument;
	struct fault fault = {0};

	os_mutex_lock(&session->lock);
	while (!session->has_failed) {
		bool is_dead = session_is_silent(session);

		os_mutex_unlock(&session->lock);
		if (is_dead) {
			fault_set(&fault, FAULT_RETRY, ETIMEDOUT,
				  "nothing heard from the agent for "
				  "%d s",
				  WIRE_SILENCE_MS / 1000);
			session_fail(session, WIRE_ERROR_INTERNAL, &fault);
		} else {
			(void)session_send(session, WIRE_PING, NULL, 0, NULL, 0);
		}
		os_mutex_lock(&session->lock);
		if (!session->has_failed)
			(void)os_cond_wait_until(&session->changed, &session->lock,
						 os_monotonic_ns() + WIRE_PING_MS * NS_PER_MS);
	}
	os_mutex_unlock(&session->lock);
}

/* Waits for the stream and the data connections to end their last writes, and for those who hold the session. */
static void wait_unused(struct session *session)
{
	bool is_used = true;

	session_mark_failed(session);
	os_mutex_lock(&session->lock);
	while (is_used) {
		is_used = session->holds > 0 || session->stream;
		for (unsigned int i = 0; i < WIRE_CONNECTIONS_MAX; i++)
			is_used |= session->data[i] != NULL;
		if (is_used)
			os_cond_wait(&session->changed, &session->lock);
	}
	os_mutex_unlock(&session->lock);
}

/* A fenced source whose FENCED, or its answer, got lost. Its targets stay untouched: they may be a running
 * machine's disks by now. */
static void run_fenced(struct session *session)
{
	struct wire_fenced heard = {.id = session->hello.fenced};
	struct fault fault = {0};

	if (cutover_on_fenced(session->machines, session->machine, heard.id, 0, &fault))
		session_refuse(session, WIRE_ERROR_PROTOCOL, &fault);
	else
		(void)session_send(session, WIRE_FENCED, &heard, sizeof(heard), NULL, 0);
}

/* On a target with one connection several of ours would only wait for each other. */
static void limit_connections(struct session *session)
{
	for (unsigned int i = 0; i < session->disk_count; i++)
		if (target_info(session_disk(session, i)->target)->is_single)
			session->connections = 1;
}

static void run_session(struct session *session)
{
	struct os_thread pinger = {0};
	struct fault fault = {0};
	enum wire_error_code code = WIRE_ERROR_TARGET;
	int error;

	cutover_on_unfenced_hello(session->machines, session->machine);
	/* Opening targets may take long: the agent hears from us meanwhile. */
	if (os_thread_start(&pinger, "ping", ping, session))
		return;
	error = session_open_disks(session, &fault);
	if (!error) {
		code = WIRE_ERROR_INTERNAL;
		limit_connections(session);
		error = session_welcome(session, &fault);
	}
	os_mutex_lock(&session->lock);
	session->is_welcomed = !error;
	session->heard_ns = os_monotonic_ns();
	os_mutex_unlock(&session->lock);
	if (error) {
		session_fail(session, code, &fault);
	} else {
		log_info("%s: connected from host '%s', %u disks, %u data connections",
			 session->machine->name, session->hello.host, session->disk_count,
			 session->connections);
		send_standing_orders(session);
		read_control(session, &fault);
		if (fault.text[0])
			log_info("%s: session ended: %s", session->machine->name, fault.text);
	}
	/* Before the last writes end: a target that is stuck must not keep the one who waits for the
	 * cutover from learning how it ended. */
	session_mark_failed(session);
	cutover_on_session_end(session->machine);
	wait_unused(session);
	os_thread_join(&pinger);
	session_close_disks(session);
}

void session_serve(struct machines *machines, struct machine *machine, struct frame_link *link,
		   const struct wire_hello *hello)
{
	struct session *session = session_new(machines, machine, link, hello);
	int error;

	if (!session)
		return;
	session->connections = hello->connections < 1		      ? 1
			       : hello->connections > CONNECTIONS_MAX ? CONNECTIONS_MAX
								      : hello->connections;
	error = session_greet(session);
	if (error) {
		session_free(session);
		return;
	}
	if (hello->fenced)
		run_fenced(session);
	else
		run_session(session);

	os_mutex_lock(&machine->lock);
	machine->session = NULL;
	machine->is_ending = false;
	os_cond_broadcast(&machine->changed);
	os_mutex_unlock(&machine->lock);
	session_free(session);
	cutover_on_session_end(machine);
	cutover_start_target(machines, machine);
}
