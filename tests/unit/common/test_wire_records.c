// SPDX-License-Identifier: GPL-2.0-or-later
/* STREAM frames and the records inside: what breaks a named limit is refused (I10). */
#include "common/wire_records.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/compress.h"
#include "common/wire_check.h"

#define MIB_BYTES (1024ull * 1024)
#define RECORDS	  7u

static const uint64_t disk_bytes[] = {MIB_BYTES, 64 * MIB_BYTES};

/* One of each kind; the disk's last sector included. */
static struct {
	struct wire_record write;
	uint8_t written[512];
	struct wire_record zero, copy;
	uint8_t copied[4096];
	struct wire_record mark, confirm, gap, digest;
	uint8_t digests[2 * WIRE_DIGEST_LEN];
} __attribute__((packed)) raw;

static void make_records(void)
{
	memset(&raw, 0x11, sizeof(raw));
	raw.write = (struct wire_record){
		.kind = WIRE_RECORD_WRITE, .offset = MIB_BYTES - 512, .length = 512};
	raw.zero =
		(struct wire_record){.kind = WIRE_RECORD_ZERO, .disk = 1, .length = 64 * MIB_BYTES};
	raw.copy = (struct wire_record){.kind = WIRE_RECORD_COPY, .disk = 1, .length = 4096};
	raw.mark = (struct wire_record){
		.kind = WIRE_RECORD_MARK, .offset = 1, .length = 9, .flags = WIRE_MARK_FLAGS};
	raw.confirm = (struct wire_record){.kind = WIRE_RECORD_CONFIRM, .length = 9};
	raw.gap = (struct wire_record){.kind = WIRE_RECORD_GAP, .offset = 1, .flags = 2};
	raw.digest = (struct wire_record){
		.kind = WIRE_RECORD_DIGEST, .disk = 1, .length = 4096 + 512, .flags = 4096};
}

static int check_raw(uint32_t bytes, uint32_t records)
{
	return wire_check_records(&raw, bytes, records, disk_bytes, 2, NULL);
}

static void right_records_pass_and_are_walked(void **state)
{
	static const uint32_t data[RECORDS] = {512, 0, 4096, 0, 0, 0, 2 * WIRE_DIGEST_LEN};
	const struct wire_record *record = &raw.write;

	(void)state;
	make_records();
	assert_int_equal(check_raw(sizeof(raw), RECORDS), 0);
	for (uint32_t i = 0; i < RECORDS; i++) {
		assert_int_equal(wire_record_data_bytes(record), data[i]);
		assert_ptr_equal(wire_record_data(record), record + 1);
		record = wire_record_next(record);
	}
	assert_ptr_equal(record, &raw + 1);
}

#define REFUSES(field, value)                                                                      \
	do {                                                                                       \
		make_records();                                                                    \
		raw.field = (value);                                                               \
		assert_int_equal(check_raw(sizeof(raw), RECORDS), -EPROTO);                        \
	} while (0)

static void records_outside_their_disk_are_refused(void **state)
{
	(void)state;
	REFUSES(write.offset, MIB_BYTES);
	REFUSES(write.offset, UINT64_MAX - 511);
	REFUSES(write.offset, MIB_BYTES - 1024 + 1);
	REFUSES(write.disk, 2);
	REFUSES(write.disk, UINT16_MAX);
	REFUSES(zero.offset, 512);
	REFUSES(zero.length, UINT64_MAX);
	REFUSES(zero.length, 0);
	REFUSES(copy.offset, 64 * MIB_BYTES);
	REFUSES(digest.offset, 64 * MIB_BYTES - 4096);
}

static void records_beyond_the_limits_are_refused(void **state)
{
	(void)state;
	REFUSES(write.length, WIRE_RECORD_DATA_MAX + 512);
	REFUSES(write.length, 0);
	REFUSES(write.length, 511);
	REFUSES(write.flags, 1);
	REFUSES(zero.flags, 1);
	REFUSES(copy.flags, 1);
	REFUSES(copy.length, 8192); /* takes the mark for its bytes */
	REFUSES(mark.length, 0);
	REFUSES(mark.flags, WIRE_MARK_FLAGS + 1);
	REFUSES(mark.disk, 1);
	REFUSES(confirm.length, 0);
	REFUSES(confirm.offset, 1);
	REFUSES(gap.length, 1);
	REFUSES(digest.flags, 0);
	REFUSES(digest.flags, 512);
	REFUSES(digest.flags, 4096 + 512);
	REFUSES(digest.flags, 8192); /* one digest less than there is */
	REFUSES(digest.length, 65 * 4096);
	REFUSES(digest.length, 4 * MIB_BYTES);
	REFUSES(gap.kind, 0);
	REFUSES(gap.kind, 8);
	REFUSES(gap.kind, UINT16_MAX);
}

static void counts_that_do_not_fit_the_frame_are_refused(void **state)
{
	(void)state;
	make_records();
	assert_int_equal(check_raw(sizeof(raw), RECORDS - 1), -EPROTO);
	assert_int_equal(check_raw(sizeof(raw), RECORDS + 1), -EPROTO);
	assert_int_equal(check_raw(sizeof(raw), UINT32_MAX), -EPROTO);
	for (uint32_t bytes = 0; bytes < sizeof(raw); bytes++)
		assert_int_equal(check_raw(bytes, RECORDS), -EPROTO);
}

static void stream_frames_beyond_the_limits_are_refused(void **state)
{
	struct {
		struct wire_stream head;
		uint8_t stored[100];
	} frame;
	const struct wire_stream right = {
		.stream = 1,
		.batch = 1,
		.from = 10,
		.to = 10,
		.codec = COMPRESS_ZSTD,
		.records = 2,
		.raw_bytes = 200,
		.stored_bytes = 100,
	};

	(void)state;
#define CHECK_HEAD() wire_check_payload(WIRE_STREAM, &frame, sizeof(frame), NULL)
#define REFUSES_HEAD(field, value)                                                                 \
	do {                                                                                       \
		frame.head = right;                                                                \
		frame.head.field = (value);                                                        \
		assert_int_equal(CHECK_HEAD(), -EPROTO);                                           \
	} while (0)
	frame.head = right;
	assert_int_equal(CHECK_HEAD(), 0);
	REFUSES_HEAD(stream, 0);
	REFUSES_HEAD(batch, 0);
	REFUSES_HEAD(from, 11);
	REFUSES_HEAD(codec, 0);
	REFUSES_HEAD(codec, COMPRESS_RAW);
	REFUSES_HEAD(codec, COMPRESS_ZSTD + 1);
	REFUSES_HEAD(records, 0);
	REFUSES_HEAD(records, 9);
	REFUSES_HEAD(raw_bytes, WIRE_STREAM_RAW_MAX + 1);
	REFUSES_HEAD(raw_bytes, 99);
	REFUSES_HEAD(stored_bytes, 99);
	REFUSES_HEAD(stored_bytes, UINT32_MAX);
}

static void stream_results_beyond_the_limits_are_refused(void **state)
{
	struct {
		struct wire_stream_result result;
		uint8_t verdicts[2];
	} message = {
		.result = {.batch = 3, .length = 8192, .count = 2},
		.verdicts = {WIRE_DIGEST_SAME, WIRE_DIGEST_DIFFERS},
	};

	(void)state;
#define CHECK_RESULT(size) wire_check_payload(WIRE_STREAM_RESULT, &message, size, NULL)
	assert_int_equal(CHECK_RESULT(sizeof(message)), 0);
	assert_int_equal(CHECK_RESULT(sizeof(message) - 1), -EPROTO);
	message.verdicts[1] = 0;
	assert_int_equal(CHECK_RESULT(sizeof(message)), -EPROTO);
	message.verdicts[1] = WIRE_DIGEST_NEVER_COPIED;
	message.result.disk = WIRE_DISKS_MAX;
	assert_int_equal(CHECK_RESULT(sizeof(message)), -EPROTO);
	message.result.disk = 0;
	message.result.length = WIRE_DIGEST_EXTENT_MAX + 1;
	assert_int_equal(CHECK_RESULT(sizeof(message)), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_records_pass_and_are_walked),
		cmocka_unit_test(records_outside_their_disk_are_refused),
		cmocka_unit_test(records_beyond_the_limits_are_refused),
		cmocka_unit_test(counts_that_do_not_fit_the_frame_are_refused),
		cmocka_unit_test(stream_frames_beyond_the_limits_are_refused),
		cmocka_unit_test(stream_results_beyond_the_limits_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
