// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A stranger who keeps a server busy: connects again and again, begins a TLS handshake on each connection, and says
 * nothing more. Ends when it is killed.
 *
 * Usage: flood SOURCE_ADDRESS PORT HELD PAUSE_US
 *
 * SOURCE_ADDRESS: one of 127.0.0.0/8, where the connections come from; HELD: how many are kept open; PAUSE_US:
 * between two of them.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELD_MAX 1000

static int begin_handshake(struct in_addr from, uint16_t port)
{
	static const unsigned char hello[] = {0x16, 0x03, 0x01, 0x02, 0x00, 0x01};
	struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr = from};
	struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0 ||
	    connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0 ||
	    send(fd, hello, sizeof(hello), MSG_NOSIGNAL) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int main(int argc, char **argv)
{
	static int held[HELD_MAX];
	struct in_addr from;
	unsigned long most, pause_us;
	uint16_t port;

	if (argc != 5 || inet_pton(AF_INET, argv[1], &from) != 1) {
		fprintf(stderr, "usage: flood SOURCE_ADDRESS PORT HELD PAUSE_US\n");
		return 1;
	}
	port = (uint16_t)strtoul(argv[2], NULL, 10);
	most = strtoul(argv[3], NULL, 10);
	pause_us = strtoul(argv[4], NULL, 10);
	if (most < 1 || most > HELD_MAX)
		return 1;
	memset(held, -1, sizeof(held));
	for (unsigned long i = 0;; i = (i + 1) % most) {
		if (held[i] >= 0)
			close(held[i]);
		held[i] = begin_handshake(from, port);
		usleep((useconds_t)pause_us);
	}
}
