/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sends batches of the stream in their order: a few buffers, and threads that compress them at the same
 * time but send them one after another, each when its turn has come.
 *
 *   one thread (the main one)   stream_sender_get, fills the buffer, stream_sender_put
 *   sender threads              compress if that pays, wait for their turn, send, give the buffer back
 *
 * A buffer is free again when it was sent: what may have to be sent once more is still in capture's ring, or its
 * bits are still set in todo.
 */
#ifndef BLKFERRY_AGENT_STREAM_SENDER_H
#define BLKFERRY_AGENT_STREAM_SENDER_H

#include <stdint.h>

#include "common/compress.h"
#include "common/fault.h"
#include "common/wire.h"

struct stream_buffer {
	struct wire_stream head; /* codec, stored_bytes and checksum are the sender's */
	uint8_t *raw;		 /* room for raw_max bytes, of which head.raw_bytes are used */
};

struct stream_sender;

struct stream_sender_setup {
	enum compress_codec codec;
	unsigned int buffers, threads; /* more buffers than threads */
	uint32_t raw_max;	       /* of a buffer; at most WIRE_STREAM_RAW_MAX */
	/* Sends a whole frame; called by one thread at a time. And: it failed; called once. */
	int (*send)(void *context, const void *bytes, size_t size, struct fault *fault);
	void (*failed)(void *context, const struct fault *fault);
	void *context;
};

int stream_sender_new(const struct stream_sender_setup *setup, struct stream_sender **ret_sender);
/* Ends the threads, what was put and not yet sent is dropped: cancel `send` first. NULL is fine. */
void stream_sender_free(struct stream_sender *sender);
/* A free buffer, waiting for one until deadline_ns; NULL when there is none, or sending failed. */
struct stream_buffer *stream_sender_get(struct stream_sender *sender, uint64_t deadline_ns);
/* Hands it over; head is complete but for what is the sender's. */
void stream_sender_put(struct stream_sender *sender, struct stream_buffer *buffer);

#endif
