/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nbdkit of one disk of a view: our plugin (view_plugin/), and the cow filter above it, whose overlay is
 * one for a process. So there is a process for each disk.
 */
#ifndef BLKFERRY_RECEIVER_VIEW_SERVER_H
#define BLKFERRY_RECEIVER_VIEW_SERVER_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "common/fault.h"
#include "receiver/nbdkit_server.h"

#define VIEW_URI_MAX (NBDKIT_URI_MAX + 512) /* also one with a host and a key file */

struct view_server {
	unsigned int disk;
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": it listens on a port */
	char pid_path[PATH_MAX];
	char uri[VIEW_URI_MAX];
};

struct view_server_setup {
	unsigned int disk;
	uint64_t size_bytes;
	const char *folder;	    /* of the view */
	const char *view_socket;    /* view_socket.h */
	const char *target;	    /* as the plugin takes it; NULL: it asks us for everything */
	const char *map_path;	    /* history_reader_open */
	uint64_t map_offset;	    /* of this disk */
	const char *scratch_folder; /* where what clients write goes */
	const char *group;	    /* who may connect to a unix socket */
	uint16_t port;		    /* 0: a unix socket */
	const char *address;	    /* to listen on; "": all */
	const char *key_path;	    /* with a port: whoever has this file may connect */
};

/* Starts it; returns when it listens. */
int view_server_start(const struct view_server_setup *setup, struct view_server *ret_server,
		      struct fault *fault);
bool view_server_is_alive(const struct view_server *server);
void view_server_end(const struct view_server *server);
/* Ends what the pid files in a view's folder name: a receiver that was killed left them. */
void view_server_end_stale(const char *folder);

#endif
