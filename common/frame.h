/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames over a TLS stream: a header, checked against the limits before anything is read or
 * allocated, then the payload, checked as wire_check.h says.
 */
#ifndef BLKFERRY_COMMON_FRAME_H
#define BLKFERRY_COMMON_FRAME_H

#include <stdint.h>

#include "common/fault.h"
#include "common/os_thread.h"
#include "common/tls.h"
#include "common/wire.h"

/* A connection that several threads may send frames on; one thread receives. */
struct frame_link {
	struct tls_stream *stream;
	struct os_mutex send_lock;
	const char *peer; /* "the receiver", "machine web1": for messages */
};

void frame_link_init(struct frame_link *link, struct tls_stream *stream, const char *peer);
void frame_link_fini(struct frame_link *link); /* does not free the stream */

/* Sends a frame made of up to two pieces (second may be NULL with size 0). Fault class RETRY. */
int frame_send(struct frame_link *link, enum wire_type type, const void *first, size_t first_size,
	       const void *second, size_t second_size, struct fault *fault);
/* Sends size bytes that already are whole frames (header in front, made by frame_header_init). */
int frame_send_raw(struct frame_link *link, const void *bytes, size_t size, struct fault *fault);
void frame_header_init(struct wire_header *header, enum wire_type type, uint32_t length);

/* Receives one frame into buffer of room bytes (8-byte aligned) and checks it. deadline_ns as in tls.h.
 * Returns 0; -ETIMEDOUT, -ECONNRESET (RETRY); -EPROTO, -EMSGSIZE when it does not fit room (STOP). */
int frame_receive(struct frame_link *link, void *buffer, size_t room, enum wire_type *ret_type,
		  uint32_t *ret_length, uint64_t deadline_ns, struct fault *fault);

/* Tells the peer what is wrong, best effort, before the connection is closed. */
void frame_send_error(struct frame_link *link, enum wire_error_code code, enum fault_class class,
		      const char *text);
/* Turns a received ERROR into a fault: "the receiver says: ...". Returns -EREMOTEIO. */
int frame_error_to_fault(const struct frame_link *link, const struct wire_error *error,
			 struct fault *fault);

#endif
