// SPDX-License-Identifier: GPL-2.0-or-later
/* The CLI's side of the control socket; see client.h. */
#include "receiver/cli/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "receiver/cli/exit_codes.h"
#include "receiver/cli/text.h"

#define LINE_MAX_BYTES (4u << 20)

struct client {
	int fd;
	char *text;
	size_t length, room;
};

static const char *socket_path = CLIENT_SOCKET;

void client_set_socket(const char *path)
{
	socket_path = path;
}

static int connect_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(socket_path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, socket_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static void explain(int error)
{
	fprintf(stderr, "blkferry: cannot reach the receiver at %s: %s\n", socket_path,
		strerror(error));
	if (error == EACCES || error == EPERM)
		fputs("blkferry: run this as root, or as a member of the group 'blkferry'\n",
		      stderr);
	else if (error == ENOENT || error == ECONNREFUSED)
		fputs("blkferry: is blkferry-receiver running on this machine? ('systemctl status "
		      "blkferry-receiver'; --socket names another place)\n",
		      stderr);
}

struct client *client_ask(json_t *request)
{
	struct client *client = calloc(1, sizeof(*client));
	char *text = json_dumps(request, JSON_COMPACT);
	size_t length = text ? strlen(text) : 0;

	json_decref(request);
	if (!client || !text) {
		fputs("blkferry: out of memory\n", stderr);
		exit(EXIT_CODE_FAILED);
	}
	client->fd = connect_socket();
	text[length++] = '\n';
	if (client->fd < 0 || write(client->fd, text, length) != (ssize_t)length) {
		explain(errno);
		client_free(client);
		client = NULL;
	}
	free(text);
	return client;
}

void client_free(struct client *client)
{
	if (!client)
		return;
	if (client->fd >= 0)
		close(client->fd);
	free(client->text);
	free(client);
}

/* Takes a whole line out of the buffer. */
static json_t *take_line(struct client *client)
{
	char *end = client->length ? memchr(client->text, '\n', client->length) : NULL;
	json_t *message;
	size_t size;

	if (!end)
		return NULL;
	size = (size_t)(end - client->text);
	message = json_loadb(client->text, size, 0, NULL);
	memmove(client->text, end + 1, client->length - size - 1);
	client->length -= size + 1;
	return message;
}

static bool read_more(struct client *client)
{
	ssize_t size;

	if (client->room - client->length < 4096) {
		size_t room = client->room ? client->room * 2 : 65536;
		char *text = room > LINE_MAX_BYTES ? NULL : realloc(client->text, room);

		if (!text)
			return false;
		client->text = text;
		client->room = room;
	}
	do
		size = read(client->fd, client->text + client->length,
			    client->room - client->length);
	while (size < 0 && errno == EINTR);
	if (size <= 0)
		return false;
	client->length += (size_t)size;
	return true;
}

json_t *client_next(struct client *client, int timeout_ms, bool *ret_timed_out)
{
	json_t *message;

	*ret_timed_out = false;
	while (!(message = take_line(client))) {
		struct pollfd ready = {.fd = client->fd, .events = POLLIN};
		int count = poll(&ready, 1, timeout_ms);

		if (count == 0) {
			*ret_timed_out = true;
			return NULL;
		}
		if (count > 0 && !read_more(client))
			return NULL;
	}
	return message;
}

json_t *client_result(json_t *message, int *ret_exit)
{
	json_t *error = json_object_get(message, "error");
	json_t *result = json_object_get(message, "result");

	if (result)
		return json_incref(result);
	if (error) {
		*ret_exit = (int)json_integer_value(json_object_get(error, "exit"));
		fprintf(stderr, "blkferry: %s\n",
			json_string_value(json_object_get(error, "text")));
	} else {
		*ret_exit = EXIT_CODE_NO_RECEIVER;
		fputs("blkferry: the receiver ended before it answered; 'blkferry status' shows "
		      "what holds\n",
		      stderr);
	}
	return NULL;
}

json_t *client_call(json_t *request, int *ret_exit)
{
	struct client *client = client_ask(request);
	json_t *message, *result;
	bool timed_out;

	*ret_exit = EXIT_CODE_NO_RECEIVER;
	if (!client)
		return NULL;
	do
		message = client_next(client, -1, &timed_out);
	while (message && json_object_get(message, "event") && (json_decref(message), true));
	result = client_result(message, ret_exit);
	json_decref(message);
	client_free(client);
	return result;
}

int client_print(json_t *request, const char *key)
{
	int exit_code;
	json_t *result = client_call(request, &exit_code);

	if (!result)
		return exit_code;
	puts(text_of(result, key));
	json_decref(result);
	return EXIT_CODE_OK;
}
