// SPDX-License-Identifier: GPL-2.0-or-later
/* What a machine is, read from one that is made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "agent/linux/facts.h"
#include "common/units.h"
#include "common/wire_check.h"
#include "tests/unit/agent/machine.h"

static struct wire_machine facts;

static void read_facts(void)
{
	facts_read_from(&roots, &facts);
	assert_int_equal(wire_check_payload(WIRE_MACHINE, &facts, sizeof(facts), NULL), 0);
}

static void make_interface(const char *name, const char *index, const char *type, const char *mac,
			   bool is_hardware)
{
	make_file(index, "%s/class/net/%s/ifindex", sys_root, name);
	make_file(type, "%s/class/net/%s/type", sys_root, name);
	make_file(mac, "%s/class/net/%s/address", sys_root, name);
	if (is_hardware)
		make_file("", "%s/class/net/%s/device/vendor", sys_root, name);
}

static void memory_is_the_sum_of_the_blocks_that_are_on(void **state)
{
	make_file("8000000\n", "%s/devices/system/memory/block_size_bytes", sys_root);
	for (unsigned int i = 0; i < 9; i++)
		make_file(i == 8 ? "0\n" : "1\n", "%s/devices/system/memory/memory%u/online",
			  sys_root, i);
	read_facts();
	assert_int_equal(facts.memory_bytes, 8 * 128 * MIB);
}

static void without_blocks_memory_is_rounded_up(void **state)
{
	read_facts();
	assert_true(facts.memory_bytes > 0 && facts.memory_bytes % (256 * MIB) == 0);
	assert_true(facts.cpus > 0);
}

static void firmware_and_secure_boot(void **state)
{
	char path[256];
	FILE *file;

	read_facts();
	assert_int_equal(facts.firmware, WIRE_FIRMWARE_BIOS);
	make_file("", "%s/firmware/efi/efivars/other", sys_root);
	read_facts();
	assert_int_equal(facts.firmware, WIRE_FIRMWARE_UEFI);
	assert_int_equal(facts.flags, 0);
	snprintf(path, sizeof(path),
		 "%s/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
		 sys_root);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite("\6\0\0\0\1", 1, 5, file), 5);
	fclose(file);
	read_facts();
	assert_int_equal(facts.flags, WIRE_MACHINE_SECURE_BOOT);
}

static void interfaces_are_hardware_in_the_kernels_order(void **state)
{
	make_interface("lo", "1", "772", "00:00:00:00:00:00", false);
	make_interface("eth1", "3", "1", "52:54:00:00:00:03", true);
	make_interface("br0", "4", "1", "52:54:00:00:00:02", false);
	make_interface("eth0", "2", "1", "52:54:00:00:00:02", true);
	make_interface("eth2", "5", "1", "52:54:00:00:00:03", true);
	make_file("52:54:00:00:00:05", "%s/class/net/eth2/bonding_slave/perm_hwaddr", sys_root);
	make_interface("ib0", "6", "32", "80:00:00:00:00:00", true);
	read_facts();
	assert_int_equal(facts.nics, 3);
	assert_string_equal(facts.nic[0].name, "eth0");
	assert_int_equal(facts.nic[0].mac[5], 2);
	assert_string_equal(facts.nic[1].name, "eth1");
	assert_int_equal(facts.nic[2].mac[5], 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(memory_is_the_sum_of_the_blocks_that_are_on),
		TEST(without_blocks_memory_is_rounded_up),
		TEST(firmware_and_secure_boot),
		TEST(interfaces_are_hardware_in_the_kernels_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
