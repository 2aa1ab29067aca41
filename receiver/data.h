/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A data connection: takes DATA to the targets and answers DIGESTS, several frames at a time.
 *
 * Each frame becomes a job that owns the frame's bytes until its last request to the target has completed.
 * A job's error ends the session: nothing of its epoch is acknowledged then.
 */
#ifndef BLKFERRY_RECEIVER_DATA_H
#define BLKFERRY_RECEIVER_DATA_H

#include "common/frame.h"
#include "receiver/machine.h"

/* Serves a data connection whose HELLO was received, until it ends. The link stays the caller's. */
void data_serve(struct machine *machine, struct frame_link *link, const struct wire_hello *hello);

#endif
