/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps of 64-bit words, little bit first, that may be shared with another writer (the kernel's
 * tracker sets bits in the same memory): every change is one atomic operation on one word.
 *
 * A bit stands for one block of a disk. The memory belongs to the caller (often an mmap); a bitmap
 * is a view of it. Bits past `bits` in the last word are never set by these functions.
 */
#ifndef BLKFERRY_COMMON_BITMAP_H
#define BLKFERRY_COMMON_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

struct bitmap {
	uint64_t *words;
	uint64_t bits;
};

/* How many blocks, so how many bits: the last block may be a short one. */
static inline uint64_t bitmap_blocks(uint64_t size_bytes, uint64_t block_bytes)
{
	return size_bytes / block_bytes + (size_bytes % block_bytes != 0);
}

static inline uint64_t bitmap_words(uint64_t bits)
{
	return bits / 64 + (bits % 64 != 0);
}

/* Sets or clears [first, first + count). The range must lie inside; that is asserted. */
void bitmap_set(struct bitmap *map, uint64_t first, uint64_t count);
void bitmap_clear(struct bitmap *map, uint64_t first, uint64_t count);
bool bitmap_test(const struct bitmap *map, uint64_t bit);
/* Is any bit of [first, first + count) set? */
bool bitmap_test_any(const struct bitmap *map, uint64_t first, uint64_t count);
bool bitmap_is_empty(const struct bitmap *map);
uint64_t bitmap_count(const struct bitmap *map);

/* The first run of set bits at or after `from`, at most `most` long.
 * Returns false when there is none. */
bool bitmap_next_run(const struct bitmap *map, uint64_t from, uint64_t most, uint64_t *ret_first,
		     uint64_t *ret_count);

/* Sets in `to` every bit that is set in `from`, which stays as it is. Both are as large. */
void bitmap_merge(struct bitmap *to, const struct bitmap *from);

/* I2: moves every set bit of `from` into `to`: a bit is set in `to` before it is cleared in `from`,
 * so that a process killed in between leaves it in both, never in neither. Bits that another writer
 * sets in `from` meanwhile stay there or are moved, never lost. Returns how many words had bits. */
uint64_t bitmap_move(struct bitmap *to, struct bitmap *from);

#endif
