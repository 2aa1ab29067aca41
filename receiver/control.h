/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket, which the CLI talks to: a unix socket, root's and the control group's.
 *
 * A client sends one line of JSON, {"command": NAME, "machine": NAME, ...}, and gets lines of JSON back:
 * any number of {"event": ...}, then one {"result": {...}} or {"error": {"exit": N, "text": ...}}.
 * exit is an exit status of the CLI (receiver/cli/exit_codes.h).
 */
#ifndef BLKFERRY_RECEIVER_CONTROL_H
#define BLKFERRY_RECEIVER_CONTROL_H

#include "receiver/machine.h"

struct control;

int control_start(struct machines *machines, struct control **ret_control, struct fault *fault);
void control_stop(struct control *control);

#endif
