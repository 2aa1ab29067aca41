/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stream connection: takes STREAM frames into the journal, makes them durable in groups, and acknowledges
 * (I6). What comes is checked down to its records before it is kept: garbage is never acknowledged.
 *
 * When journal-size is reached it reads no more. The agent's ring fills then and becomes a gap; the guest is
 * never held up.
 */
#ifndef BLKFERRY_RECEIVER_STREAM_H
#define BLKFERRY_RECEIVER_STREAM_H

#include "common/frame.h"
#include "receiver/machine.h"

/* Serves a stream connection whose HELLO was received, until it ends. The link stays the caller's. */
void stream_serve(struct machine *machine, struct frame_link *link, const struct wire_hello *hello);

#endif
