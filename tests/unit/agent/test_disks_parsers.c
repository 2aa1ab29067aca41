/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parsers of what the kernel says about disks and mounts. */
#include "agent/linux/mounts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "agent/linux/disks_identity.h"

static void mountinfo_lines_have_optional_fields_and_escapes(void **state)
{
	static const char text[] =
		"1 0 254:1 / / rw - ext4 /dev/vda1 rw,errors=remount-ro\n"
		"2 1 254:2 /sub /a\\040b\\134c ro,noatime shared:1 master:2 - xfs /dev/vda2 rw\n"
		"3 1 254:3 / /c rw - ext4 /dev/vda3 ro,relatime\n"
		"4 1 0:44 / /d rw -  tmpfs  rw\n";
	struct mount_table table;

	assert_int_equal(mounts_parse(text, sizeof(text) - 1, &table), 0);
	assert_int_equal(table.count, 4);
	assert_string_equal(table.mounts[1].point, "/a b\\c");
	assert_string_equal(table.mounts[1].root, "/sub");
	assert_string_equal(table.mounts[1].type, "xfs");
	assert_int_equal(table.mounts[1].minor, 2);
	/* errors=remount-ro is not ro, a read-only mount of a writable file system neither */
	assert_false(table.mounts[0].is_read_only);
	assert_false(table.mounts[1].is_read_only);
	assert_true(table.mounts[2].is_read_only);
	assert_string_equal(table.mounts[3].source, "");
	mounts_fini(&table);
}

static void broken_tables_are_refused(void **state)
{
	static const char *const mounts[] = {"1 0 254:1 / / rw ext4 /dev/vda1 rw",
					     "x",
					     "1 0 2541 / / rw - ext4 /dev/vda1 rw",
					     "1 0 254:-1 / / rw - ext4 /dev/vda1 rw",
					     "1 0 254:1 / / rw -",
					     "1 0 254:1 / / rw - ext4"};
	static const char *const swaps[] = {"Filename\n/dev/vda2 partition 1 2",
					    "Filename\nvda2 partition 1 2 3"};
	struct mount_table table;
	struct swap_table swap;

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++)
		assert_int_equal(mounts_parse(mounts[i], strlen(mounts[i]), &table), -EINVAL);
	for (size_t i = 0; i < sizeof(swaps) / sizeof(swaps[0]); i++)
		assert_int_equal(swaps_parse(swaps[i], strlen(swaps[i]), &swap), -EINVAL);
}

static void a_serial_page_is_checked_against_its_length(void **state)
{
	static const unsigned char good[] = {0, 0x80, 0, 8, ' ', ' ', 'Z', '1', ' ', 'x', ' ', 0};
	static const unsigned char longer[] = {0, 0x80, 1, 0, 'Z'};
	static const unsigned char other[] = {0, 0x83, 0, 1, 'Z'};
	static const unsigned char zeros[] = {0, 0x80, 0, 4, '0', '0', '0', '0'};
	char serial[DISK_NAME_MAX] = "";

	assert_int_equal(identity_parse_vpd80(good, sizeof(good), serial), 0);
	assert_string_equal(serial, "Z1_x");
	assert_int_equal(identity_parse_vpd80(longer, sizeof(longer), serial), -EINVAL);
	assert_int_equal(identity_parse_vpd80(other, sizeof(other), serial), -EINVAL);
	assert_int_equal(identity_parse_vpd80(good, 3, serial), -EINVAL);
	assert_int_equal(identity_parse_vpd80(zeros, sizeof(zeros), serial), 0);
	assert_string_equal(serial, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mountinfo_lines_have_optional_fields_and_escapes),
		cmocka_unit_test(broken_tables_are_refused),
		cmocka_unit_test(a_serial_page_is_checked_against_its_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
