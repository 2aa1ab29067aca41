/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of views share: their body. */
#ifndef BLKFERRY_RECEIVER_VIEW_INTERNAL_H
#define BLKFERRY_RECEIVER_VIEW_INTERNAL_H

#include <limits.h>

#include "common/os_thread.h"
#include "receiver/replica.h"
#include "receiver/view.h"
#include "receiver/view_server.h"
#include "receiver/view_socket.h"

struct view_disk_entry {
	unsigned int slot;
	uint64_t size_bytes;
	bool is_started;
	struct view_server server;
};

struct view {
	unsigned int id;
	struct machine *machine;
	char folder[PATH_MAX];
	char key_path[PATH_MAX]; /* "" without a port */
	char note[VIEW_NOTE_MAX];
	struct replica *replica;
	struct history_reader *reader;
	struct history_point point;
	struct view_socket *socket;
	struct view_disk_entry *disks;
	unsigned int disk_count;

	/* Under the machine's lock. */
	unsigned int holds; /* the list's, too */
	bool is_listed;
	struct view *next; /* in machine->views, newest first */

	struct os_mutex close_lock; /* whoever closes second returns when it is closed */
	bool is_closed;
};

/* view_folder.c: beside the control socket. */
int view_folder_make(const struct receiver_options *options, struct view *view,
		     struct fault *fault);
/* A fresh key for TLS-PSK into view->key_path. */
int view_key_make(const struct receiver_options *options, struct view *view, struct fault *fault);

/* view_list.c: lists it, or refuses (EBUSY). */
int view_list_add(struct view *view, struct fault *fault);
void view_list_remove(struct view *view);

#endif
