/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking the receiver for what a disk held at the checkpoint (receiver/view_wire.h). Thread-safe. */
#ifndef BLKFERRY_RECEIVER_VIEW_PLUGIN_LINK_H
#define BLKFERRY_RECEIVER_VIEW_PLUGIN_LINK_H

#include <stdint.h>

#include "common/fault.h"

struct link;

/* Makes the connection that asks nothing, too: the receiver is there. */
int link_open(const char *socket_path, unsigned int disk, struct link **ret_link,
	      struct fault *fault);
void link_close(struct link *link);
/* Readable or hung up when the receiver has ended. */
int link_lifeline(const struct link *link);
/* offset and length as view_request wants them, but length may be larger. 0, or -errno: then nothing in data
 * means anything. */
int link_read(struct link *link, void *data, uint64_t offset, uint32_t length, struct fault *fault);

#endif
