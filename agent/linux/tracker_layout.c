/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plans which bits of the maps belong to which disk. */
#include "agent/linux/tracker_set.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SECTOR_BYTES 512u

int layout_plan(const struct tracked_disk *disks, unsigned int count, uint64_t bitmap_bytes,
		struct tracker_slot *slots, uint64_t *ret_dirty_words, uint64_t *ret_coarse_words,
		struct fault *fault)
{
	uint32_t block_bytes[TRACKER_SLOTS_MAX];
	uint64_t dirty_words = 0, coarse_words = 0;
	int r;

	if (count == 0 || count > TRACKER_SLOTS_MAX)
		return fault_set(fault, FAULT_STOP, EINVAL, "%u disks to track: it must be 1 to %u",
				 count, TRACKER_SLOTS_MAX);
	for (unsigned int i = 0; i < count; i++) {
		if (disks[i].size_bytes < SECTOR_BYTES || disks[i].size_bytes % SECTOR_BYTES != 0)
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "%s has a size of %" PRIu64 " bytes: nothing to track",
					 disks[i].path, disks[i].size_bytes);
	}
	if (bitmap_bytes > SET_BITMAP_BYTES_MAX)
		bitmap_bytes = SET_BITMAP_BYTES_MAX;
	r = tracker_choose_blocks(disks, count, bitmap_bytes, block_bytes, fault);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < count; i++) {
		struct tracker_slot *slot = &slots[i];
		uint64_t bits = bitmap_blocks(disks[i].size_bytes, block_bytes[i]);
		uint64_t words = bitmap_words(bits);

		slot->sectors = disks[i].size_bytes / SECTOR_BYTES;
		slot->sector_shift = (uint32_t)__builtin_ctz(block_bytes[i] / SECTOR_BYTES);
		slot->bits = bits;
		slot->words = (uint32_t)words;
		slot->dirty_word = (uint32_t)dirty_words;
		slot->coarse_word = (uint32_t)coarse_words;
		dirty_words += tracker_align_words(words);
		coarse_words += tracker_align_words(
			bitmap_words(bitmap_blocks(words, TRACKER_CHUNK_WORDS)));
		slot->major = disks[i].major;
		slot->minor = disks[i].minor;
		slot->sequence = disks[i].sequence;
		memcpy(slot->identity, disks[i].identity, sizeof(slot->identity));
		slot->identity[sizeof(slot->identity) - 1] = '\0';
	}
	*ret_dirty_words = dirty_words;
	*ret_coarse_words = coarse_words;
	return 0;
}

int layout_add_device(struct tracker_device *devices, uint64_t key, uint32_t slot)
{
	uint32_t at = tracker_device_hash(key);

	for (unsigned int i = 0; i < TRACKER_PROBES_MAX; i++, at++) {
		struct tracker_device *device = &devices[at % TRACKER_DEVICES_SIZE];

		if (device->key == key)
			return -EEXIST;
		if (device->key)
			continue;
		device->slot = slot;
		device->key = key;
		return 0;
	}
	return -ENOSPC;
}
