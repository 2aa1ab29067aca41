/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One NBD connection with libnbd: how target_nbd.c gets it and target_nbd_channel.c uses it. */
#ifndef BLKFERRY_RECEIVER_TARGET_NBD_H
#define BLKFERRY_RECEIVER_TARGET_NBD_H

#include <libnbd.h>

#include "receiver/target_ops.h"

#define TARGET_NBD_CONNECT_NS (60 * 1000000000ull) /* a paused tapdisk greets late */
#define TARGET_NBD_PROBE_NS   (3 * 1000000000ull)  /* what a look at the allocation may take */

struct target_nbd {
	struct target base;
	char uri[TARGET_URI_MAX + 1];
	uint32_t piece_bytes;	   /* largest read or write of the server */
	uint32_t zero_piece_bytes; /* largest zero request */
	/* The connection that target_open made. The first channel takes it: a server that allows one
	 * client only must not see two. */
	struct nbd_handle *spare; /* under base.lock */
};

/* Only data, or also block status (structured replies and base:allocation). */
enum target_nbd_use { TARGET_NBD_DATA = 1, TARGET_NBD_STATUS };

/* Connects until deadline_ns at the latest. Faults: RETRY when the server may come back, STOP when a
 * person has to change the URI or the server. */
int target_nbd_connect(const char *uri, enum target_nbd_use use, uint64_t deadline_ns,
		       struct nbd_handle **ret_nbd, struct fault *fault);
/* One nbd_poll: 0 when something happened, -ETIMEDOUT, or -errno when the connection is lost. */
int target_nbd_wait(struct nbd_handle *nbd, uint64_t deadline_ns);
/* libnbd's last error in this thread, without the name of the function. */
const char *target_nbd_words(void);
/* Does the server say that every byte is zero? Over a connection of its own, within
 * TARGET_NBD_PROBE_NS; false when it is not known. */
bool target_nbd_is_zero(const char *uri, uint64_t size_bytes);

int target_nbd_channel_open(struct target *target, struct target_channel **ret_channel,
			    struct fault *fault);
void target_nbd_channel_close(struct target_channel *channel);
void target_nbd_start(struct target_channel *channel, struct target_request *request);
int target_nbd_progress(struct target_channel *channel, uint64_t deadline_ns);
int target_nbd_flush(struct target_channel *channel, uint64_t deadline_ns);

#endif
