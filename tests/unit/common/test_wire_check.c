// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of frames: what breaks a named limit is refused (I10). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/compress.h"
#include "common/wire_check.h"

static struct {
	struct wire_data data;
	struct wire_extent extents[2];
	uint8_t bytes[8192];
} __attribute__((packed)) frame;

static void make_data(void)
{
	memset(&frame, 0, sizeof(frame));
	frame.data = (struct wire_data){
		.codec = COMPRESS_RAW, .extents = 2, .raw_bytes = 8192, .stored_bytes = 8192};
	frame.extents[0] =
		(struct wire_extent){.offset = 0, .length = 8192, .kind = WIRE_EXTENT_DATA};
	frame.extents[1] =
		(struct wire_extent){.offset = 65536, .length = 1 << 30, .kind = WIRE_EXTENT_ZERO};
}

static int check_frame(void)
{
	return wire_check_payload(WIRE_DATA, &frame, sizeof(frame), NULL);
}

static void a_right_data_frame_passes(void **state)
{
	make_data();
	assert_int_equal(check_frame(), 0);
}

#define REFUSES(field, value)                                                                      \
	do {                                                                                       \
		make_data();                                                                       \
		frame.field = (value);                                                             \
		assert_int_equal(check_frame(), -EPROTO);                                          \
	} while (0)

static void data_frames_beyond_the_limits_are_refused(void **state)
{
	REFUSES(data.extents, 0);
	REFUSES(data.extents, 1); /* no longer adds up */
	REFUSES(data.extents, WIRE_DATA_EXTENTS_MAX + 1);
	REFUSES(data.disk, WIRE_DISKS_MAX);
	REFUSES(data.raw_bytes, WIRE_DATA_RAW_MAX + 1);
	REFUSES(data.raw_bytes, 4096);
	REFUSES(data.stored_bytes, 8191);
	REFUSES(data.stored_bytes, 8193);
	REFUSES(data.stored_bytes, UINT32_MAX);
	REFUSES(data.codec, 0);
	REFUSES(data.codec, 99);
	REFUSES(extents[0].length, 0);
	REFUSES(extents[0].length, UINT64_MAX);
	REFUSES(extents[0].length, 4096);
	REFUSES(extents[0].offset, UINT64_MAX);
	REFUSES(extents[0].kind, 0);
	REFUSES(extents[0].kind, 3);
	REFUSES(extents[1].length, UINT64_MAX - 4096);
}

static void extents_past_the_disk_are_found(void **state)
{
	make_data();
	assert_int_equal(wire_check_extents_inside(&frame.data, 1ull << 40), 0);
	assert_int_equal(wire_check_extents_inside(&frame.data, 65536 + (1 << 30)), 0);
	assert_int_equal(wire_check_extents_inside(&frame.data, 65536 + (1 << 30) - 1), -ERANGE);
	assert_int_equal(wire_check_extents_inside(&frame.data, 0), -ERANGE);
	frame.extents[1].offset = WIRE_DISK_BYTES_MAX;
	assert_int_equal(wire_check_extents_inside(&frame.data, 1ull << 40), -ERANGE);
}

static void headers_are_checked_before_anything_is_read(void **state)
{
	struct wire_header header = {.magic = WIRE_MAGIC, .type = WIRE_PING};

	assert_int_equal(wire_check_header(&header, NULL), 0);
	header.length = 1;
	assert_int_equal(wire_check_header(&header, NULL), -EPROTO);
	header = (struct wire_header){.magic = WIRE_MAGIC, .type = 31};
	assert_int_equal(wire_check_header(&header, NULL), -EPROTO);
	header = (struct wire_header){.magic = WIRE_MAGIC, .type = 0xffff};
	assert_int_equal(wire_check_header(&header, NULL), -EPROTO);
	header = (struct wire_header){.magic = WIRE_MAGIC, .type = WIRE_DATA, .length = UINT32_MAX};
	assert_int_equal(wire_check_header(&header, NULL), -EPROTO);
	header = (struct wire_header){.magic = 0x20544547, .type = WIRE_PING}; /* "GET " */
	assert_int_equal(wire_check_header(&header, NULL), -EPROTO);
}

static void digests_that_do_not_fit_their_length_are_refused(void **state)
{
	struct {
		struct wire_digests digests;
		uint8_t table[4 * WIRE_DIGEST_LEN];
	} message = {.digests = {.length = 3 * 16384 + 512, .block = 16384, .count = 4}};

	assert_int_equal(wire_check_payload(WIRE_DIGESTS, &message, sizeof(message), NULL), 0);
	message.digests.count = 3;
	assert_int_equal(wire_check_payload(WIRE_DIGESTS, &message, sizeof(message), NULL),
			 -EPROTO);
	message.digests.count = 4;
	message.digests.block = 3 * 4096;
	assert_int_equal(wire_check_payload(WIRE_DIGESTS, &message, sizeof(message), NULL),
			 -EPROTO);
	message.digests.block = 0;
	assert_int_equal(wire_check_payload(WIRE_DIGESTS, &message, sizeof(message), NULL),
			 -EPROTO);
}

static void texts_end_inside_their_field(void **state)
{
	struct wire_error error;

	memset(&error, 'x', sizeof(error));
	error.class = FAULT_RETRY;
	assert_int_equal(wire_check_payload(WIRE_ERROR, &error, sizeof(error), NULL), 0);
	assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
	error.class = 9;
	assert_int_equal(wire_check_payload(WIRE_ERROR, &error, sizeof(error), NULL), -EPROTO);
}

static void machines_beyond_the_limits_are_refused(void **state)
{
	const struct wire_machine right = {
		.memory_bytes = 1 << 30, .cpus = 2, .firmware = WIRE_FIRMWARE_UEFI, .nics = 1};
	struct wire_machine machine = right;

	memset(machine.nic[0].name, 'x', sizeof(machine.nic[0].name));
	assert_int_equal(wire_check_payload(WIRE_MACHINE, &machine, sizeof(machine), NULL), 0);
	assert_int_equal(strlen(machine.nic[0].name), sizeof(machine.nic[0].name) - 1);
	machine.nics = WIRE_NICS_MAX + 1;
	assert_int_equal(wire_check_payload(WIRE_MACHINE, &machine, sizeof(machine), NULL),
			 -EPROTO);
	machine = right;
	machine.cpus = 0;
	assert_int_equal(wire_check_payload(WIRE_MACHINE, &machine, sizeof(machine), NULL),
			 -EPROTO);
	machine = right;
	machine.memory_bytes = WIRE_MEMORY_MAX + 1;
	assert_int_equal(wire_check_payload(WIRE_MACHINE, &machine, sizeof(machine), NULL),
			 -EPROTO);
	machine = right;
	machine.firmware = 3;
	assert_int_equal(wire_check_payload(WIRE_MACHINE, &machine, sizeof(machine), NULL),
			 -EPROTO);
}

static void texts_of_checks_end_inside_their_field(void **state)
{
	struct wire_checks checks;

	memset(&checks, 'x', sizeof(checks));
	assert_int_equal(wire_check_payload(WIRE_CHECKS, &checks, sizeof(checks), NULL), 0);
	assert_int_equal(strlen(checks.target), sizeof(checks.target) - 1);
	assert_int_equal(strlen(checks.text), sizeof(checks.text) - 1);
	assert_int_equal(wire_payload_max(WIRE_CHECKS), sizeof(checks));
}

static void a_start_is_of_a_known_kind(void **state)
{
	struct wire_start start;

	memset(&start, 'x', sizeof(start));
	start.kind = WIRE_START_COMPARED;
	assert_int_equal(wire_check_payload(WIRE_START, &start, sizeof(start), NULL), 0);
	assert_int_equal(strlen(start.text), sizeof(start.text) - 1);
	start.kind = 0;
	assert_int_equal(wire_check_payload(WIRE_START, &start, sizeof(start), NULL), -EPROTO);
	start.kind = 3;
	assert_int_equal(wire_check_payload(WIRE_START, &start, sizeof(start), NULL), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_right_data_frame_passes),
		cmocka_unit_test(data_frames_beyond_the_limits_are_refused),
		cmocka_unit_test(extents_past_the_disk_are_found),
		cmocka_unit_test(headers_are_checked_before_anything_is_read),
		cmocka_unit_test(digests_that_do_not_fit_their_length_are_refused),
		cmocka_unit_test(texts_end_inside_their_field),
		cmocka_unit_test(texts_of_checks_end_inside_their_field),
		cmocka_unit_test(a_start_is_of_a_known_kind),
		cmocka_unit_test(machines_beyond_the_limits_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
