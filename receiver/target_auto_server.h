/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nbdkit that serves an auto target: a process of its own that outlives the receiver, known by its
 * socket and pid file. Only one caller at a time for a socket: target_auto.c holds a lock.
 */
#ifndef BLKFERRY_RECEIVER_TARGET_AUTO_SERVER_H
#define BLKFERRY_RECEIVER_TARGET_AUTO_SERVER_H

#include "common/fault.h"

struct target_server {
	const char *file_path; /* what it serves */
	const char *socket_path;
	const char *pid_path;
};

/* Leaves a running server alone, ends one that does not answer, starts one where none runs, and returns
 * when it answers on its socket. */
int target_server_ensure(const struct target_server *server, struct fault *fault);
/* Ends the server, if one runs, and removes its socket and pid file. */
int target_server_end(const struct target_server *server, struct fault *fault);

#endif
