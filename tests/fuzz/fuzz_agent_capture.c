// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as the contents of capture's ring, read from any position: nothing outside is touched, what is
 * found keeps what the reader promises, and the reading comes to an end. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/capture_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define RING 8192u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint64_t position, produced, start, rounds = 0;
	struct tracker_record head;
	struct capture_ring ring;
	uint8_t *memory, *data;

	if (size < 2 * sizeof(uint64_t))
		return 0;
	memcpy(&position, bytes, sizeof(position));
	memcpy(&produced, bytes + sizeof(position), sizeof(produced));
	bytes += 2 * sizeof(uint64_t);
	size -= 2 * sizeof(uint64_t);
	/* On the heap, where a byte too far is seen. */
	memory = calloc(1, RING);
	data = malloc(TRACKER_PIECE_BYTES);
	if (!memory || !data)
		abort();
	memcpy(memory, bytes, size < RING ? size : RING);
	ring = (struct capture_ring){
		.consumer = &position, .producer = &produced, .data = memory, .bytes = RING};
	while (capture_ring_next(&ring, &position, &start, &head, data) == CAPTURE_FOUND_RECORD) {
		if (rounds++ > RING / 8 || position <= start || position > produced ||
		    head.length == 0 || head.offset + head.length < head.offset ||
		    head.slot >= TRACKER_SLOTS_MAX ||
		    (head.kind == TRACKER_RECORD_DATA && head.length > TRACKER_PIECE_BYTES))
			abort();
	}
	free(memory);
	free(data);
	return 0;
}
