/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The receiver's end of a view: answers its plugins' requests (view_wire.h) on threads of its own. */
#ifndef BLKFERRY_RECEIVER_VIEW_SOCKET_H
#define BLKFERRY_RECEIVER_VIEW_SOCKET_H

#include <stdint.h>

#include "common/fault.h"

struct view_socket;

/* Reads what a disk held at the checkpoint: history_reader_read, with the view as context. Called from several
 * threads at once. */
typedef int view_read_fn(void *context, unsigned int disk, void *data, uint64_t offset,
			 uint32_t length, struct fault *fault);

struct view_socket_setup {
	const char *path; /* nobody is to reach it but this user: mode 0600 */
	const char *name; /* for the log */
	unsigned int disk_count;
	const uint64_t *disk_bytes; /* copied */
	view_read_fn *read;
	void *context;
};

int view_socket_start(const struct view_socket_setup *setup, struct view_socket **ret_socket,
		      struct fault *fault);
/* Ends every connection, waits for their threads, and removes the socket. */
void view_socket_stop(struct view_socket *server);

#endif
