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

/* May a running server be used as it is, or could it have old writes to execute? */
enum target_server_use { TARGET_SERVER_REUSE = 1, TARGET_SERVER_RESTART };

/* Leaves a running server alone (REUSE) or ends it first (RESTART), ends one that does not answer, starts
 * one where none runs, and returns when it answers on its socket. */
int target_server_ensure(const struct target_server *server, enum target_server_use use,
			 struct fault *fault);
/* Ends the server, if one runs, waits until it is gone with all its threads, and removes its socket and pid file. */
int target_server_end(const struct target_server *server, struct fault *fault);

#endif
