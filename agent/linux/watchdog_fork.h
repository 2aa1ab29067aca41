/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forking from a process whose memory is large and locked, in the middle of a freeze. fork(2) would copy the page
 * tables of all of it, and every page that the agent writes from then on: with 96 MiB, and 16 MiB of them written,
 * that was 30 ms and more of downtime. The child needs nothing of the heap, so it does not get it.
 */
#ifndef BLKFERRY_AGENT_LINUX_WATCHDOG_FORK_H
#define BLKFERRY_AGENT_LINUX_WATCHDOG_FORK_H

#include <stddef.h>
#include <sys/types.h>

#define FORK_REGIONS_MAX  64
#define FORK_REGION_BYTES (1u << 20) /* smaller ones are forked: they cost little */

struct fork_regions {
	unsigned int count;
	struct {
		size_t start, length;
	} regions[FORK_REGIONS_MAX];
};

/* As fork(2), with nothing in the child but the stack, static data, and mappings that are small or
 * shared. The child may call plain wrappers of system calls only; no atfork handlers run. */
pid_t watchdog_fork(void);

/* Finds the private, writable, anonymous mappings of at least FORK_REGION_BYTES in the text of
 * /proc/self/maps, without the one that holds `except`. Lines not understood are passed over. */
void watchdog_fork_parse(const char *text, size_t size, size_t except,
			 struct fork_regions *ret_regions);

#endif
