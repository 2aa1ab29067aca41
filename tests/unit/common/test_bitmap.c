/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bitmaps: ranges against a plain model, runs, and a move that races with another writer. */
#include "common/bitmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>

#include <cmocka.h>

#define BITS 517 /* not a multiple of 64: the last word is partly used */

static uint64_t words[(BITS + 63) / 64];
static bool model[BITS];
static struct bitmap map = {words, BITS};

static int reset(void **state)
{
	(void)state;
	memset(words, 0, sizeof(words));
	memset(model, 0, sizeof(model));
	return 0;
}

static void assert_matches_model(void)
{
	uint64_t count = 0;

	for (uint64_t bit = 0; bit < BITS; bit++) {
		assert_int_equal(bitmap_test(&map, bit), model[bit]);
		count += model[bit];
	}
	assert_int_equal(bitmap_count(&map), count);
	assert_int_equal(bitmap_is_empty(&map), count == 0);
	assert_int_equal(words[BITS / 64] >> (BITS % 64), 0);
}

static void ranges_match_a_plain_model(void **state)
{
	(void)state;
	srand(1);
	for (int round = 0; round < 400; round++) {
		uint64_t first = (uint64_t)rand() % (BITS + 1);
		uint64_t count = (uint64_t)rand() % (BITS - first + 1);
		bool value = rand() % 2;
		bool any = false;

		if (round % 3 == 0 && count > 3)
			count = 3;
		for (uint64_t bit = first; bit < first + count; bit++)
			any |= model[bit];
		assert_int_equal(bitmap_test_any(&map, first, count), any);
		if (value)
			bitmap_set(&map, first, count);
		else
			bitmap_clear(&map, first, count);
		for (uint64_t bit = first; bit < first + count; bit++)
			model[bit] = value;
		assert_matches_model();
	}
}

static void whole_map_can_be_set_and_cleared(void **state)
{
	(void)state;
	bitmap_set(&map, 0, BITS);
	memset(model, 1, sizeof(model));
	assert_matches_model();
	bitmap_clear(&map, 0, BITS);
	memset(model, 0, sizeof(model));
	assert_matches_model();
}

static void empty_ranges_change_nothing(void **state)
{
	(void)state;
	bitmap_set(&map, 64, 0);
	bitmap_set(&map, BITS, 0);
	assert_matches_model();
	assert_false(bitmap_test_any(&map, BITS, 0));
}

static void runs_cover_exactly_the_set_bits(void **state)
{
	uint64_t first, count, from = 0;
	bool seen[BITS] = {false};

	(void)state;
	srand(2);
	for (int i = 0; i < 40; i++) {
		uint64_t bit = (uint64_t)rand() % BITS;

		bitmap_set(&map, bit, bit + 5 <= BITS ? (uint64_t)rand() % 6 : 1);
	}
	while (bitmap_next_run(&map, from, 4, &first, &count)) {
		assert_true(count >= 1 && count <= 4 && first >= from);
		for (uint64_t bit = first; bit < first + count; bit++)
			seen[bit] = true;
		from = first + count;
	}
	for (uint64_t bit = 0; bit < BITS; bit++)
		assert_int_equal(seen[bit], bitmap_test(&map, bit));
}

static void run_crosses_words_and_ends_at_the_end(void **state)
{
	uint64_t first = 99, count = 99;

	(void)state;
	bitmap_set(&map, 60, 200);
	assert_true(bitmap_next_run(&map, 0, UINT64_MAX, &first, &count));
	assert_int_equal(first, 60);
	assert_int_equal(count, 200);
	assert_false(bitmap_next_run(&map, 260, UINT64_MAX, &first, &count));
	bitmap_set(&map, BITS - 1, 1);
	assert_true(bitmap_next_run(&map, 260, UINT64_MAX, &first, &count));
	assert_int_equal(first, BITS - 1);
	assert_int_equal(count, 1);
	assert_false(bitmap_next_run(&map, BITS, UINT64_MAX, &first, &count));
}

static void move_keeps_what_the_destination_had(void **state)
{
	uint64_t to_words[(BITS + 63) / 64] = {0};
	struct bitmap to = {to_words, BITS};

	(void)state;
	bitmap_set(&to, 3, 1);
	bitmap_set(&map, 64, 2);
	bitmap_set(&map, BITS - 1, 1);
	assert_int_equal(bitmap_move(&to, &map), 2);
	assert_true(bitmap_is_empty(&map));
	assert_int_equal(bitmap_count(&to), 4);
	assert_true(bitmap_test(&to, 3) && bitmap_test(&to, 65) && bitmap_test(&to, BITS - 1));
}

#define RACE_BITS 65536

static void *set_each_bit_once(void *argument)
{
	struct bitmap *from = argument;

	for (uint64_t bit = 0; bit < RACE_BITS; bit++)
		bitmap_set(from, bit, 1);
	return NULL;
}

static void move_loses_nothing_to_another_writer(void **state)
{
	static uint64_t from_words[RACE_BITS / 64], to_words[RACE_BITS / 64];
	struct bitmap from = {from_words, RACE_BITS}, to = {to_words, RACE_BITS};
	pthread_t thread;

	(void)state;
	for (int round = 0; round < 100; round++) {
		assert_int_equal(pthread_create(&thread, NULL, set_each_bit_once, &from), 0);
		while (!bitmap_test(&to, RACE_BITS - 1))
			bitmap_move(&to, &from);
		pthread_join(thread, NULL);
		bitmap_move(&to, &from);
		assert_int_equal(bitmap_count(&to), RACE_BITS);
		bitmap_clear(&to, 0, RACE_BITS);
	}
}

static void merging_keeps_both_sides_bits(void **state)
{
	uint64_t to_words[2] = {1, 0}, from_words[2] = {2, 1ull << 35};
	struct bitmap to = {.words = to_words, .bits = 100};
	struct bitmap from = {.words = from_words, .bits = 100};

	bitmap_merge(&to, &from);
	assert_true(to_words[0] == 3 && to_words[1] == 1ull << 35);
	assert_true(from_words[0] == 2 && from_words[1] == 1ull << 35);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merging_keeps_both_sides_bits),
		cmocka_unit_test_setup(ranges_match_a_plain_model, reset),
		cmocka_unit_test_setup(whole_map_can_be_set_and_cleared, reset),
		cmocka_unit_test_setup(empty_ranges_change_nothing, reset),
		cmocka_unit_test_setup(runs_cover_exactly_the_set_bits, reset),
		cmocka_unit_test_setup(run_crosses_words_and_ends_at_the_end, reset),
		cmocka_unit_test_setup(move_keeps_what_the_destination_had, reset),
		cmocka_unit_test(move_loses_nothing_to_another_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
