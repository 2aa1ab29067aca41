/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads capture's ring; see capture_ring.h. */
#include "agent/linux/capture_ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/bpf.h>

#define RECORD_ALIGN 8u
/* More than any disk's size, and far from overflowing (wire.h: WIRE_DISK_BYTES_MAX). */
#define OFFSET_MAX (1ull << 60)

static uint64_t page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

int capture_ring_map(int fd, uint64_t bytes, struct capture_ring *ret_ring)
{
	uint64_t page = page_bytes();
	void *consumer, *rest;
	int error;

	if (bytes < page || (bytes & (bytes - 1)))
		return -EINVAL;
	consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (consumer == MAP_FAILED)
		return -errno;
	/* The kernel offers the data a second time behind this, so that no record wraps. It would count twice
	 * in what the agent occupies. */
	rest = mmap(NULL, page + bytes, PROT_READ, MAP_SHARED, fd, (off_t)page);
	if (rest == MAP_FAILED) {
		error = -errno;
		munmap(consumer, page);
		return error;
	}
	*ret_ring = (struct capture_ring){
		.consumer = consumer,
		.producer = rest,
		.data = (const uint8_t *)rest + page,
		.bytes = bytes,
	};
	return 0;
}

void capture_ring_unmap(struct capture_ring *ring)
{
	uint64_t page = page_bytes();

	if (ring->consumer)
		munmap(ring->consumer, page);
	if (ring->producer)
		munmap((void *)ring->producer, page + ring->bytes);
	memset(ring, 0, sizeof(*ring));
}

uint64_t capture_ring_produced(const struct capture_ring *ring)
{
	return __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
}

uint64_t capture_ring_released(const struct capture_ring *ring)
{
	return __atomic_load_n(ring->consumer, __ATOMIC_RELAXED);
}

void capture_ring_release(struct capture_ring *ring, uint64_t position)
{
	uint64_t released = capture_ring_released(ring);

	/* The kernel believes this number: too large a one would hand out room that is in use. */
	if (position - released > capture_ring_produced(ring) - released)
		return;
	__atomic_store_n(ring->consumer, position, __ATOMIC_RELEASE);
}

static void copy_out(const struct capture_ring *ring, uint64_t position, void *to, uint64_t length)
{
	uint64_t at = position & (ring->bytes - 1);
	uint64_t first = ring->bytes - at < length ? ring->bytes - at : length;

	memcpy(to, ring->data + at, first);
	memcpy((uint8_t *)to + first, ring->data, length - first);
}

static bool is_sound(const struct tracker_record *head, uint64_t payload)
{
	uint64_t room = payload - sizeof(*head);

	if (head->slot >= TRACKER_SLOTS_MAX || head->length == 0 || head->offset > OFFSET_MAX ||
	    head->length > OFFSET_MAX)
		return false;
	if (head->kind == TRACKER_RECORD_ZERO)
		return room == 0;
	return head->kind == TRACKER_RECORD_DATA && head->length <= room &&
	       (room == TRACKER_PIECE_SMALL_BYTES || room == TRACKER_PIECE_BYTES);
}

enum capture_found capture_ring_next(const struct capture_ring *ring, uint64_t *position,
				     uint64_t *ret_start, struct tracker_record *ret_head,
				     uint8_t *data)
{
	uint64_t produced = capture_ring_produced(ring), at = *position;

	if (at % RECORD_ALIGN != 0 || produced - at > ring->bytes)
		return CAPTURE_FOUND_DAMAGE;
	while (at != produced) {
		const uint32_t *word = (const uint32_t *)(ring->data + (at & (ring->bytes - 1)));
		/* The program's data comes before its length without the busy bit. */
		uint32_t length = __atomic_load_n(word, __ATOMIC_ACQUIRE);
		uint64_t payload = length & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		uint64_t whole = (BPF_RINGBUF_HDR_SZ + payload + RECORD_ALIGN - 1) / RECORD_ALIGN *
				 RECORD_ALIGN;
		struct tracker_record head;

		if (length & BPF_RINGBUF_BUSY_BIT)
			break;
		if (whole > produced - at)
			return CAPTURE_FOUND_DAMAGE;
		if (length & BPF_RINGBUF_DISCARD_BIT) {
			at += whole;
			*position = at;
			continue;
		}
		if (payload < sizeof(head))
			return CAPTURE_FOUND_DAMAGE;
		copy_out(ring, at + BPF_RINGBUF_HDR_SZ, &head, sizeof(head));
		if (!is_sound(&head, payload))
			return CAPTURE_FOUND_DAMAGE;
		if (data && head.kind == TRACKER_RECORD_DATA)
			copy_out(ring, at + BPF_RINGBUF_HDR_SZ + sizeof(head), data, head.length);
		*ret_start = at;
		*ret_head = head;
		*position = at + whole;
		return CAPTURE_FOUND_RECORD;
	}
	return CAPTURE_FOUND_NOTHING;
}
