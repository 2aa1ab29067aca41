// SPDX-License-Identifier: GPL-2.0-or-later
/* Answering a view's plugins; see view_socket.h. */
#include "receiver/view_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_io.h"
#include "common/os_thread.h"
#include "common/wire.h"
#include "receiver/view_wire.h"

/* The one that asks nothing, too; and some that have just ended. */
#define CONNECTIONS_MAX (WIRE_DISKS_MAX * (VIEW_CONNECTIONS_MAX + 1) + 16)
#define BACKLOG		32
#define ACCEPT_PAUSE_NS (100 * NS_PER_MS)

struct view_connection {
	struct view_socket *server;
	struct os_thread thread;
	int fd;
	bool is_over; /* under the socket's lock */
	struct view_connection *next;
};

struct view_socket {
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char name[128];
	unsigned int disk_count;
	uint64_t disk_bytes[WIRE_DISKS_MAX];
	view_read_fn *read;
	void *context;
	int listener;
	struct os_thread acceptor;
	struct os_mutex lock;
	bool is_stopping, has_complained;
	struct view_connection *connections;
	unsigned int count;
};

/* I10 */
static int check(const struct view_socket *server, const struct view_request *request)
{
	uint64_t disk_bytes;

	if (request->magic != VIEW_MAGIC || request->reserved || request->length == 0 ||
	    request->length > VIEW_READ_MAX || request->disk >= server->disk_count)
		return -EINVAL;
	disk_bytes = server->disk_bytes[request->disk];
	if (request->offset % VIEW_BLOCK_BYTES || request->offset > disk_bytes ||
	    request->length > disk_bytes - request->offset)
		return -EINVAL;
	if (request->length % VIEW_BLOCK_BYTES && request->offset + request->length != disk_bytes)
		return -EINVAL;
	return 0;
}

/* A view's errors are its clients': they are told each time, the log once. */
static void complain(struct view_socket *server, const struct fault *fault)
{
	bool is_first;

	os_mutex_lock(&server->lock);
	is_first = !server->has_complained;
	server->has_complained = true;
	os_mutex_unlock(&server->lock);
	if (is_first)
		log_warning("%s cannot be read everywhere: %s", server->name, fault->text);
}

static int serve_request(struct view_connection *connection, const struct view_request *request,
			 void *data)
{
	struct view_socket *server = connection->server;
	struct view_reply reply = {.magic = VIEW_MAGIC};
	struct fault fault = {0};
	int error = check(server, request);

	if (error) {
		fault_set(&fault, FAULT_STOP, -error, "its plugin asks for what is not there");
	} else {
		error = server->read(server->context, request->disk, data, request->offset,
				     request->length, &fault);
	}
	if (error)
		complain(server, &fault);
	reply.error = (uint32_t)-error;
	reply.length = error ? 0 : request->length;
	error = os_send_all(connection->fd, &reply, sizeof(reply));
	if (!error && reply.length)
		error = os_send_all(connection->fd, data, reply.length);
	return error;
}

static void serve(void *argument)
{
	struct view_connection *connection = argument;
	struct view_request request;
	void *data = NULL; /* those that ask nothing need none */

	while (os_receive_all(connection->fd, &request, sizeof(request)) == 0) {
		if (!data)
			data = malloc(VIEW_READ_MAX);
		if (!data || serve_request(connection, &request, data))
			break;
	}
	free(data);
	shutdown(connection->fd, SHUT_RDWR);
	os_mutex_lock(&connection->server->lock);
	connection->is_over = true;
	os_mutex_unlock(&connection->server->lock);
}

/* Joins threads: those that have ended, or, when stopping, all. */
static void reap(struct view_socket *server)
{
	struct view_connection **at = &server->connections, *over = NULL;

	os_mutex_lock(&server->lock);
	while (*at) {
		struct view_connection *connection = *at;

		if (!connection->is_over && !server->is_stopping) {
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
		struct view_connection *next = over->next;

		os_thread_join(&over->thread);
		close(over->fd);
		free(over);
		over = next;
	}
}

static void start_connection(struct view_socket *server, int fd)
{
	struct view_connection *connection = calloc(1, sizeof(*connection));
	bool is_started = false;

	os_mutex_lock(&server->lock);
	if (connection && server->count < CONNECTIONS_MAX && !server->is_stopping) {
		connection->server = server;
		connection->fd = fd;
		is_started = os_thread_start(&connection->thread, "view", serve, connection) == 0;
	}
	if (is_started) {
		connection->next = server->connections;
		server->connections = connection;
		server->count++;
	}
	os_mutex_unlock(&server->lock);
	if (!is_started) {
		close(fd);
		free(connection);
	}
}

static void accept_all(void *argument)
{
	struct view_socket *server = argument;

	for (;;) {
		struct pollfd ready = {.fd = server->listener, .events = POLLIN};
		bool is_stopping;
		int fd = -1;

		if (poll(&ready, 1, -1) > 0)
			fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
		os_mutex_lock(&server->lock);
		is_stopping = server->is_stopping;
		os_mutex_unlock(&server->lock);
		if (is_stopping) {
			if (fd >= 0)
				close(fd);
			return;
		}
		reap(server);
		if (fd >= 0)
			start_connection(server, fd);
		else
			os_sleep_ns(ACCEPT_PAUSE_NS); /* out of descriptors, for example */
	}
}

static int listen_at(struct view_socket *server, struct fault *fault)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memcpy(address.sun_path, server->path, sizeof(address.sun_path));
	server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Mode before bind: there is no moment at which others could connect. */
	if (server->listener < 0 || fchmod(server->listener, 0600) < 0 ||
	    bind(server->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(server->path, 0600) < 0 || listen(server->listener, BACKLOG) < 0)
		return fault_set(fault, FAULT_STOP, errno, "%s: %s", server->path, strerror(errno));
	return 0;
}

int view_socket_start(const struct view_socket_setup *setup, struct view_socket **ret_socket,
		      struct fault *fault)
{
	struct view_socket *server = calloc(1, sizeof(*server));
	int error;

	if (!server)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	os_mutex_init(&server->lock);
	server->listener = -1;
	server->disk_count = setup->disk_count;
	server->read = setup->read;
	server->context = setup->context;
	memcpy(server->disk_bytes, setup->disk_bytes,
	       setup->disk_count * sizeof(*setup->disk_bytes));
	snprintf(server->name, sizeof(server->name), "%s", setup->name);
	if (strlen(setup->path) >= sizeof(server->path)) {
		error = fault_set(fault, FAULT_STOP, ENAMETOOLONG,
				  "%s is too long for a socket (%zu characters at most): use a "
				  "shorter control-socket",
				  setup->path, sizeof(server->path) - 1);
	} else {
		strcpy(server->path, setup->path);
		error = listen_at(server, fault);
	}
	if (!error && os_thread_start(&server->acceptor, "views", accept_all, server))
		error = fault_set(fault, FAULT_STOP, EAGAIN, "cannot start a thread");
	if (error) {
		view_socket_stop(server);
		return error;
	}
	*ret_socket = server;
	return 0;
}

void view_socket_stop(struct view_socket *server)
{
	if (!server)
		return;
	os_mutex_lock(&server->lock);
	server->is_stopping = true;
	for (struct view_connection *at = server->connections; at; at = at->next)
		shutdown(at->fd, SHUT_RDWR);
	os_mutex_unlock(&server->lock);
	if (server->listener >= 0)
		shutdown(server->listener, SHUT_RDWR); /* wakes the acceptor */
	os_thread_join(&server->acceptor);
	reap(server);
	if (server->listener >= 0) {
		close(server->listener);
		unlink(server->path);
	}
	os_mutex_fini(&server->lock);
	free(server);
}
