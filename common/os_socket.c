// SPDX-License-Identifier: GPL-2.0-or-later
/* TCP sockets; see os_socket.h. */
#include "common/os_socket.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/os_clock.h"

#define LISTEN_BACKLOG 64
/* A peer whose machine vanished is noticed after 10 + 3 * 5 seconds, also when nothing is sent. */
#define KEEPALIVE_IDLE_S     10
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES     3

static void set_option(int socket, int level, int name, int value)
{
	/* Ignoring failures: these are improvements, the session has a silence limit of its own. */
	(void)setsockopt(socket, level, name, &value, sizeof(value));
}

static void tune(int socket)
{
	set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

/* How long poll may wait: rounded up, so that it does not spin through the last millisecond. */
static int poll_timeout_ms(uint64_t deadline_ns)
{
	uint64_t now = os_monotonic_ns(), ms;

	if (deadline_ns == 0)
		return -1;
	if (deadline_ns <= now)
		return 0;
	ms = (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS;
	return ms > 1000000 ? 1000000 : (int)ms;
}

int os_socket_wait(os_socket_t socket, unsigned int what, uint64_t deadline_ns)
{
	struct pollfd poller = {.fd = socket};
	unsigned int ready = 0;

	if (what & OS_WAIT_READ)
		poller.events |= POLLIN;
	if (what & OS_WAIT_WRITE)
		poller.events |= POLLOUT;
	for (;;) {
		int count = poll(&poller, 1, poll_timeout_ms(deadline_ns));

		if (count > 0)
			break;
		if (count < 0 && errno != EINTR)
			return -errno;
		if (deadline_ns != 0 && os_monotonic_ns() >= deadline_ns)
			return -ETIMEDOUT;
	}
	if (poller.revents & POLLNVAL)
		return -EBADF;
	/* A cut or an error makes everything ready: the read or write that follows says what it was. */
	if (poller.revents & (POLLERR | POLLHUP))
		return (int)what;
	if (poller.revents & POLLIN)
		ready |= OS_WAIT_READ;
	if (poller.revents & POLLOUT)
		ready |= OS_WAIT_WRITE;
	return (int)(ready & what);
}

static int connect_one(const struct addrinfo *address, uint64_t deadline_ns, int *ret_socket)
{
	int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
			address->ai_protocol);
	socklen_t size = sizeof(int);
	int error = 0;

	if (fd < 0)
		return -errno;
	tune(fd);
	if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
		error = errno == EINPROGRESS ? os_socket_wait(fd, OS_WAIT_WRITE, deadline_ns)
					     : -errno;
		if (error > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0)
			error = -error;
	}
	if (error) {
		close(fd);
		return error;
	}
	*ret_socket = fd;
	return 0;
}

static const char *connect_advice(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return "connection refused: is blkferry-receiver running there, and is the port "
		       "right?";
	case ETIMEDOUT:
		return "timed out: is the host up, and does a firewall let the port through?";
	case ENETUNREACH:
	case EHOSTUNREACH:
		return "no route to that host";
	default:
		return strerror(error);
	}
}

int os_socket_connect(const char *host, uint16_t port, uint64_t deadline_ns,
		      os_socket_t *ret_socket, struct fault *fault)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *addresses, *address;
	unsigned int left = 0;
	char service[8];
	int error;

	snprintf(service, sizeof(service), "%u", port);
	/* Ignoring the deadline here: the resolver has time limits of its own. */
	error = getaddrinfo(host, service, &hints, &addresses);
	if (error)
		return fault_set(fault, FAULT_RETRY, EHOSTUNREACH,
				 "cannot connect to %s port %u: no such host (%s)", host, port,
				 gai_strerror(error));
	for (address = addresses; address; address = address->ai_next)
		left++;
	error = -EHOSTUNREACH;
	for (address = addresses; address; address = address->ai_next) {
		/* A first address that swallows everything must leave time for the others. */
		uint64_t now = os_monotonic_ns(), share = deadline_ns;

		if (deadline_ns > now)
			share = now + (deadline_ns - now) / left;
		left--;
		error = connect_one(address, share, ret_socket);
		if (!error)
			break;
	}
	freeaddrinfo(addresses);
	if (error)
		return fault_set(fault, FAULT_RETRY, -error, "cannot connect to %s port %u: %s",
				 host, port, connect_advice(-error));
	return 0;
}

static int listen_one(const struct addrinfo *address, int *ret_socket)
{
	int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
			address->ai_protocol);
	int error;

	if (fd < 0)
		return -errno;
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (address->ai_family == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 ||
	    listen(fd, LISTEN_BACKLOG) != 0) {
		error = -errno;
		close(fd);
		return error;
	}
	*ret_socket = fd;
	return 0;
}

int os_socket_listen(const char *address, uint16_t port, os_socket_t *ret_socket,
		     struct fault *fault)
{
	/* "::" without V6ONLY takes both; where the kernel has no IPv6, IPv4 alone is right. */
	const char *const any[] = {"::", "0.0.0.0", NULL};
	const char *const one[] = {address, NULL};
	const char *const *names = address[0] ? one : any;
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *found;
	char service[8];
	int error = 0;

	snprintf(service, sizeof(service), "%u", port);
	for (; *names; names++) {
		error = getaddrinfo(*names, service, &hints, &found);
		if (error)
			return fault_set(fault, FAULT_STOP, EADDRNOTAVAIL,
					 "cannot listen on %s port %u: no such address (%s)",
					 *names, port, gai_strerror(error));
		error = listen_one(found, ret_socket);
		freeaddrinfo(found);
		if (error != -EAFNOSUPPORT && error != -EADDRNOTAVAIL)
			break;
	}
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "cannot listen on %s port %u: %s",
				 address[0] ? address : "all addresses", port,
				 error == -EADDRINUSE ? "another program has that port"
						      : strerror(-error));
	return 0;
}

uint16_t os_socket_port(os_socket_t listener)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);

	if (getsockname(listener, (struct sockaddr *)&address, &size) != 0)
		return 0;
	if (address.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&address)->sin_port);
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
	return 0;
}

static void format_peer(const struct sockaddr_storage *address, socklen_t size, char *text,
			unsigned int room)
{
	char host[NI_MAXHOST], service[NI_MAXSERV];
	const char *plain = host;

	if (getnameinfo((const struct sockaddr *)address, size, host, sizeof(host), service,
			sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		snprintf(text, room, "unknown address");
		return;
	}
	if (strncmp(host, "::ffff:", 7) == 0) /* IPv4 that came over the IPv6 socket */
		plain += 7;
	snprintf(text, room, strchr(plain, ':') ? "[%s]:%s" : "%s:%s", plain, service);
}

int os_socket_accept(os_socket_t listener, uint64_t timeout_ns, os_socket_t *ret_socket,
		     char *ret_peer, unsigned int peer_size)
{
	uint64_t deadline_ns = os_monotonic_ns() + timeout_ns;

	for (;;) {
		struct sockaddr_storage address;
		socklen_t size = sizeof(address);
		int error = os_socket_wait(listener, OS_WAIT_READ, deadline_ns);
		int fd;

		if (error < 0)
			return error;
		fd = accept4(listener, (struct sockaddr *)&address, &size,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			tune(fd);
			if (ret_peer)
				format_peer(&address, size, ret_peer, peer_size);
			*ret_socket = fd;
			return 0;
		}
		if (errno == EINVAL) /* shut down: no longer listening */
			return -ECANCELED;
		/* A peer that went away again is not an error of the listener. */
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED && errno != EPROTO)
			return -errno;
	}
}

long os_socket_send(os_socket_t socket, const void *data, size_t size)
{
	ssize_t sent;

	do
		sent = send(socket, data, size, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

long os_socket_receive(os_socket_t socket, void *data, size_t size)
{
	ssize_t got;

	do
		got = recv(socket, data, size, 0);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

void os_socket_shutdown_send(os_socket_t socket)
{
	(void)shutdown(socket, SHUT_WR);
}

void os_socket_shutdown(os_socket_t socket)
{
	(void)shutdown(socket, SHUT_RDWR); /* ignoring: it may not be connected any more */
}

void os_socket_close(os_socket_t socket)
{
	if (socket != OS_SOCKET_NONE)
		close(socket);
}

void os_socket_peer(os_socket_t socket, char *ret_host, unsigned int size)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	if (getpeername(socket, (struct sockaddr *)&address, &length) ||
	    getnameinfo((struct sockaddr *)&address, length, ret_host, size, NULL, 0,
			NI_NUMERICHOST))
		ret_host[0] = '\0';
}
