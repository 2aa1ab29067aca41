/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps shared with a concurrent writer. Each change is one atomic read-modify-write of one word,
 * sequentially consistent: a set bit must be visible before the block it stands for is read (I2),
 * and these calls are rare beside the reads that they order.
 */
#include "common/bitmap.h"

#include <assert.h>
#include <stddef.h>

#define WORD_BITS 64

static uint64_t load_word(const struct bitmap *map, uint64_t index)
{
	return __atomic_load_n(&map->words[index], __ATOMIC_SEQ_CST);
}

/* The bits of word `index` that lie in [first, first + count), count > 0. */
static uint64_t mask_of(uint64_t index, uint64_t first, uint64_t count)
{
	uint64_t mask = ~0ull;
	uint64_t last = first + count - 1;

	if (index == first / WORD_BITS)
		mask &= ~0ull << (first % WORD_BITS);
	if (index == last / WORD_BITS)
		mask &= ~0ull >> (WORD_BITS - 1 - last % WORD_BITS);
	return mask;
}

static void assert_inside(const struct bitmap *map, uint64_t first, uint64_t count)
{
	assert(first <= map->bits && count <= map->bits - first);
	(void)map;
	(void)first;
	(void)count;
}

void bitmap_set(struct bitmap *map, uint64_t first, uint64_t count)
{
	assert_inside(map, first, count);
	if (count == 0)
		return;
	for (uint64_t i = first / WORD_BITS; i <= (first + count - 1) / WORD_BITS; i++)
		__atomic_fetch_or(&map->words[i], mask_of(i, first, count), __ATOMIC_SEQ_CST);
}

void bitmap_clear(struct bitmap *map, uint64_t first, uint64_t count)
{
	assert_inside(map, first, count);
	if (count == 0)
		return;
	for (uint64_t i = first / WORD_BITS; i <= (first + count - 1) / WORD_BITS; i++)
		__atomic_fetch_and(&map->words[i], ~mask_of(i, first, count), __ATOMIC_SEQ_CST);
}

bool bitmap_test(const struct bitmap *map, uint64_t bit)
{
	assert_inside(map, bit, 1);
	return load_word(map, bit / WORD_BITS) >> (bit % WORD_BITS) & 1;
}

bool bitmap_test_any(const struct bitmap *map, uint64_t first, uint64_t count)
{
	assert_inside(map, first, count);
	if (count == 0)
		return false;
	for (uint64_t i = first / WORD_BITS; i <= (first + count - 1) / WORD_BITS; i++) {
		if (load_word(map, i) & mask_of(i, first, count))
			return true;
	}
	return false;
}

bool bitmap_is_empty(const struct bitmap *map)
{
	return !bitmap_test_any(map, 0, map->bits);
}

uint64_t bitmap_count(const struct bitmap *map)
{
	uint64_t words = bitmap_words(map->bits);
	uint64_t count = 0;

	for (uint64_t i = 0; i < words; i++)
		count += (uint64_t)__builtin_popcountll(load_word(map, i) &
							mask_of(i, 0, map->bits));
	return count;
}

/* The first bit at or after `from`, before `end`, whose value is `wanted`; `end` when none is. */
static uint64_t find_bit(const struct bitmap *map, uint64_t from, uint64_t end, bool wanted)
{
	if (from >= end)
		return end;
	for (uint64_t i = from / WORD_BITS; i <= (end - 1) / WORD_BITS; i++) {
		uint64_t word = load_word(map, i);

		word = (wanted ? word : ~word) & mask_of(i, from, end - from);
		if (word)
			return i * WORD_BITS + (uint64_t)__builtin_ctzll(word);
	}
	return end;
}

bool bitmap_next_run(const struct bitmap *map, uint64_t from, uint64_t most, uint64_t *ret_first,
		     uint64_t *ret_count)
{
	uint64_t first = find_bit(map, from, map->bits, true);
	uint64_t end;

	if (first >= map->bits || most == 0)
		return false;
	end = most < map->bits - first ? first + most : map->bits;
	/* Another writer may clear `first` meanwhile; it was set when it was looked at. */
	end = find_bit(map, first + 1, end, false);
	*ret_first = first;
	*ret_count = end - first;
	return true;
}

void bitmap_merge(struct bitmap *to, const struct bitmap *from)
{
	uint64_t words = bitmap_words(from->bits);

	assert(to->bits == from->bits);
	for (uint64_t i = 0; i < words; i++) {
		uint64_t word = load_word(from, i);

		if (word)
			__atomic_fetch_or(&to->words[i], word, __ATOMIC_SEQ_CST);
	}
}

uint64_t bitmap_move(struct bitmap *to, struct bitmap *from)
{
	uint64_t words = bitmap_words(from->bits);
	uint64_t moved = 0;

	assert(to->bits == from->bits);
	for (uint64_t i = 0; i < words; i++) {
		uint64_t word = load_word(from, i);

		if (!word)
			continue;
		__atomic_fetch_or(&to->words[i], word, __ATOMIC_SEQ_CST);
		/* Only what is safe in `to`: a bit that came in between waits for the next move. */
		__atomic_fetch_and(&from->words[i], ~word, __ATOMIC_SEQ_CST);
		moved++;
	}
	return moved;
}
