// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An echo request over one of Linux's ICMP sockets, which need no privilege where net.ipv4.ping_group_range allows them
 * (systemd sets it so). The kernel fills in identifier and checksum, and gives us the answers to our own requests
 * only.
 */
#include "receiver/ping.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/os_clock.h"
#include "common/os_file.h"

/* The same in both families: type, code, checksum, identifier, sequence number; then what comes back as it was sent. */
struct echo {
	uint8_t type, code;
	uint16_t checksum, identifier, sequence;
	uint8_t token[16];
};

static int await_answer(int fd, const struct echo *request, uint8_t answer_type,
			uint64_t timeout_ns)
{
	uint64_t deadline_ns = os_monotonic_ns() + timeout_ns, now_ns;
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	struct echo answer;

	while ((now_ns = os_monotonic_ns()) < deadline_ns) {
		int count = poll(&poller, 1, (int)((deadline_ns - now_ns) / NS_PER_MS) + 1);
		ssize_t size = count > 0 ? recv(fd, &answer, sizeof(answer), 0) : 0;

		if ((count < 0 || size < 0) && errno != EINTR)
			return -errno;
		if (size == sizeof(answer) && answer.type == answer_type &&
		    memcmp(answer.token, request->token, sizeof(answer.token)) == 0)
			return 0;
	}
	return -ETIMEDOUT;
}

static int ping_address(const struct addrinfo *address, uint64_t timeout_ns)
{
	bool is_ipv6 = address->ai_family == AF_INET6;
	struct echo request = {.type = is_ipv6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO};
	int error = 0;
	int fd = socket(address->ai_family, SOCK_DGRAM | SOCK_CLOEXEC,
			is_ipv6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP);

	if (fd < 0)
		return -errno;
	os_random(request.token, sizeof(request.token));
	if (connect(fd, address->ai_addr, address->ai_addrlen) ||
	    send(fd, &request, sizeof(request), 0) < 0)
		error = -errno;
	if (!error)
		error = await_answer(fd, &request, is_ipv6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY,
				     timeout_ns);
	close(fd);
	return error;
}

int ping_once(const char *address, uint64_t timeout_ns)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
	struct addrinfo *found;
	int error;

	if (getaddrinfo(address, NULL, &hints, &found))
		return -ENOENT;
	error = ping_address(found, timeout_ns);
	freeaddrinfo(found);
	return error;
}
