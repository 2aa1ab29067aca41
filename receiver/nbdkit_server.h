/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An nbdkit that the receiver starts: a process of its own that outlives the receiver unless its plugin
 * ends it, known by its pid file. Only one caller at a time for a pid file: target_auto.c holds a lock, a view
 * (view.c) has a folder of its own.
 */
#ifndef BLKFERRY_RECEIVER_NBDKIT_SERVER_H
#define BLKFERRY_RECEIVER_NBDKIT_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/fault.h"

#define NBDKIT_ARGUMENTS_MAX 40
#define NBDKIT_URI_MAX	     384 /* of a socket's URI, each byte of the path escaped */

struct nbdkit_server {
	const char *what;	 /* what it serves, for messages */
	const char *pid_path;	 /* a full path; also among its arguments, by which it is known */
	const char *socket_path; /* NULL: it listens elsewhere */
	const char *const *arguments; /* the rest of its command line, NULL at the end */
	const char *scratch_folder;   /* its TMPDIR; NULL: as it is */
	/* Nothing of it is to be kept: it is killed at once. (nbdkit asked to end waits for its clients.) */
	bool is_expendable;
};

/* May a running server be used as it is, or could it have old writes to execute? */
enum nbdkit_server_use { NBDKIT_SERVER_REUSE = 1, NBDKIT_SERVER_RESTART };

/* Leaves a running server alone (REUSE) or ends it first (RESTART), ends one that does not answer, starts
 * one where none runs, and returns when it answers on its socket. */
int nbdkit_server_ensure(const struct nbdkit_server *server, enum nbdkit_server_use use,
			 struct fault *fault);
bool nbdkit_server_is_alive(const struct nbdkit_server *server);
/* Ends the server, if one runs, waits until it is gone with all its threads, and removes its socket and pid
 * file. Needs no arguments. */
int nbdkit_server_end(const struct nbdkit_server *server, struct fault *fault);
/* nbd+unix:///?socket=PATH */
void nbdkit_server_uri(const char *socket_path, char *ret_uri, size_t size);

#endif
