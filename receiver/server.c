// SPDX-License-Identifier: GPL-2.0-or-later
/* The TCP side of the receiver; see server.h. */
#include "receiver/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/frame.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_socket.h"
#include "common/tls.h"
#include "receiver/admission.h"
#include "receiver/data.h"
#include "receiver/enroll.h"
#include "receiver/session.h"
#include "receiver/stream.h"

#define CONNECTIONS_MAX	     (512 + 2 * ADMISSION_MAX) /* strangers too, and those that just end */
#define HANDSHAKE_TIMEOUT_NS (10 * NS_PER_S)
#define HELLO_TIMEOUT_NS     (10 * NS_PER_S)
#define ACCEPT_WAIT_NS	     (500 * NS_PER_MS)

/* A connection and its thread. */
struct connection {
	struct server *server;
	struct os_thread thread;
	os_socket_t socket; /* until TLS takes it over */
	/* Under the server's lock. */
	struct tls_stream *stream;
	os_socket_t handle; /* a stranger's: the same socket, to shut it down at any time */
	struct admission_slot slot;
	bool is_over;

	char peer[96];
	struct connection *next;
};

struct server {
	struct machines *machines;
	struct tls_context *context;
	os_socket_t listener;
	struct os_thread acceptor;
	struct os_mutex lock;
	bool is_stopping;
	struct connection *connections;
	unsigned int count;
	struct admission strangers;
	struct stranger_lines lines;
};

/* For what anybody can cause: at most a line a second in the long run. */
__attribute__((format(printf, 2, 3))) static void say_of_stranger(struct server *server,
								  const char *format, ...)
{
	char text[FAULT_TEXT_MAX + 128];
	unsigned long long withheld = 0;
	va_list arguments;
	bool may_say;

	os_mutex_lock(&server->lock);
	may_say = stranger_lines_take(&server->lines, os_monotonic_ns(), &withheld);
	os_mutex_unlock(&server->lock);
	if (!may_say)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (withheld)
		log_warning("%s (and %llu more connections refused or dropped before it)", text,
			    withheld);
	else
		log_warning("%s", text);
}

/* It is no stranger any more, or is over: nobody drops it from here on. True if nobody has. */
static bool leave_strangers(struct connection *connection)
{
	struct server *server = connection->server;
	bool was_inside;

	os_mutex_lock(&server->lock);
	was_inside = connection->slot.is_inside;
	admission_leave(&server->strangers, &connection->slot);
	if (connection->handle != OS_SOCKET_NONE)
		os_socket_close(connection->handle);
	connection->handle = OS_SOCKET_NONE;
	os_mutex_unlock(&server->lock);
	return was_inside;
}

/* I know this certificate, but do I still accept it? */
static int check_certificate(struct server *server, const struct pki_identity *identity,
			     enum wire_error_code *ret_code, struct fault *fault)
{
	int error = enroll_check_fingerprint(machines_options(server->machines)->state_folder,
					     identity->name, identity->fingerprint);

	if (!error)
		return 0;
	*ret_code = error == -EKEYREVOKED ? WIRE_ERROR_REVOKED : WIRE_ERROR_REMOVED;
	if (error == -EKEYREVOKED)
		return fault_set(
			fault, FAULT_STOP, EKEYREVOKED,
			"%s was enrolled again since: this certificate is not accepted any "
			"more. If this is the right machine, enroll it with a new token",
			identity->name);
	return fault_set(
		fault, FAULT_STOP, ENOENT,
		"%s is not known here (any more): enroll it with a token from 'blkferry token "
		"%s'",
		identity->name, identity->name);
}

static int receive_hello(struct frame_link *link, struct wire_hello *ret_hello, struct fault *fault)
{
	uint64_t buffer[WIRE_CONTROL_MAX / sizeof(uint64_t)];
	enum wire_type type;
	uint32_t length;
	int error = frame_receive(link, buffer, sizeof(buffer), &type, &length,
				  os_monotonic_ns() + HELLO_TIMEOUT_NS, fault);

	if (error)
		return error;
	if (type != WIRE_HELLO)
		return fault_set(fault, FAULT_STOP, EPROTO, "the peer did not say hello");
	memcpy(ret_hello, buffer, sizeof(*ret_hello));
	return 0;
}

static void serve_session(struct connection *connection)
{
	struct server *server = connection->server;
	struct pki_identity identity = {0};
	enum wire_error_code code = WIRE_ERROR_PROTOCOL;
	struct wire_hello hello;
	struct frame_link link;
	struct fault fault = {0};
	struct machine *machine;
	int error;

	frame_link_init(&link, connection->stream, "the agent");
	error = tls_stream_peer(connection->stream, &identity);
	if (error || identity.role != PKI_ROLE_MACHINE)
		error = fault_set(&fault, FAULT_STOP, EACCES,
				  "this is not the certificate of a machine");
	if (!error)
		error = check_certificate(server, &identity, &code, &fault);
	if (!error && !leave_strangers(connection))
		error = fault_set(&fault, FAULT_RETRY, ECANCELED, "too many connections at once");
	if (!error)
		error = receive_hello(&link, &hello, &fault);
	machine = error ? NULL : machines_add(server->machines, identity.name);
	if (!machine) {
		if (error) {
			log_warning("%s (%s): %s", connection->peer, identity.name, fault.text);
			frame_send_error(&link, code, fault.class, fault.text);
		}
	} else if (hello.role == WIRE_ROLE_CONTROL) {
		session_serve(server->machines, machine, &link, &hello);
	} else if (hello.role == WIRE_ROLE_DATA) {
		data_serve(machine, &link, &hello);
	} else if (hello.role == WIRE_ROLE_STREAM) {
		stream_serve(machine, &link, &hello);
	} else {
		log_warning("%s (%s): unknown role %u in HELLO", connection->peer, identity.name,
			    hello.role);
		frame_send_error(&link, WIRE_ERROR_PROTOCOL, FAULT_STOP, "unknown role in HELLO");
	}
	frame_link_fini(&link);
}

static void serve_enrolment(struct connection *connection)
{
	struct machines *machines = connection->server->machines;
	const struct receiver_options *options = machines_options(machines);
	char name[PKI_NAME_MAX];
	struct fault fault = {0};
	struct machine *machine;

	if (enroll_serve(connection->stream, connection->peer, options->state_folder,
			 (unsigned int)options->certificate_days, name, &fault)) {
		if (leave_strangers(connection))
			say_of_stranger(connection->server, "%s: enrolment: %s", connection->peer,
					fault.text);
		return;
	}
	/* It is known from here on, not only from its first session on. */
	machine = machines_add(machines, name);
	if (!machine)
		return;
	os_mutex_lock(&machine->lock);
	machine->is_removed = false;
	os_mutex_unlock(&machine->lock);
}

static void serve(void *argument)
{
	struct connection *connection = argument;
	struct server *server = connection->server;
	struct tls_stream *stream = NULL;
	struct fault fault = {0};
	int error = tls_stream_accept(server->context, connection->socket,
				      os_monotonic_ns() + HANDSHAKE_TIMEOUT_NS, &stream, &fault);

	connection->socket = OS_SOCKET_NONE;
	if (error) {
		if (leave_strangers(connection))
			say_of_stranger(server, "%s: %s", connection->peer, fault.text);
	} else {
		os_mutex_lock(&server->lock);
		connection->stream = stream;
		if (server->is_stopping)
			tls_stream_cancel(stream);
		os_mutex_unlock(&server->lock);
		if (strcmp(tls_stream_alpn(stream), WIRE_ALPN) == 0)
			serve_session(connection);
		else
			serve_enrolment(connection);
	}
	os_mutex_lock(&server->lock);
	connection->stream = NULL;
	os_mutex_unlock(&server->lock);
	tls_stream_free(stream);
	(void)leave_strangers(connection);
	os_mutex_lock(&server->lock);
	connection->is_over = true;
	os_mutex_unlock(&server->lock);
}

enum reap { REAP_ENDED = 1, REAP_ALL };

/* Joins threads: those that have ended, or all. */
static void reap(struct server *server, enum reap which)
{
	struct connection *over = NULL, **at = &server->connections;

	os_mutex_lock(&server->lock);
	while (*at) {
		struct connection *connection = *at;

		if (which == REAP_ENDED && !connection->is_over) {
			at = &connection->next;
			continue;
		}
		*at = connection->next;
		connection->next = over;
		over = connection;
		server->count--;
	}
	os_mutex_unlock(&server->lock);
	while (over) {
		struct connection *next = over->next;

		os_thread_join(&over->thread);
		free(over);
		over = next;
	}
}

static struct connection *connection_new(struct server *server, os_socket_t socket,
					 const char *peer)
{
	struct connection *connection = NULL;
	bool is_full;

	os_mutex_lock(&server->lock);
	is_full = server->count >= CONNECTIONS_MAX;
	os_mutex_unlock(&server->lock);
	if (!is_full)
		connection = calloc(1, sizeof(*connection));
	if (!connection)
		return NULL;
	connection->server = server;
	connection->socket = socket;
	connection->handle = fcntl(socket, F_DUPFD_CLOEXEC, 0);
	if (connection->handle < 0) {
		free(connection);
		return NULL;
	}
	snprintf(connection->peer, sizeof(connection->peer), "%s", peer);
	return connection;
}

/* Makes room for it among the strangers. The lock is held. Returns who was dropped, or NULL. */
static const struct connection *enter_strangers(struct connection *connection)
{
	char address[64];
	struct admission_slot *victim;
	struct connection *dropped;

	os_socket_peer(connection->socket, address, sizeof(address));
	victim = admission_enter(&connection->server->strangers, &connection->slot, address);
	if (!victim)
		return NULL;
	dropped = (struct connection *)((char *)victim - offsetof(struct connection, slot));
	os_socket_shutdown(dropped->handle);
	return dropped;
}

static void start_connection(struct server *server, os_socket_t socket, const char *peer)
{
	struct connection *connection = connection_new(server, socket, peer);
	const struct connection *dropped;
	char dropped_peer[sizeof(connection->peer)] = "";

	if (!connection) {
		say_of_stranger(server, "%s: refused: too many connections", peer);
		os_socket_close(socket);
		return;
	}
	os_mutex_lock(&server->lock);
	dropped = enter_strangers(connection);
	if (dropped)
		memcpy(dropped_peer, dropped->peer, sizeof(dropped_peer));
	if (os_thread_start(&connection->thread, "connection", serve, connection)) {
		admission_leave(&server->strangers, &connection->slot);
		os_socket_close(connection->handle);
		os_socket_close(socket);
		free(connection);
	} else {
		connection->next = server->connections;
		server->connections = connection;
		server->count++;
	}
	os_mutex_unlock(&server->lock);
	if (dropped)
		say_of_stranger(server, "%s: dropped: too many connections that say nothing",
				dropped_peer);
}

static void accept_all(void *argument)
{
	struct server *server = argument;

	for (;;) {
		os_socket_t socket;
		char peer[96];
		bool is_stopping;
		int error = os_socket_accept(server->listener, ACCEPT_WAIT_NS, &socket, peer,
					     sizeof(peer));

		os_mutex_lock(&server->lock);
		is_stopping = server->is_stopping;
		os_mutex_unlock(&server->lock);
		if (is_stopping) {
			if (!error)
				os_socket_close(socket);
			return;
		}
		reap(server, REAP_ENDED);
		if (!error)
			start_connection(server, socket, peer);
		else if (error != -ETIMEDOUT)
			os_sleep_ns(100 * NS_PER_MS); /* out of descriptors, for example */
	}
}

static int open_context(struct server *server, struct fault *fault)
{
	const char *folder = machines_options(server->machines)->state_folder;
	char ca[512], certificate[512], key[512];
	int error;

	snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
	snprintf(certificate, sizeof(certificate), "%s/receiver.pem", folder);
	snprintf(key, sizeof(key), "%s/receiver.key", folder);
	error = tls_context_new_receiver(ca, certificate, key, &server->context, fault);
	if (error == -ENOENT)
		return fault_set(fault, FAULT_STOP, ENOENT,
				 "no certificate in %s: run 'blkferry-receiver init' first",
				 folder);
	return error;
}

int server_start(struct machines *machines, struct server **ret_server, struct fault *fault)
{
	struct server *server = calloc(1, sizeof(*server));
	char address[256];
	uint16_t port;
	int error;

	if (!server)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	server->machines = machines;
	server->listener = OS_SOCKET_NONE;
	os_mutex_init(&server->lock);
	error = open_context(server, fault);
	if (!error)
		error = options_split_listen(machines_options(machines)->listen, address,
					     sizeof(address), &port, fault);
	if (!error)
		error = os_socket_listen(address, port, &server->listener, fault);
	if (!error && os_thread_start(&server->acceptor, "acceptor", accept_all, server))
		error = fault_set(fault, FAULT_STOP, EAGAIN, "cannot start a thread");
	if (error) {
		server_stop(server);
		return error;
	}
	*ret_server = server;
	return 0;
}

uint16_t server_port(const struct server *server)
{
	return os_socket_port(server->listener);
}

void server_stop(struct server *server)
{
	if (!server)
		return;
	os_mutex_lock(&server->lock);
	server->is_stopping = true;
	for (struct connection *at = server->connections; at; at = at->next) {
		if (at->stream)
			tls_stream_cancel(at->stream);
		if (at->handle != OS_SOCKET_NONE)
			os_socket_shutdown(at->handle);
	}
	os_mutex_unlock(&server->lock);
	if (server->listener != OS_SOCKET_NONE)
		os_socket_shutdown(server->listener);
	os_thread_join(&server->acceptor);
	reap(server, REAP_ALL);
	if (server->listener != OS_SOCKET_NONE)
		os_socket_close(server->listener);
	tls_context_free(server->context);
	os_mutex_fini(&server->lock);
	free(server);
}
