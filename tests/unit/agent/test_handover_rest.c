// SPDX-License-Identifier: GPL-2.0-or-later
/* What a stop has to know of the disks: contents told by their first bytes, ranges taken out of ranges. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/linux/handover_rest.h"
#include "agent/linux/handover_start.h"

static uint8_t bytes[REST_LOOK_BYTES];

static enum rest_content content(size_t at, const char *magic)
{
	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes + at, magic, strlen(magic));
	return rest_classify(bytes, sizeof(bytes));
}

static void contents_are_told_apart(void **state)
{
	(void)state;
	assert_int_equal(content(0, "XFSB"), REST_XFS);
	assert_int_equal(content(0x438, "\x53\xef"), REST_EXT);
	assert_int_equal(content(0x10040, "_BHRfS_M"), REST_BTRFS);
	assert_int_equal(content(0, "LUKS\xba\xbe"), REST_CONTAINER);
	assert_int_equal(content(4086, "SWAPSPACE2"), REST_SWAP);
	assert_int_equal(content(0, "NTFS    "), REST_UNKNOWN);
	assert_int_equal(content(0, ""), REST_BLANK);
	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes + 512, "LABELONE", 8);
	memcpy(bytes + 512 + 24, "LVM2 001", 8);
	assert_int_equal(rest_classify(bytes, sizeof(bytes)), REST_CONTAINER);
	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes + 82, "FAT32   ", 8);
	assert_int_equal(rest_classify(bytes, sizeof(bytes)), REST_UNKNOWN);
	bytes[510] = 0x55;
	bytes[511] = 0xaa;
	assert_int_equal(rest_classify(bytes, sizeof(bytes)), REST_FAT);
	assert_int_equal(rest_classify(bytes, 100), REST_UNKNOWN);
	assert_int_equal(rest_classify(bytes, 0), REST_BLANK);
}

static void put(size_t at, uint64_t value, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		bytes[at + i] = (uint8_t)(value >> 8 * (count - 1 - i));
}

static void make_xfs(void)
{
	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes, "XFSB", 4);
	put(4, 4096, 4);
	put(48, (2ull << 14) + 6, 8); /* in the third group, which has 2^14 blocks of room */
	put(84, 10000, 4);	      /* and 10000 of them */
	put(96, 2560, 4);
	bytes[124] = 14;
}

static void the_log_of_an_xfs_is_found(void **state)
{
	uint64_t offset, length;

	(void)state;
	make_xfs();
	assert_int_equal(rest_find_xfs_log(bytes, 512, &offset, &length), 0);
	assert_int_equal(offset, (2 * 10000 + 6) * 4096ull);
	assert_int_equal(length, 2560 * 4096ull);
	put(48, 0, 8); /* external */
	assert_int_equal(rest_find_xfs_log(bytes, 512, &offset, &length), -EINVAL);
	make_xfs();
	put(48, (2ull << 14) + 10000, 8);
	assert_int_equal(rest_find_xfs_log(bytes, 512, &offset, &length), -EINVAL);
	make_xfs();
	bytes[124] = 200;
	assert_int_equal(rest_find_xfs_log(bytes, 512, &offset, &length), -EINVAL);
	make_xfs();
	put(4, 0, 4);
	assert_int_equal(rest_find_xfs_log(bytes, 512, &offset, &length), -EINVAL);
	make_xfs();
	assert_int_equal(rest_find_xfs_log(bytes, 500, &offset, &length), -EINVAL);
}

/* Checks, byte by byte, that exactly [from, to) went. */
static void leaves_out(uint64_t from, uint64_t to)
{
	struct rest *rest = calloc(1, sizeof(*rest));
	bool is_in[64] = {false};

	rest->ranges[rest->count++] = (struct rest_range){REST_WATCH, 8, 0, 0, 10, 20};
	rest->ranges[rest->count++] = (struct rest_range){REST_WATCH, 8, 0, 0, 40, 10};
	rest->ranges[rest->count++] = (struct rest_range){REST_RESEND, 8, 0, 0, 0, 64};
	rest->ranges[rest->count++] = (struct rest_range){REST_WATCH, 8, 16, 0, 0, 64};
	assert_true(rest_leave_out(rest, REST_WATCH, 8, 0, from, to - from));
	for (uint32_t i = 0; i < rest->count; i++) {
		const struct rest_range *range = &rest->ranges[i];

		if (range->kind == REST_RESEND || range->minor == 16) {
			assert_int_equal(range->length, 64);
			continue;
		}
		for (uint64_t k = 0; k < range->length; k++)
			is_in[range->offset + k] = true;
	}
	for (uint64_t k = 0; k < 64; k++)
		assert_int_equal(is_in[k], ((k >= 10 && k < 30) || (k >= 40 && k < 50)) &&
						   !(k >= from && k < to));
	free(rest);
}

static void ranges_are_left_out(void **state)
{
	(void)state;
	for (uint64_t from = 0; from < 60; from++)
		for (uint64_t to = from + 1; to <= 60; to++)
			leaves_out(from, to);
}

static void a_damaged_file_is_none(void **state)
{
	char folder[] = "/tmp/test_handover_rest-XXXXXX", path[REST_PATH_MAX];
	struct rest *rest = calloc(1, sizeof(*rest)), *read;
	struct start_note note;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(rest_read(folder, &read, NULL), -ENOENT);
	rest->count = 1;
	assert_int_equal(rest_write(folder, rest, NULL), 0);
	assert_int_equal(rest_read(folder, &read, NULL), 0);
	assert_memory_equal(read, rest, sizeof(*rest));
	free(read);
	rest_path(folder, path);
	for (long at = 0; at < (long)sizeof(*rest); at += 997) {
		int byte;

		file = fopen(path, "r+");
		fseek(file, at, SEEK_SET);
		byte = fgetc(file);
		fseek(file, at, SEEK_SET);
		fputc(byte ^ 1, file);
		fclose(file);
		assert_int_equal(rest_read(folder, &read, NULL), -EBADMSG);
		file = fopen(path, "r+");
		fseek(file, at, SEEK_SET);
		fputc(byte, file);
		fclose(file);
	}
	assert_int_equal(truncate(path, sizeof(*rest) - 1), 0);
	assert_int_equal(rest_read(folder, &read, NULL), -EBADMSG);
	unlink(path);

	start_note_read(folder, &note);
	assert_int_equal(note.kind, START_NONE);
	note = (struct start_note){.kind = START_ORDERLY, .text = "fine"};
	assert_int_equal(start_note_write(folder, &note), 0);
	memset(&note, 0xff, sizeof(note));
	start_note_read(folder, &note);
	assert_int_equal(note.kind, START_ORDERLY);
	assert_string_equal(note.text, "fine");
	snprintf(path, sizeof(path), "%s/start", folder);
	unlink(path);
	rmdir(folder);
	free(rest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(contents_are_told_apart),
		cmocka_unit_test(the_log_of_an_xfs_is_found),
		cmocka_unit_test(ranges_are_left_out),
		cmocka_unit_test(a_damaged_file_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
