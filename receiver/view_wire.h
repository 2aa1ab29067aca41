/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between a view's nbdkit (receiver/view_plugin/) and the receiver: what the target does not hold any more
 * as it was at the checkpoint. A unix socket, one process asks and one answers, both of this machine and of one
 * build: numbers are in its own byte order.
 *
 *   plugin    view_request
 *   receiver  view_reply, then length bytes when error is 0
 *
 * One request at a time on a connection; who wants more opens several. The first connection of a plugin asks
 * nothing: when it ends, the receiver has ended, and the plugin ends too.
 */
#ifndef BLKFERRY_RECEIVER_VIEW_WIRE_H
#define BLKFERRY_RECEIVER_VIEW_WIRE_H

#include <assert.h>
#include <stdint.h>

#define VIEW_MAGIC	     0x57454956u /* "VIEW" */
#define VIEW_BLOCK_BYTES     4096u	 /* a bit of the map */
#define VIEW_READ_MAX	     (256u * 1024)
#define VIEW_CONNECTIONS_MAX 4u /* of a plugin that ask */

/* offset and length are multiples of VIEW_BLOCK_BYTES, but for the end of the disk; length is at most
 * VIEW_READ_MAX and not 0. */
struct view_request {
	uint32_t magic;
	uint32_t disk;
	uint64_t offset;
	uint32_t length;
	uint32_t reserved; /* 0 */
};

struct view_reply {
	uint32_t magic;
	uint32_t error;	 /* an errno; 0: the bytes follow */
	uint32_t length; /* that of the request; 0 with an error */
	uint32_t reserved;
};

static_assert(sizeof(struct view_request) == 24, "no holes");
static_assert(sizeof(struct view_reply) == 16, "no holes");

#endif
