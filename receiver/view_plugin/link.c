// SPDX-License-Identifier: GPL-2.0-or-later
/* Asking the receiver; see link.h. */
#include "receiver/view_plugin/link.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/os_io.h"
#include "receiver/view_plugin/slots.h"

struct link {
	struct sockaddr_un address;
	unsigned int disk;
	int lifeline;
	struct slots slots;
	int fds[VIEW_CONNECTIONS_MAX]; /* each belongs to who took its slot; -1: not connected */
};

static int connect_receiver(const struct link *link)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&link->address, sizeof(link->address)) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

int link_open(const char *socket_path, unsigned int disk, struct link **ret_link,
	      struct fault *fault)
{
	struct link *link = calloc(1, sizeof(*link));

	if (!link)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	if (strlen(socket_path) >= sizeof(link->address.sun_path)) {
		free(link);
		return fault_set(fault, FAULT_STOP, ENAMETOOLONG, "socket=%s is too long",
				 socket_path);
	}
	link->address.sun_family = AF_UNIX;
	strcpy(link->address.sun_path, socket_path);
	link->disk = disk;
	link->lifeline = connect_receiver(link);
	if (link->lifeline < 0) {
		int error = link->lifeline;

		free(link);
		return fault_set(fault, FAULT_STOP, -error,
				 "the receiver does not answer on %s: %s", socket_path,
				 strerror(-error));
	}
	slots_init(&link->slots);
	for (unsigned int i = 0; i < VIEW_CONNECTIONS_MAX; i++)
		link->fds[i] = -1;
	*ret_link = link;
	return 0;
}

void link_close(struct link *link)
{
	if (!link)
		return;
	for (unsigned int i = 0; i < VIEW_CONNECTIONS_MAX; i++)
		if (link->fds[i] >= 0)
			close(link->fds[i]);
	close(link->lifeline);
	slots_fini(&link->slots);
	free(link);
}

int link_lifeline(const struct link *link)
{
	return link->lifeline;
}

/* One request on a connection. *ret_is_lost: the connection is of no use any more. */
static int ask(int fd, const struct view_request *request, void *data, bool *ret_is_lost)
{
	struct view_reply reply;
	int error = os_send_all(fd, request, sizeof(*request));

	*ret_is_lost = true;
	if (!error)
		error = os_receive_all(fd, &reply, sizeof(reply));
	if (error)
		return error;
	if (reply.magic != VIEW_MAGIC || reply.error > INT16_MAX ||
	    reply.length != (reply.error ? 0 : request->length))
		return -EPROTO;
	error = reply.error ? -(int)reply.error : os_receive_all(fd, data, request->length);
	*ret_is_lost = reply.error == 0 && error != 0;
	return error;
}

/* The receiver may have dropped a connection that was idle: a new one is tried before it is an error. */
static int ask_in_slot(struct link *link, unsigned int slot, const struct view_request *request,
		       void *data)
{
	for (;;) {
		bool is_new = link->fds[slot] < 0, is_lost;
		int error;

		if (is_new) {
			link->fds[slot] = connect_receiver(link);
			if (link->fds[slot] < 0)
				return link->fds[slot];
		}
		error = ask(link->fds[slot], request, data, &is_lost);
		if (is_lost) {
			close(link->fds[slot]);
			link->fds[slot] = -1;
		}
		if (!is_lost || is_new)
			return error;
	}
}

int link_read(struct link *link, void *data, uint64_t offset, uint32_t length, struct fault *fault)
{
	unsigned int slot = slots_take(&link->slots);
	struct view_request request = {.magic = VIEW_MAGIC, .disk = link->disk, .offset = offset};
	char *to = data;
	int error = 0;

	while (!error && length > 0) {
		request.length = length < VIEW_READ_MAX ? length : VIEW_READ_MAX;
		error = ask_in_slot(link, slot, &request, to);
		to += request.length;
		request.offset += request.length;
		length -= request.length;
	}
	slots_give(&link->slots, slot);
	if (error)
		return fault_set(fault, FAULT_STOP, -error,
				 "the receiver cannot tell what was at byte %llu of the disk: %s",
				 (unsigned long long)(request.offset - request.length),
				 strerror(-error));
	return 0;
}
