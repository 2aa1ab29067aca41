// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames over a TLS stream; see frame.h. */
#include "common/frame.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/os_clock.h"
#include "common/wire_check.h"

/* A peer that reads nothing for so long is as good as gone. */
#define SEND_TIMEOUT_NS (60 * NS_PER_S)
/* Small frames are put together so that they become one TLS record. */
#define JOIN_MAX 16384

void frame_link_init(struct frame_link *link, struct tls_stream *stream, const char *peer)
{
	link->stream = stream;
	link->peer = peer;
	os_mutex_init(&link->send_lock);
}

void frame_link_fini(struct frame_link *link)
{
	os_mutex_fini(&link->send_lock);
}

void frame_header_init(struct wire_header *header, enum wire_type type, uint32_t length)
{
	*header = (struct wire_header){.magic = WIRE_MAGIC, .type = type, .length = length};
}

static int link_fault(const struct frame_link *link, int error, struct fault *fault)
{
	switch (-error) {
	case ETIMEDOUT:
		return fault_set(fault, FAULT_RETRY, ETIMEDOUT,
				 "%s does not answer: the link is dead or stalled", link->peer);
	case ECANCELED:
		return fault_set(fault, FAULT_RETRY, ECANCELED, "the connection was given up");
	case EPROTO:
		return fault_set(fault, FAULT_RETRY, EPROTO, "TLS error on the connection to %s",
				 link->peer);
	default:
		return fault_set(fault, FAULT_RETRY, ECONNRESET, "the connection to %s was cut",
				 link->peer);
	}
}

int frame_send_raw(struct frame_link *link, const void *bytes, size_t size, struct fault *fault)
{
	int error;

	os_mutex_lock(&link->send_lock);
	error = tls_stream_write(link->stream, bytes, size, os_monotonic_ns() + SEND_TIMEOUT_NS);
	os_mutex_unlock(&link->send_lock);
	return error ? link_fault(link, error, fault) : 0;
}

int frame_send(struct frame_link *link, enum wire_type type, const void *first, size_t first_size,
	       const void *second, size_t second_size, struct fault *fault)
{
	uint8_t joined[JOIN_MAX];
	size_t small = sizeof(struct wire_header) + first_size;
	uint64_t deadline = os_monotonic_ns() + SEND_TIMEOUT_NS;
	bool is_joined = small + second_size <= JOIN_MAX;
	int error;

	if (small > JOIN_MAX)
		return fault_set(fault, FAULT_STOP, EMSGSIZE, "frame too large to send");
	frame_header_init((struct wire_header *)joined, type, first_size + second_size);
	if (first_size)
		memcpy(joined + sizeof(struct wire_header), first, first_size);
	if (is_joined && second_size)
		memcpy(joined + small, second, second_size);

	os_mutex_lock(&link->send_lock);
	error = tls_stream_write(link->stream, joined, small + (is_joined ? second_size : 0),
				 deadline);
	if (!error && !is_joined)
		error = tls_stream_write(link->stream, second, second_size, deadline);
	os_mutex_unlock(&link->send_lock);
	return error ? link_fault(link, error, fault) : 0;
}

int frame_receive(struct frame_link *link, void *buffer, size_t room, enum wire_type *ret_type,
		  uint32_t *ret_length, uint64_t deadline_ns, struct fault *fault)
{
	struct wire_header header;
	int error = tls_stream_read(link->stream, &header, sizeof(header), deadline_ns);

	if (error)
		return link_fault(link, error, fault);
	error = wire_check_header(&header, fault);
	if (error)
		return error;
	if (header.length > room)
		return fault_set(fault, FAULT_STOP, EPROTO, "%s sent a %s frame where none belongs",
				 link->peer, wire_type_name(header.type));
	/* The rest of a frame follows at once, or the peer is dead: the caller's deadline holds. */
	error = tls_stream_read(link->stream, buffer, header.length, deadline_ns);
	if (error)
		return link_fault(link, error, fault);
	error = wire_check_payload(header.type, buffer, header.length, fault);
	if (error)
		return error;
	*ret_type = header.type;
	*ret_length = header.length;
	return 0;
}

void frame_send_error(struct frame_link *link, enum wire_error_code code, enum fault_class class,
		      const char *text)
{
	struct wire_error error = {.code = code, .class = class};

	snprintf(error.text, sizeof(error.text), "%s", text);
	(void)frame_send(link, WIRE_ERROR, &error, sizeof(error), NULL, 0, NULL);
}

int frame_error_to_fault(const struct frame_link *link, const struct wire_error *error,
			 struct fault *fault)
{
	return fault_set(fault, error->class, EREMOTEIO, "%s says: %s", link->peer, error->text);
}
