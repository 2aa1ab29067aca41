/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does somebody answer at an address? */
#ifndef BLKFERRY_RECEIVER_PING_H
#define BLKFERRY_RECEIVER_PING_H

#include <stdint.h>

/* Sends one ICMP echo request to address, a name or number, IPv4 or IPv6, and waits for its answer: 0. -ETIMEDOUT: none
 * came. -EACCES: this process may not (sysctl net.ipv4.ping_group_range). -EHOSTUNREACH, -ENETUNREACH, ... An unknown
 * name: -ENOENT; asking for it may take longer than timeout_ns. */
int ping_once(const char *address, uint64_t timeout_ns);

#endif
