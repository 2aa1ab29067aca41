/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads capture's BPF ring buffer through its own mappings, for libbpf's reader releases what it has read
 * at once, and this ring is also what is sent again after a broken link. Layout and ordering are those of
 * the kernel (kernel/bpf/ringbuf.c): two pages with the consumer's and the producer's position, then the data.
 * A record begins with its length, whose upper bits say that it is being filled (busy) or void (discarded).
 */
#ifndef BLKFERRY_AGENT_LINUX_CAPTURE_RING_H
#define BLKFERRY_AGENT_LINUX_CAPTURE_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/bpf/tracker_shared.h"

/* data is mapped once: a record that wraps is read in two parts. All NULL: no ring. */
struct capture_ring {
	uint64_t *consumer;
	const uint64_t *producer;
	const uint8_t *data;
	uint64_t bytes; /* a power of two */
};

/* Maps the ring behind a map's file descriptor. 0 or -errno. */
int capture_ring_map(int fd, uint64_t bytes, struct capture_ring *ret_ring);
void capture_ring_unmap(struct capture_ring *ring);

uint64_t capture_ring_produced(const struct capture_ring *ring);
uint64_t capture_ring_released(const struct capture_ring *ring);
/* Positions that are not between released and produced are ignored. */
void capture_ring_release(struct capture_ring *ring, uint64_t position);

enum capture_found {
	CAPTURE_FOUND_RECORD = 1,
	CAPTURE_FOUND_NOTHING, /* the end, or a record that is being filled */
	CAPTURE_FOUND_DAMAGE,  /* what stands there is none of our records (I10) */
};

/* The record at *position, behind void ones. *position is moved behind it, and *ret_start says where it begins.
 * data has room for TRACKER_PIECE_BYTES, or is NULL: the head is enough. A record of kind DATA has 1 to
 * TRACKER_PIECE_BYTES bytes; offset + length does not overflow; the slot is below TRACKER_SLOTS_MAX. */
enum capture_found capture_ring_next(const struct capture_ring *ring, uint64_t *position,
				     uint64_t *ret_start, struct tracker_record *ret_head,
				     uint8_t *data);

#endif
