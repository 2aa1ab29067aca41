/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bits on their way: dirty to todo (I2), and from an old set to the one that replaces it. */
#include "agent/linux/tracker_set.h"

#include <string.h>

#include "agent/linux/capture_internal.h"

#define CHUNK_BITS ((uint64_t)TRACKER_CHUNK_WORDS * 64)

static struct bitmap coarse_of(const struct tracker_set *set, unsigned int slot)
{
	const struct tracker_slot *info = &set->state->slots[slot];

	return (struct bitmap){
		.words = set->coarse + info->coarse_word,
		.bits = info->bits / CHUNK_BITS + (info->bits % CHUNK_BITS != 0),
	};
}

static uint64_t chunk_bits(const struct bitmap *map, uint64_t chunk)
{
	uint64_t rest = map->bits - chunk * CHUNK_BITS;

	return rest < CHUNK_BITS ? rest : CHUNK_BITS;
}

void merge_take_seen(struct tracker_set *set, unsigned int slot)
{
	struct bitmap dirty = set_dirty(set, slot), todo = set_todo(set, slot);
	struct bitmap coarse = coarse_of(set, slot);
	uint64_t chunk, count;

	/* The chunk stays set until its blocks are in todo, as bits do (I2). */
	for (uint64_t from = 0; bitmap_next_run(&coarse, from, 1, &chunk, &count);
	     from = chunk + 1) {
		bitmap_set(&todo, chunk * CHUNK_BITS, chunk_bits(&todo, chunk));
		bitmap_clear(&coarse, chunk, 1);
	}
	bitmap_move(&todo, &dirty);
}

void merge_take(struct tracker_set *set, unsigned int slot)
{
	merge_take_seen(set, slot);
	pending_take(set, slot);
}

uint64_t merge_count_dirty(const struct tracker_set *set, unsigned int slot)
{
	struct bitmap dirty = set_dirty(set, slot), coarse = coarse_of(set, slot);
	uint64_t total = bitmap_count(&dirty);
	uint64_t chunk, count;

	for (uint64_t from = 0; bitmap_next_run(&coarse, from, 1, &chunk, &count);
	     from = chunk + 1) {
		struct bitmap part = {.words = dirty.words + chunk * TRACKER_CHUNK_WORDS,
				      .bits = chunk_bits(&dirty, chunk)};

		total += part.bits - bitmap_count(&part);
	}
	return total;
}

bool merge_is_same(const struct tracker_slot *slot, const struct tracked_disk *disk)
{
	return strcmp(slot->identity, disk->identity) == 0 && slot->major == disk->major &&
	       slot->minor == disk->minor && slot->sequence == disk->sequence &&
	       slot->sectors == disk->size_bytes / 512;
}

int merge_find(const struct tracker_set *set, const struct tracked_disk *disk)
{
	for (unsigned int i = 0; i < set->state->header.slots; i++) {
		if (strcmp(set->state->slots[i].identity, disk->identity) == 0)
			return (int)i;
	}
	return -1;
}

void merge_bytes(const struct tracker_slot *slot, struct bitmap *to, uint64_t start, uint64_t end)
{
	uint64_t block_bytes = layout_block_bytes(slot);
	uint64_t first = start / block_bytes;
	uint64_t last = (end - 1) / block_bytes;

	if (start >= end || first >= to->bits)
		return;
	if (last >= to->bits)
		last = to->bits - 1;
	bitmap_set(to, first, last - first + 1);
}

/* ORs a bitmap of the old set into todo of the new one. Their blocks may differ in size. */
static void add_bits(const struct tracker_slot *slot, struct bitmap *to, const struct bitmap *from,
		     uint64_t from_block_bytes)
{
	uint64_t first, count;

	for (uint64_t at = 0; bitmap_next_run(from, at, UINT64_MAX, &first, &count);
	     at = first + count)
		merge_bytes(slot, to, first * from_block_bytes, (first + count) * from_block_bytes);
}

/* What the old programs saw issued and not yet complete: the new ones may have come too late for its
 * issue, and they must not be the only ones to see its completion. */
static void list_pending(const struct tracker_set *from, unsigned int slot,
			 struct tracker_slot *info, struct bitmap *todo)
{
	const struct tracker_slot *old = &from->state->slots[slot];

	for (uint32_t i = 0; i < old->pending_count; i++) {
		uint64_t note = __atomic_load_n(&from->pending[old->pending_first + i].note,
						__ATOMIC_SEQ_CST);

		if (note && note != TRACKER_PENDING_UNKNOWN)
			merge_bytes(info, todo, tracker_pending_start(note) * 512,
				    tracker_pending_end(note) * 512);
	}
}

void merge_disk(struct tracker_set *to, unsigned int slot, const struct tracker_set *from,
		const struct tracked_disk *disk, enum tracker_broken broken)
{
	struct tracker_slot *info = &to->state->slots[slot];
	struct bitmap todo = set_todo(to, slot);
	const struct tracker_slot *old;
	struct bitmap bits;
	int found = from ? merge_find(from, disk) : -1;

	info->broken = from ? TRACKER_BROKEN_FRESH : broken;
	if (found < 0)
		return;
	old = &from->state->slots[found];
	memcpy(info->memory, old->memory, sizeof(info->memory));
	info->broken = old->broken;
	if (merge_is_same(old, disk)) {
		info->had_no_iostats = old->had_no_iostats;
		__atomic_fetch_or(&info->suspect, old->suspect, __ATOMIC_SEQ_CST);
	} else {
		/* What the bits say of a replica is void; the newest epoch is still the newest. */
		memset(set_memory(to, slot)->replica_id, 0, TRACKER_REPLICA_ID_LEN);
		info->broken = old->sectors != info->sectors ? TRACKER_BROKEN_SIZE
							     : TRACKER_BROKEN_SEQUENCE;
	}
	bits = set_todo(from, (unsigned int)found);
	add_bits(info, &todo, &bits, layout_block_bytes(old));
	bits = set_dirty(from, (unsigned int)found);
	add_bits(info, &todo, &bits, layout_block_bytes(old));
	bits = coarse_of(from, (unsigned int)found);
	add_bits(info, &todo, &bits, layout_block_bytes(old) * CHUNK_BITS);
	list_pending(from, (unsigned int)found, info, &todo);
	if (!capture_merge(to, slot, from, (unsigned int)found))
		__atomic_fetch_or(&info->suspect, TRACKER_SUSPECT_MISSED, __ATOMIC_SEQ_CST);
	if (info->sectors > old->sectors)
		merge_bytes(info, &todo, old->sectors * 512, info->sectors * 512);
}
