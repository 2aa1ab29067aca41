/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the programs share that pose as an agent: a connection with an enrolled machine's certificate. */
#ifndef BLKFERRY_TESTS_TOOLS_MACHINE_LINK_H
#define BLKFERRY_TESTS_TOOLS_MACHINE_LINK_H

#include <stdint.h>
#include <stdio.h>

#include "common/frame.h"
#include "common/os_clock.h"

#define MACHINE_CONNECT_NS (10 * NS_PER_S)

/* Connects to the receiver at that port of this machine, as the machine whose state folder it is. 0 or -errno. */
static inline int machine_link_connect(const char *folder, uint16_t port, struct frame_link *link,
				       struct fault *fault)
{
	char ca[512], certificate[512], key[512];
	uint64_t deadline = os_monotonic_ns() + MACHINE_CONNECT_NS;
	struct tls_context *context;
	struct tls_stream *tls;
	os_socket_t socket;
	int error;

	snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
	snprintf(certificate, sizeof(certificate), "%s/machine.pem", folder);
	snprintf(key, sizeof(key), "%s/machine.key", folder);
	error = tls_context_new_agent(ca, certificate, key, &context, fault);
	if (!error)
		error = os_socket_connect("127.0.0.1", port, deadline, &socket, fault);
	if (!error)
		error = tls_stream_connect(context, socket, WIRE_ALPN, deadline, &tls, fault);
	if (!error)
		frame_link_init(link, tls, "the receiver");
	return error;
}

#endif
