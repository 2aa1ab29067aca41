// SPDX-License-Identifier: GPL-2.0-or-later
/* Compression: what comes back, what stays raw, and what broken input does. */
#include "common/compress.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES (256 * 1024)

static uint8_t data[BYTES], packed[BYTES + 1], restored[BYTES + 1];

static void fill_random(void)
{
	srand(7);
	for (size_t i = 0; i < BYTES; i++)
		data[i] = (uint8_t)(rand() >> 7);
}

static void fill_text(void)
{
	for (size_t i = 0; i < BYTES; i++)
		data[i] = "the same words again and again, "[i % 32] ^ (uint8_t)(i / 4096);
}

static void check_text_shrinks_and_comes_back(enum compress_codec codec)
{
	struct compressor *compressor = compressor_new(codec);
	size_t size = 0;

	fill_text();
	for (int round = 0; round < 3; round++) {
		memset(restored, 0, sizeof(restored));
		assert_int_equal(compressor_run(compressor, data, BYTES, packed, BYTES, &size),
				 codec);
		assert_true(size < BYTES / 10);
		assert_int_equal(compress_restore(codec, packed, size, restored, BYTES), 0);
		assert_memory_equal(data, restored, BYTES);
	}
	compressor_free(compressor);
}

static void text_shrinks_and_comes_back(void **state)
{
	(void)state;
	check_text_shrinks_and_comes_back(COMPRESS_LZ4);
	check_text_shrinks_and_comes_back(COMPRESS_ZSTD);
}

static void check_random_bytes_stay_raw(enum compress_codec codec)
{
	struct compressor *compressor = compressor_new(codec);
	size_t size = 77;

	fill_random();
	for (size_t length = 0; length <= BYTES; length = length * 2 + 1)
		assert_int_equal(compressor_run(compressor, data, length, packed, BYTES, &size),
				 COMPRESS_RAW);
	assert_int_equal(size, 77);
	compressor_free(compressor);
}

static void random_bytes_stay_raw(void **state)
{
	(void)state;
	check_random_bytes_stay_raw(COMPRESS_LZ4);
	check_random_bytes_stay_raw(COMPRESS_ZSTD);
}

/* Random bytes with a tail of zeroes: the gain is just above or just below a sixteenth. */
static void a_gain_below_a_sixteenth_stays_raw(void **state)
{
	struct compressor *compressor = compressor_new(COMPRESS_LZ4);
	size_t size = 0;

	(void)state;
	for (size_t zeroes = BYTES / 20; zeroes < BYTES / 12; zeroes += 64) {
		enum compress_codec codec;

		fill_random();
		memset(data + BYTES - zeroes, 0, zeroes);
		codec = compressor_run(compressor, data, BYTES, packed, BYTES, &size);
		if (codec == COMPRESS_LZ4)
			assert_true(size < BYTES - BYTES / 16);
		else
			assert_true(zeroes < BYTES / 14);
		assert_true(codec == COMPRESS_LZ4 || codec == COMPRESS_RAW);
		assert_false(zeroes < BYTES / 17 && codec == COMPRESS_LZ4);
	}
	compressor_free(compressor);
}

/* Whatever came before: text at once, and what gains little within a few frames. */
static void check_a_raw_run_does_not_last_for_ever(enum compress_codec codec)
{
	struct compressor *compressor = compressor_new(codec);
	size_t size = 0;
	int tries = 0;

	for (int raw = 0; raw < 20; raw++) {
		fill_random();
		for (int i = 0; i < raw; i++)
			assert_int_equal(compressor_run(compressor, data, BYTES, packed, BYTES,
							&size),
					 COMPRESS_RAW);
		fill_text();
		assert_int_equal(compressor_run(compressor, data, BYTES, packed, BYTES, &size),
				 codec);
	}
	fill_random();
	assert_int_equal(compressor_run(compressor, data, BYTES, packed, BYTES, &size),
			 COMPRESS_RAW);
	for (size_t i = 0; i < BYTES; i += 64) /* 12 bytes in 64 repeat: found only in earnest */
		memcpy(data + i, "twelve bytes", 12);
	while (compressor_run(compressor, data, BYTES, packed, BYTES, &size) != codec)
		assert_true(++tries < 8);
	compressor_free(compressor);
}

static void a_raw_run_does_not_last_for_ever(void **state)
{
	(void)state;
	check_a_raw_run_does_not_last_for_ever(COMPRESS_LZ4);
	check_a_raw_run_does_not_last_for_ever(COMPRESS_ZSTD);
}

/* However many raw frames came before, text is found within eight. */
static void hopeless_bytes_are_still_tried(void **state)
{
	struct compressor *compressor = compressor_new(COMPRESS_LZ4);
	size_t size = 0;
	int tries = 0;

	(void)state;
	fill_random();
	for (int raw = 0; raw < 1003; raw++)
		assert_int_equal(compressor_run(compressor, data, 4096, packed, 4096, &size),
				 COMPRESS_RAW);
	fill_text();
	while (compressor_run(compressor, data, 4096, packed, 4096, &size) != COMPRESS_LZ4)
		assert_true(++tries < 8);
	for (int frame = 0; frame < 100; frame++)
		assert_int_equal(compressor_run(compressor, data, 4096, packed, 4096, &size),
				 COMPRESS_LZ4);
	compressor_free(compressor);
}

static void check_room_is_never_overrun(enum compress_codec codec)
{
	struct compressor *compressor = compressor_new(codec);
	size_t size = 0;

	fill_text();
	for (size_t room = 0; room < 2000; room += 13) {
		memset(packed, 0xee, sizeof(packed));
		if (compressor_run(compressor, data, BYTES, packed, room, &size) == codec)
			assert_true(size <= room);
		for (size_t i = room; i < room + 64; i++)
			assert_int_equal(packed[i], 0xee);
	}
	compressor_free(compressor);
}

static void room_is_never_overrun(void **state)
{
	(void)state;
	check_room_is_never_overrun(COMPRESS_LZ4);
	check_room_is_never_overrun(COMPRESS_ZSTD);
}

static void nothing_is_compressed_when_raw_is_wanted(void **state)
{
	struct compressor *compressor = compressor_new(COMPRESS_RAW);
	size_t size = 0;

	(void)state;
	fill_text();
	assert_int_equal(compressor_run(compressor, data, BYTES, packed, BYTES, &size),
			 COMPRESS_RAW);
	compressor_free(compressor);
}

static void raw_restores_only_its_own_size(void **state)
{
	(void)state;
	memcpy(packed, "abcdef", 6);
	assert_int_equal(compress_restore(COMPRESS_RAW, packed, 6, restored, 6), 0);
	assert_memory_equal(restored, "abcdef", 6);
	assert_int_equal(compress_restore(COMPRESS_RAW, packed, 6, restored, 5), -EBADMSG);
	assert_int_equal(compress_restore(COMPRESS_RAW, packed, 5, restored, 6), -EBADMSG);
	assert_int_equal(compress_restore(COMPRESS_RAW, packed, 0, restored, 0), 0);
}

static void unknown_codecs_are_refused(void **state)
{
	(void)state;
	assert_int_equal(compress_restore((enum compress_codec)0, packed, 4, restored, 4),
			 -EBADMSG);
	assert_int_equal(compress_restore((enum compress_codec)99, packed, 4, restored, 4),
			 -EBADMSG);
}

static void check_damaged_input_is_refused_and_never_overruns(enum compress_codec codec)
{
	struct compressor *compressor = compressor_new(codec);
	size_t size = 0;

	fill_text();
	assert_int_equal(compressor_run(compressor, data, 4096, packed, BYTES, &size), codec);
	assert_int_equal(compress_restore(codec, packed, size, restored, 4095), -EBADMSG);
	assert_int_equal(compress_restore(codec, packed, size, restored, 4097), -EBADMSG);
	assert_int_equal(compress_restore(codec, packed, size, restored, 0), -EBADMSG);
	assert_int_equal(compress_restore(codec, packed, 0, restored, 4096), -EBADMSG);
	for (size_t shorter = 0; shorter < size; shorter++)
		assert_int_equal(compress_restore(codec, packed, shorter, restored, 4096),
				 -EBADMSG);
	restored[4096] = 0x5a;
	for (size_t at = 0; at < size; at++)
		for (int bit = 0; bit < 8; bit++) {
			int result;

			packed[at] ^= (uint8_t)(1 << bit);
			result = compress_restore(codec, packed, size, restored, 4096);
			assert_true(result == 0 || result == -EBADMSG);
			assert_int_equal(restored[4096], 0x5a);
			packed[at] ^= (uint8_t)(1 << bit);
		}
	compressor_free(compressor);
}

static void damaged_input_is_refused_and_never_overruns(void **state)
{
	(void)state;
	check_damaged_input_is_refused_and_never_overruns(COMPRESS_LZ4);
	check_damaged_input_is_refused_and_never_overruns(COMPRESS_ZSTD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_shrinks_and_comes_back),
		cmocka_unit_test(random_bytes_stay_raw),
		cmocka_unit_test(a_gain_below_a_sixteenth_stays_raw),
		cmocka_unit_test(a_raw_run_does_not_last_for_ever),
		cmocka_unit_test(hopeless_bytes_are_still_tried),
		cmocka_unit_test(room_is_never_overrun),
		cmocka_unit_test(nothing_is_compressed_when_raw_is_wanted),
		cmocka_unit_test(raw_restores_only_its_own_size),
		cmocka_unit_test(unknown_codecs_are_refused),
		cmocka_unit_test(damaged_input_is_refused_and_never_overruns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
