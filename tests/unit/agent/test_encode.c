// SPDX-License-Identifier: GPL-2.0-or-later
/* Encoding a batch: what the frame says, restored, is what was read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/encode.h"
#include "common/compress.h"
#include "common/digest.h"
#include "common/wire_check.h"

#define SIZE FLOW_BATCH_BYTES

static uint8_t disk[2 * SIZE], copy[2 * SIZE], buffer[SIZE];

/* Applies a frame to `copy`; returns how many bytes it covered. */
static uint64_t apply(const uint8_t *frame, size_t size)
{
	const struct wire_header *header = (const struct wire_header *)frame;
	struct wire_data *data = (struct wire_data *)(header + 1);
	const struct wire_extent *extents = wire_data_extents(data);
	static uint8_t plain[WIRE_DATA_RAW_MAX];
	const uint8_t *at = plain;
	uint64_t covered = 0;

	assert_int_equal(wire_check_header(header, NULL), 0);
	assert_int_equal(size, sizeof(*header) + header->length);
	assert_int_equal(wire_check_payload(WIRE_DATA, data, header->length, NULL), 0);
	assert_int_equal(compress_restore(data->codec, wire_data_bytes(data), data->stored_bytes,
					  plain, data->raw_bytes),
			 0);
	assert_true(digest_checksum(plain, data->raw_bytes) == data->checksum);
	for (unsigned int i = 0; i < data->extents; i++) {
		if (extents[i].kind == WIRE_EXTENT_ZERO) {
			memset(copy + extents[i].offset, 0, extents[i].length);
		} else {
			memcpy(copy + extents[i].offset, at, extents[i].length);
			at += extents[i].length;
		}
		covered += extents[i].length;
	}
	return covered;
}

static void load(const struct flow_batch *batch)
{
	uint8_t *to = buffer;

	for (unsigned int i = 0; i < batch->count; i++) {
		memcpy(to, disk + batch->extents[i].offset, batch->extents[i].length);
		to += (batch->extents[i].length + 4095) / 4096 * 4096;
	}
}

static void check_batch(const struct flow_batch *batch, const struct encode_hole *holes,
			unsigned int hole_count, uint64_t expected)
{
	struct encoder *encoder = encoder_new(COMPRESS_LZ4);
	const uint8_t *bytes;
	size_t size;

	memset(copy, 0xee, sizeof(copy));
	load(batch);
	assert_int_equal(encoder_run_data(encoder, batch, buffer, holes, hole_count,
					  EFFORT_COMPRESS, &bytes, &size),
			 0);
	assert_int_equal(size ? apply(bytes, size) : 0, expected);
	for (unsigned int i = 0; i < batch->count; i++) {
		for (uint32_t k = 0; k < batch->extents[i].length; k++) {
			uint64_t at = batch->extents[i].offset + k;
			bool is_hole = false;

			for (unsigned int h = 0; h < hole_count; h++)
				is_hole |= at >= holes[h].offset &&
					   at < holes[h].offset + holes[h].length;
			if ((is_hole ? 0xee : disk[at]) != copy[at])
				fail_msg("byte %llu differs", (unsigned long long)at);
		}
	}
	encoder_free(encoder);
}

static void fill(uint64_t from, uint64_t length, bool is_random)
{
	for (uint64_t i = from; i < from + length; i++)
		disk[i] = is_random ? (uint8_t)random() : (uint8_t)(i / 1000 + 1);
}

/* Random mixes of zero, compressible and random pages in extents of any size. */
static void every_mix_of_pages_survives(void **state)
{
	srandom(1);
	for (unsigned int round = 0; round < 300; round++) {
		struct flow_batch batch = {.kind = FLOW_COPY};
		uint64_t at = 0;

		memset(disk, 0, sizeof(disk));
		for (uint64_t page = 0; page < sizeof(disk); page += 4096)
			if (random() % 3)
				fill(page, (uint64_t)(random() % 4096 + 1), random() % 2);
		while (batch.count < FLOW_BATCH_EXTENTS && batch.bytes < SIZE) {
			uint32_t most = (SIZE - batch.bytes) / 4096;
			uint32_t length = (uint32_t)(random() % most + 1) * 4096;

			at += (uint64_t)(random() % 3) * 4096;
			if (at + length > sizeof(disk))
				break;
			batch.extents[batch.count++] =
				(struct flow_extent){.offset = at, .length = length};
			batch.bytes += length;
			at += length;
		}
		if (batch.count)
			check_batch(&batch, NULL, 0, batch.bytes);
	}
}

static void the_last_byte_of_a_page_of_zeroes_counts(void **state)
{
	struct flow_batch batch = {.count = 1, .bytes = SIZE};

	memset(disk, 0, sizeof(disk));
	batch.extents[0] = (struct flow_extent){.offset = 0, .length = SIZE};
	for (uint64_t page = 4096; page <= SIZE; page += 4096) {
		disk[page - 1] = 1;
		check_batch(&batch, NULL, 0, SIZE);
		disk[page - 1] = 0;
	}
}

static void a_batch_of_zeroes_has_no_payload(void **state)
{
	struct flow_batch batch = {.count = 1, .bytes = SIZE};
	struct encoder *encoder = encoder_new(COMPRESS_LZ4);
	const uint8_t *bytes;
	size_t size;

	memset(buffer, 0, sizeof(buffer));
	batch.extents[0] = (struct flow_extent){.offset = 4096, .length = SIZE};
	assert_int_equal(encoder_run_data(encoder, &batch, buffer, NULL, 0, EFFORT_COMPRESS, &bytes,
					  &size),
			 0);
	assert_int_equal(size, sizeof(struct wire_header) + sizeof(struct wire_data) +
				       sizeof(struct wire_extent));
	encoder_free(encoder);
}

static void what_could_not_be_read_is_not_sent(void **state)
{
	const struct encode_hole holes[] = {{.offset = 8192, .length = 4096},
					    {.offset = 65536 + 4096, .length = 4096}};
	struct flow_batch batch = {.count = 2, .bytes = 32768};

	memset(disk, 0, sizeof(disk));
	fill(0, sizeof(disk), true);
	batch.extents[0] = (struct flow_extent){.offset = 4096, .length = 16384};
	batch.extents[1] = (struct flow_extent){.offset = 65536, .length = 16384};
	check_batch(&batch, holes, 2, 32768 - 8192);
}

static void a_short_last_block_is_sent_as_it_is(void **state)
{
	struct flow_batch batch = {.count = 2, .bytes = 8192};

	memset(disk, 0, sizeof(disk));
	fill(0, 20480, true);
	batch.extents[0] = (struct flow_extent){.offset = 0, .length = 4096};
	batch.extents[1] = (struct flow_extent){.offset = 8192, .length = 512};
	check_batch(&batch, NULL, 0, 4608);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_mix_of_pages_survives),
		cmocka_unit_test(the_last_byte_of_a_page_of_zeroes_counts),
		cmocka_unit_test(a_batch_of_zeroes_has_no_payload),
		cmocka_unit_test(what_could_not_be_read_is_not_sent),
		cmocka_unit_test(a_short_last_block_is_sent_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
