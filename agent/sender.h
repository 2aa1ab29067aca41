/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sender: one data connection and its thread. It takes batches from the flow, keeps a few of them
 * being read from the disks, and sends them in the order in which it took them: data compressed, zeroes
 * as ranges, digests where the pass compares.
 */
#ifndef BLKFERRY_AGENT_SENDER_H
#define BLKFERRY_AGENT_SENDER_H

#include "agent/flow.h"
#include "common/compress.h"
#include "common/frame.h"
#include "common/rate.h"

struct sender;

struct sender_setup {
	struct flow *flow;
	unsigned int connection;   /* its number in the flow */
	struct tls_stream *stream; /* taken over */
	const int *disk_fds;
	unsigned int disks;
	struct rate_limit *limit;
	enum compress_codec codec;
	/* Called once, on the sender's thread, when it ends with a fault. */
	void (*failed)(void *context, const struct fault *fault);
	void *context;
};

/* Sleeps as the limit wants before so many bytes are sent. -ECANCELED when the stream was cancelled. */
int sender_pace(struct rate_limit *limit, struct tls_stream *stream, size_t bytes);

int sender_start(const struct sender_setup *setup, struct sender **ret_sender);
/* From any thread: what it is doing on the network fails now. flow_fail ends its waits. */
void sender_cancel(struct sender *sender);
/* Joins the thread and frees all. */
void sender_free(struct sender *sender);

#endif
