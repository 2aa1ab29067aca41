/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The TCP side: accepts connections and gives each to enrolment, a session, or a session's data. */
#ifndef BLKFERRY_RECEIVER_SERVER_H
#define BLKFERRY_RECEIVER_SERVER_H

#include "receiver/machine.h"

struct server;

/* Listens and serves on threads of its own. */
int server_start(struct machines *machines, struct server **ret_server, struct fault *fault);
/* Stops accepting, ends every connection, waits for their threads. */
void server_stop(struct server *server);
uint16_t server_port(const struct server *server);

#endif
