/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP sockets, non-blocking, close-on-exec, with keepalive and TCP_NODELAY. A socket is a file
 * descriptor here and a SOCKET elsewhere: hence os_socket_t.
 */
#ifndef BLKFERRY_COMMON_OS_SOCKET_H
#define BLKFERRY_COMMON_OS_SOCKET_H

#include <stddef.h>
#include <stdint.h>

#include "common/fault.h"

typedef int os_socket_t;
#define OS_SOCKET_NONE (-1)

enum os_wait { OS_WAIT_READ = 1, OS_WAIT_WRITE = 2 };

/* Connects to host:port (name, IPv4 or IPv6 address), trying all addresses until deadline_ns
 * (os_monotonic_ns). The fault names the host and port and says which of "no such host", "refused",
 * "timed out", "no route" it was. Class RETRY. Returns 0 or -errno. */
int os_socket_connect(const char *host, uint16_t port, uint64_t deadline_ns,
		      os_socket_t *ret_socket, struct fault *fault);

/* The peer's numeric address without its port, "" when it cannot be told. */
void os_socket_peer(os_socket_t socket, char *ret_host, unsigned int size);

/* Listens on address:port; address "" means all, IPv6 and IPv4. port 0 picks a free one. */
int os_socket_listen(const char *address, uint16_t port, os_socket_t *ret_socket,
		     struct fault *fault);
/* The port that a listening socket got. 0 on failure. */
uint16_t os_socket_port(os_socket_t listener);

/* Accepts one connection; waits until timeout_ns at most. ret_peer gets "address:port" text (may be
 * NULL). Returns 0, -ETIMEDOUT, -ECANCELED when the listener was shut down, or -errno. */
int os_socket_accept(os_socket_t listener, uint64_t timeout_ns, os_socket_t *ret_socket,
		     char *ret_peer, unsigned int peer_size);

/* Waits until the socket is ready for one of `what` (a mask of enum os_wait).
 * Returns the mask that is ready (> 0), -ETIMEDOUT or -errno. deadline 0 means for ever. */
int os_socket_wait(os_socket_t socket, unsigned int what, uint64_t deadline_ns);

/* Sends or receives what is possible now: bytes (> 0), 0 at the peer's end of the stream (receive
 * only), -EAGAIN when it would block, or -errno. A peer that is gone is -EPIPE or -ECONNRESET, never a
 * signal. */
long os_socket_send(os_socket_t socket, const void *data, size_t size);
long os_socket_receive(os_socket_t socket, void *data, size_t size);

/* Tells the peer that nothing more comes; receiving goes on. */
void os_socket_shutdown_send(os_socket_t socket);
/* Makes every present and later read, write and wait fail at once, from any thread. */
void os_socket_shutdown(os_socket_t socket);
void os_socket_close(os_socket_t socket);

#endif
