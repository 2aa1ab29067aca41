// SPDX-License-Identifier: GPL-2.0-or-later
/* Digests against published vectors; the zero test at every position and size. */
#include "common/digest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EXHAUSTIVE_BYTES 300
#define BLOCK_BYTES	 4096

/* Each size, each position of the one byte that is not zero, at several alignments: a test that looks
 * only at the head, or that forgets the last byte, is caught. */
static void one_byte_anywhere_is_not_zero(void **state)
{
	static uint8_t memory[EXHAUSTIVE_BYTES + 16];

	(void)state;
	for (size_t align = 0; align < 16; align += 5) {
		uint8_t *data = memory + align;

		for (size_t size = 0; size <= EXHAUSTIVE_BYTES; size++) {
			assert_true(digest_is_zero(data, size));
			for (size_t at = 0; at < size; at++) {
				data[at] = at % 2 ? 0x80 : 1;
				assert_false(digest_is_zero(data, size));
				data[at] = 0;
			}
		}
	}
}

static void one_byte_anywhere_in_a_block_is_not_zero(void **state)
{
	static uint8_t data[BLOCK_BYTES];

	(void)state;
	for (size_t at = 0; at < BLOCK_BYTES; at++) {
		data[at] = 1;
		assert_false(digest_is_zero(data, BLOCK_BYTES));
		data[at] = 0;
	}
	assert_true(digest_is_zero(data, BLOCK_BYTES));
}

static void bytes_around_do_not_count(void **state)
{
	uint8_t data[64];

	(void)state;
	memset(data, 0xff, sizeof(data));
	memset(data + 1, 0, 62);
	assert_true(digest_is_zero(data + 1, 62));
	assert_false(digest_is_zero(data + 1, 63));
	assert_false(digest_is_zero(data, 63));
	assert_true(digest_is_zero(data, 0));
}

/* A pattern of period 16 would pass the memcmp alone. */
static void repeating_bytes_are_not_zero(void **state)
{
	uint8_t data[256];

	(void)state;
	for (size_t period = 1; period <= 64; period++) {
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = i % period == period - 1;
		assert_false(digest_is_zero(data, sizeof(data)));
	}
}

/* xxHash's own test vectors for empty input and seed 0. */
static void digests_of_nothing_are_the_published_ones(void **state)
{
	static const uint8_t expected[DIGEST_BYTES] = {0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47,
						       0x98, 0xd8, 0x60, 0x01, 0xc3, 0x24,
						       0x46, 0x8d, 0x49, 0x7f};
	uint8_t digest[DIGEST_BYTES];

	(void)state;
	digest_block("", 0, digest);
	assert_memory_equal(digest, expected, DIGEST_BYTES);
	assert_true(digest_checksum("", 0) == 0x2d06800538d394c2ull);
}

static void digests_see_every_bit(void **state)
{
	uint8_t data[512] = {0}, before[DIGEST_BYTES], after[DIGEST_BYTES];
	uint64_t checksum = digest_checksum(data, sizeof(data));

	(void)state;
	digest_block(data, sizeof(data), before);
	for (size_t bit = 0; bit < sizeof(data) * 8; bit++) {
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		digest_block(data, sizeof(data), after);
		assert_memory_not_equal(before, after, DIGEST_BYTES);
		assert_false(digest_checksum(data, sizeof(data)) == checksum);
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_byte_anywhere_is_not_zero),
		cmocka_unit_test(one_byte_anywhere_in_a_block_is_not_zero),
		cmocka_unit_test(bytes_around_do_not_count),
		cmocka_unit_test(repeating_bytes_are_not_zero),
		cmocka_unit_test(digests_of_nothing_are_the_published_ones),
		cmocka_unit_test(digests_see_every_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
