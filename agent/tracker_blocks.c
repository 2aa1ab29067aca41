/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How many bytes of each disk one bit of a tracker stands for. */
#include "agent/tracker.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "agent/flow.h"
#include "common/units.h"

static_assert(TRACKER_BLOCK_BYTES_MAX <= FLOW_BLOCK_MAX,
	      "a block that no batch can hold would never be sent");

static uint64_t words_of(uint64_t size_bytes, uint64_t block_bytes)
{
	return bitmap_words(bitmap_blocks(size_bytes, block_bytes));
}

static int fault_memory(const struct tracked_disk *disks, unsigned int count, uint64_t bitmap_bytes,
			struct fault *fault)
{
	uint64_t size_bytes = 0, words = 0;
	char size[32], needed[32], given[32];

	for (unsigned int i = 0; i < count; i++) {
		size_bytes += disks[i].size_bytes;
		words +=
			tracker_align_words(words_of(disks[i].size_bytes, TRACKER_BLOCK_BYTES_MAX));
	}
	return fault_set(
		fault, FAULT_STOP, ENOMEM,
		"the bitmap of the disks (%u, %s in all) needs at least %s and may have %s: "
		"raise 'memory =' in agent.ini accordingly",
		count, units_format_bytes(size_bytes, size, sizeof(size)),
		units_format_bytes(words * sizeof(uint64_t), needed, sizeof(needed)),
		units_format_bytes(bitmap_bytes, given, sizeof(given)));
}

int tracker_choose_blocks(const struct tracked_disk *disks, unsigned int count,
			  uint64_t bitmap_bytes, uint32_t *ret_block_bytes, struct fault *fault)
{
	for (unsigned int i = 0; i < count; i++)
		ret_block_bytes[i] = TRACKER_BLOCK_BYTES_MIN;
	for (;;) {
		uint64_t total = 0, most = 0;
		unsigned int largest = 0;

		for (unsigned int i = 0; i < count; i++) {
			uint64_t words = words_of(disks[i].size_bytes, ret_block_bytes[i]);

			total += tracker_align_words(words);
			if (words > most && ret_block_bytes[i] < TRACKER_BLOCK_BYTES_MAX) {
				most = words;
				largest = i;
			}
		}
		if (total <= bitmap_bytes / sizeof(uint64_t))
			return 0;
		if (most == 0)
			return fault_memory(disks, count, bitmap_bytes, fault);
		ret_block_bytes[largest] *= 2;
	}
}
