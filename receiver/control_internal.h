/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the control socket share: a client's connection, and the commands. */
#ifndef BLKFERRY_RECEIVER_CONTROL_INTERNAL_H
#define BLKFERRY_RECEIVER_CONTROL_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>

#include "receiver/machine.h"

struct control_client {
	struct machines *machines;
	int fd;
	struct os_mutex lock; /* of sending */
};

/* Sends a line; takes the reference to message. False when the client is gone. */
bool control_send(struct control_client *client, json_t *message);
void control_send_result(struct control_client *client, json_t *result);
void control_send_error(struct control_client *client, int exit_code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Has the client closed its end? */
bool control_is_gone(const struct control_client *client);

/* control_status.c: a machine as status shows it. */
json_t *control_machine_to_json(struct machine *machine);
/* control_xcp.c: what status shows of snapshots in the pool. The machine's lock is held. */
void control_add_snapshots(const struct machine *machine, json_t *root);
/* control_stream.c: what status shows of the stream; the machine's lock is not held. */
void control_add_stream(struct machine *machine, json_t *root);
/* control_cutover.c */
void control_cutover(struct control_client *client, struct machine *machine, json_t *request);
/* control_points.c */
void control_points(struct control_client *client, struct machine *machine);
void control_checkpoint(struct control_client *client, struct machine *machine, json_t *request);
void control_rollback(struct control_client *client, struct machine *machine, json_t *request);
/* control_xcp.c: xcp-create */
void control_xcp_create(struct control_client *client, struct machine *machine, json_t *request);
/* control_commands.c: pause, resume, limit, verify, remove, token */
void control_token(struct control_client *client, const char *name, json_t *request);
void control_order(struct control_client *client, struct machine *machine, const char *command,
		   json_t *request);
void control_verify(struct control_client *client, struct machine *machine, json_t *request);
void control_remove(struct control_client *client, struct machine *machine, json_t *request);
/* control_view.c */
void control_view(struct control_client *client, struct machine *machine, json_t *request);
void control_view_list(struct control_client *client, struct machine *machine);
void control_view_stop(struct control_client *client, struct machine *machine, json_t *request);
void control_test_boot(struct control_client *client, struct machine *machine, json_t *request);

#endif
