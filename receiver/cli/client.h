/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The CLI's side of the control socket: one request a connection; see receiver/control.h. */
#ifndef BLKFERRY_RECEIVER_CLI_CLIENT_H
#define BLKFERRY_RECEIVER_CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

#define CLIENT_SOCKET "/run/blkferry/control.sock"

struct client;

/* Connects and sends request (the reference is taken). NULL: what is wrong was printed, and the exit
 * status is EXIT_CODE_NO_RECEIVER. */
struct client *client_ask(json_t *request);
/* The next line from the receiver, a new reference. Waits at most timeout_ms (-1: for ever); NULL with
 * *ret_timed_out set when that passed, or, unset, when the receiver closed. */
json_t *client_next(struct client *client, int timeout_ms, bool *ret_timed_out);
void client_free(struct client *client);

/* Asks and waits for the end, printing no events. Returns the result, or NULL with *ret_exit set and the
 * error printed. */
json_t *client_call(json_t *request, int *ret_exit);
/* The same, and prints the result's text of that name. Returns the exit status. */
int client_print(json_t *request, const char *key);
/* A message of the receiver that is no event: its result (a new reference), or NULL after printing its
 * error. */
json_t *client_result(json_t *message, int *ret_exit);

/* --socket; before the subcommand. */
void client_set_socket(const char *path);

#endif
