// SPDX-License-Identifier: GPL-2.0-or-later
/* The control socket: listening, reading requests, dispatching; see control.h. */
#include "receiver/control.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/os_file.h"
#include "common/os_io.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/control_internal.h"
#include "receiver/group.h"

#define REQUEST_MAX 4096
#define CLIENTS_MAX 64
#define POLL_MS	    500

struct control {
	struct machines *machines;
	int listener;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct os_thread acceptor;
	struct os_mutex lock;
	struct os_cond changed;
	bool is_stopping;
	unsigned int clients;
};

struct client_thread {
	struct control *control;
	struct control_client client;
	struct os_thread thread;
};

bool control_send(struct control_client *client, json_t *message)
{
	char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	size_t length = text ? strlen(text) : 0;
	bool is_sent = false;

	json_decref(message);
	if (text) {
		text[length++] = '\n'; /* in place of the NUL */
		os_mutex_lock(&client->lock);
		is_sent = os_send_all(client->fd, text, length) == 0;
		os_mutex_unlock(&client->lock);
	}
	free(text);
	return is_sent;
}

void control_send_result(struct control_client *client, json_t *result)
{
	(void)control_send(client, json_pack("{s:o}", "result", result));
}

void control_send_error(struct control_client *client, int exit_code, const char *format, ...)
{
	char text[FAULT_TEXT_MAX + 128];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)control_send(client,
			   json_pack("{s:{s:i, s:s}}", "error", "exit", exit_code, "text", text));
}

bool control_is_gone(const struct control_client *client)
{
	struct pollfd ready = {.fd = client->fd, .events = POLLRDHUP};

	return poll(&ready, 1, 0) > 0 && ready.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

static void send_status(struct control_client *client, struct machine *only)
{
	json_t *list = json_array();

	for (struct machine *machine = only ? only : machines_first(client->machines); machine;
	     machine = only ? NULL : machine->next) {
		bool is_removed;

		os_mutex_lock(&machine->lock);
		is_removed = machine->is_removed;
		os_mutex_unlock(&machine->lock);
		if (!is_removed)
			json_array_append_new(list, control_machine_to_json(machine));
	}
	control_send_result(client, json_pack("{s:o}", "machines", list));
}

static void run_request(struct control_client *client, json_t *request)
{
	const char *command = json_string_value(json_object_get(request, "command"));
	const char *name = json_string_value(json_object_get(request, "machine"));
	struct machine *machine = name ? machines_find(client->machines, name) : NULL;

	if (!command) {
		control_send_error(client, EXIT_CODE_USAGE, "a request needs a command");
		return;
	}
	if (strcmp(command, "token") == 0) {
		control_token(client, name ? name : "", request);
		return;
	}
	if (strcmp(command, "status") == 0 && !name) {
		send_status(client, NULL);
		return;
	}
	if (!machine || machine->is_removed) {
		control_send_error(
			client, EXIT_CODE_NO_MACHINE,
			"there is no machine '%s'; 'blkferry status' lists them, 'blkferry "
			"token NAME' begins a new one",
			name ? name : "");
		return;
	}
	if (strcmp(command, "status") == 0)
		send_status(client, machine);
	else if (strcmp(command, "cutover") == 0)
		control_cutover(client, machine, request);
	else if (strcmp(command, "points") == 0)
		control_points(client, machine);
	else if (strcmp(command, "checkpoint") == 0)
		control_checkpoint(client, machine, request);
	else if (strcmp(command, "rollback") == 0)
		control_rollback(client, machine, request);
	else if (strcmp(command, "xcp-create") == 0)
		control_xcp_create(client, machine, request);
	else if (strcmp(command, "verify") == 0)
		control_verify(client, machine, request);
	else if (strcmp(command, "remove") == 0)
		control_remove(client, machine, request);
	else if (strcmp(command, "view") == 0)
		control_view(client, machine, request);
	else if (strcmp(command, "view-list") == 0)
		control_view_list(client, machine);
	else if (strcmp(command, "view-stop") == 0)
		control_view_stop(client, machine, request);
	else if (strcmp(command, "test-boot") == 0)
		control_test_boot(client, machine, request);
	else
		control_order(client, machine, command, request);
}

/* One line, at most REQUEST_MAX. */
static json_t *read_request(int fd)
{
	char text[REQUEST_MAX];
	size_t length = 0;

	while (length < sizeof(text)) {
		ssize_t size = read(fd, text + length, sizeof(text) - length);
		char *end;

		if (size <= 0)
			return NULL;
		end = memchr(text + length, '\n', (size_t)size);
		length += (size_t)size;
		if (end)
			return json_loadb(text, (size_t)(end - text), 0, NULL);
	}
	return NULL;
}

static void serve_client(void *argument)
{
	struct client_thread *thread = argument;
	struct control *control = thread->control;
	json_t *request = read_request(thread->client.fd);

	if (request)
		run_request(&thread->client, request);
	else
		control_send_error(&thread->client, EXIT_CODE_USAGE,
				   "that was no request: one line of JSON is expected");
	json_decref(request);
	close(thread->client.fd);
	os_mutex_fini(&thread->client.lock);
	os_mutex_lock(&control->lock);
	control->clients--;
	os_cond_broadcast(&control->changed);
	os_mutex_unlock(&control->lock);
	free(thread);
}

static void start_client(struct control *control, int fd)
{
	struct timeval timeout = {.tv_sec = 10};
	struct client_thread *thread = calloc(1, sizeof(*thread));
	bool is_started = false;

	/* A client that neither speaks nor reads must not hold us. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	os_mutex_lock(&control->lock);
	if (thread && control->clients < CLIENTS_MAX) {
		thread->control = control;
		thread->client.machines = control->machines;
		thread->client.fd = fd;
		os_mutex_init(&thread->client.lock);
		is_started = os_thread_start(&thread->thread, "client", serve_client, thread) == 0;
		if (is_started)
			control->clients++;
	}
	if (is_started)
		pthread_detach(thread->thread.handle);
	os_mutex_unlock(&control->lock);
	if (!is_started) {
		close(fd);
		free(thread);
	}
}

static void accept_clients(void *argument)
{
	struct control *control = argument;

	for (;;) {
		struct pollfd ready = {.fd = control->listener, .events = POLLIN};
		bool is_stopping;
		int fd = -1;

		if (poll(&ready, 1, POLL_MS) > 0)
			fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC);
		os_mutex_lock(&control->lock);
		is_stopping = control->is_stopping;
		os_mutex_unlock(&control->lock);
		if (is_stopping) {
			if (fd >= 0)
				close(fd);
			return;
		}
		if (fd >= 0)
			start_client(control, fd);
	}
}

static int listen_at(struct control *control, const char *path, struct fault *fault)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char folder[sizeof(control->path)];
	char *slash;

	if (strlen(path) >= sizeof(address.sun_path))
		return fault_set(fault, FAULT_STOP, ENAMETOOLONG,
				 "control-socket = %s is too long: at most %zu characters", path,
				 sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	strcpy(control->path, path);
	strcpy(folder, path);
	slash = strrchr(folder, '/');
	if (slash && slash != folder) {
		*slash = '\0';
		(void)os_folder_make(folder, 0755);
	}
	control->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)unlink(path); /* the state folder's lock says that no other receiver has it */
	(void)umask(0077);
	if (control->listener < 0 ||
	    bind(control->listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(control->listener, 16))
		return fault_set(fault, FAULT_STOP, errno, "control-socket = %s: %s", path,
				 strerror(errno));
	return 0;
}

int control_start(struct machines *machines, struct control **ret_control, struct fault *fault)
{
	const struct receiver_options *options = machines_options(machines);
	struct control *control = calloc(1, sizeof(*control));
	int error;

	if (!control)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	control->machines = machines;
	control->listener = -1;
	os_mutex_init(&control->lock);
	os_cond_init(&control->changed);
	error = listen_at(control, options->control_socket, fault);
	if (!error) {
		if (group_give(options->control_socket, options->control_group, 0660))
			log_info("only root may use the control socket: there is no group '%s', or "
				 "this user may not give files to it",
				 options->control_group);
		if (os_thread_start(&control->acceptor, "control", accept_clients, control))
			error = fault_set(fault, FAULT_STOP, EAGAIN, "cannot start a thread");
	}
	if (error) {
		control_stop(control);
		return error;
	}
	*ret_control = control;
	return 0;
}

void control_stop(struct control *control)
{
	if (!control)
		return;
	os_mutex_lock(&control->lock);
	control->is_stopping = true;
	os_mutex_unlock(&control->lock);
	os_thread_join(&control->acceptor);
	os_mutex_lock(&control->lock);
	while (control->clients)
		os_cond_wait(&control->changed, &control->lock);
	os_mutex_unlock(&control->lock);
	if (control->listener >= 0) {
		close(control->listener);
		unlink(control->path);
	}
	os_cond_fini(&control->changed);
	os_mutex_fini(&control->lock);
	free(control);
}
