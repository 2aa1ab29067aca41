/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parsers of `check`: tables, shell assignments, keyfiles, boot arguments, lists of modules, networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/linux/check/bootargs.h"
#include "agent/linux/check/devices.h"
#include "agent/linux/check/kernels.h"
#include "agent/linux/check/lvm.h"
#include "agent/linux/check/netconf.h"
#include "agent/linux/check/text.h"

static void fstab_has_comments_escapes_and_lines_of_any_length(void **state)
{
	struct table_cursor cursor = {
		.at = "# /dev/sda9 / ext4\n\n  \t\n"
		      "\tUUID=\"ab-cd\"  /a\\040b xfs defaults,nofail 0 0 more\n"
		      "/dev/sdb1 /b"};
	struct table_line line;
	char text[32];

	assert_true(table_next(&cursor, &line));
	assert_int_equal(line.number, 4);
	assert_int_equal(line.fields, TABLE_FIELDS_MAX);
	table_decode(line.field[0], text, sizeof(text));
	assert_string_equal(text, "UUID=ab-cd");
	table_decode(line.field[1], text, sizeof(text));
	assert_string_equal(text, "/a b");
	assert_true(table_has_option(line.field[3], "nofail"));
	assert_false(table_has_option(line.field[3], "fail"));
	assert_false(table_has_option(line.field[3], "noauto"));
	assert_true(table_next(&cursor, &line));
	assert_int_equal(line.number, 5);
	assert_int_equal(line.fields, 2);
	assert_false(table_next(&cursor, &line));
}

static void options_with_values_are_found_by_their_name(void **state)
{
	struct span list = {.at = "luks,tpm2-device=auto,discard", .length = 29};

	assert_true(table_has_option(list, "tpm2-device"));
	assert_true(table_has_option(list, "discard"));
	assert_false(table_has_option(list, "tpm2"));
}

static void edits_replace_only_what_they_name(void **state)
{
	const char *text = "one two three\n";
	struct edits edits;
	char *edited;

	edits_init(&edits, text);
	edits_add(&edits, (struct span){.at = text + 8, .length = 5}, "3");
	edits_add(&edits, (struct span){.at = text + 0, .length = 3}, "first");
	edits_add(&edits, (struct span){.at = text + 7, .length = 0}, "!");
	edited = edits_apply(&edits);
	assert_string_equal(edited, "first two! 3\n");
	free(edited);
}

static void a_shell_value_ends_where_its_quotes_do(void **state)
{
	const char *text =
		"#A=0\nA=\"x y \\\" z\" # c\n export B='p\"q'\nC=plain#x rest\nD=\n A = 5\nA=last";
	char value[32];

	assert_true(shell_get(text, "A", value, sizeof(value)));
	assert_string_equal(value, "last");
	assert_true(shell_get(text, "B", value, sizeof(value)));
	assert_string_equal(value, "p\"q");
	assert_true(shell_get(text, "C", value, sizeof(value)));
	assert_string_equal(value, "plain#x");
	assert_true(shell_get(text, "D", value, sizeof(value)));
	assert_string_equal(value, "");
	assert_false(shell_get(text, "E", value, sizeof(value)));
}

static void a_word_keeps_its_quotes(void **state)
{
	struct span rest = {.at = "  a=\"b c\" d\\ e f", .length = 16}, word;

	assert_true(text_word(&rest, &word));
	assert_true(span_is(word, "a=\"b c\""));
	assert_true(text_word(&rest, &word));
	assert_true(span_is(word, "d\\ e"));
	assert_true(text_word(&rest, &word));
	assert_true(span_is(word, "f"));
	assert_false(text_word(&rest, &word));
}

static void boot_arguments_are_found_in_every_kind_of_file(void **state)
{
	static const struct {
		enum bootargs_kind kind;
		const char *text;
		unsigned int count;
		const char *first;
	} cases[] = {
		{BOOTARGS_PLAIN, "root=/dev/sda1 ro\n", 1, "root=/dev/sda1 ro"},
		{BOOTARGS_DEFAULTS, "GRUB_CMDLINE_LINUX=\"a b\"\nGRUB_TIMEOUT=5\n", 1, "a b"},
		{BOOTARGS_GRUB_CFG, "\tlinux\t/vmlinuz root=UUID=1 ro\n", 1, "root=UUID=1 ro"},
		{BOOTARGS_GRUB_CFG, "linuxefi /v root=/dev/sda1\nlinux16 /memtest\n", 1,
		 "root=/dev/sda1"},
		{BOOTARGS_GRUB_CFG, "# linux /v root=x\necho 'linux'\nlinux\n", 0, NULL},
		{BOOTARGS_ENTRY, "title x\noptions root=/dev/sda1 quiet\n", 1,
		 "root=/dev/sda1 quiet"},
		{BOOTARGS_ENTRY, "options $kernelopts $tuned_params\n", 0, NULL},
		{BOOTARGS_ENV, "# GRUB Environment Block\nkernelopts=root=x ro \n###", 1,
		 "root=x ro"},
	};
	struct span spans[BOOTARGS_SPANS_MAX];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(bootargs_find(cases[i].kind, cases[i].text, spans),
				 cases[i].count);
		if (cases[i].count)
			assert_true(span_is(spans[0], cases[i].first));
	}
}

static void only_what_every_entry_gets_is_for_all(void **state)
{
	const char *text = "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n";
	struct span spans[BOOTARGS_SPANS_MAX];

	assert_int_equal(bootargs_find(BOOTARGS_DEFAULTS, text, spans), 2);
	assert_false(bootargs_is_for_all(text, spans[0]));
	assert_true(bootargs_is_for_all(text, spans[1]));
}

static void an_environment_block_keeps_its_length(void **state)
{
	char *text = bootargs_pad_env(strdup("# GRUB Environment Block\na=1\n####")), *big;

	assert_int_equal(strlen(text), 1024);
	assert_memory_equal(text + 24, "\na=1\n###", 8);
	free(text);
	big = malloc(1100);
	memset(big, 'x', 1099);
	big[1099] = '\0';
	assert_null(bootargs_pad_env(big));
}

static void a_module_is_found_in_the_lists_of_all_tools(void **state)
{
	static const char *const has[] = {
		"usr/lib/modules/6.1/kernel/drivers/block/xen-blkfront.ko\n",
		"x\n-rw-r--r-- 1 root root 9 Jan  1  1970 lib/modules/5/xen-blkfront.ko.xz\n",
		"kernel/drivers/block/xen_blkfront.ko.zst: kernel/a.ko.zst",
		"xen-blkfront.ko",
	};
	static const char *const has_not[] = {
		"",
		"Arguments: --add-drivers ' xen-blkfront '\n",
		"usr/lib/modules/6.1/kernel/drivers/block/xen-blkfront.ko.sig\n",
		"usr/lib/modules/6.1/my-xen-blkfront.ko\n",
		"etc/modprobe.d/xen-blkfront.conf\n",
	};

	for (size_t i = 0; i < sizeof(has) / sizeof(has[0]); i++)
		assert_true(modules_list_has(has[i], "xen-blkfront"));
	for (size_t i = 0; i < sizeof(has_not) / sizeof(has_not[0]); i++)
		assert_false(modules_list_has(has_not[i], "xen-blkfront"));
	assert_true(modules_list_has("a/virtio-blk.ko", "virtio_blk"));
}

static void a_kernel_option_is_yes_module_or_no(void **state)
{
	const char *config = "CONFIG_XEN=y\nCONFIG_XEN_BLK=m\n# CONFIG_XEN_NET is not set\n";

	assert_int_equal(kernel_config_value(config, "CONFIG_XEN"), 'y');
	assert_int_equal(kernel_config_value(config, "CONFIG_XEN_BLK"), 'm');
	assert_int_equal(kernel_config_value(config, "CONFIG_XEN_NET"), 'n');
}

static void names_of_disks_change_and_names_of_contents_stay(void **state)
{
	static const char *const changes[] = {
		"/dev/sda",
		"/dev/sdab12",
		"/dev/vda1",
		"/dev/hdc",
		"/dev/nvme0n1p3",
		"/dev/dm-0",
		"/dev/mmcblk0p1",
		"/dev/disk/by-path/pci-0000:00:10.0-part1",
		"/dev/disk/by-id/wwn-0x5000-part1",
		"/dev/cciss/c0d0p1",
	};
	static const char *const stays[] = {
		"UUID=1234",
		"LABEL=root",
		"/dev/mapper/vg-root",
		"/dev/vg0/root",
		"/dev/md0",
		"/dev/disk/by-uuid/1234",
		"/dev/disk/by-id/dm-uuid-LVM-x",
		"/dev/sr0",
		"tmpfs",
		"/dev/disk/by-id/lvm-pv-uuid-x",
		"/dev/cdrom",
		"server:/export",
		"/dev/loop0",
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		assert_int_equal(device_name_judge(changes[i], CHECK_TARGET_XEN),
				 DEVICE_NAME_CHANGES);
	for (size_t i = 0; i < sizeof(stays) / sizeof(stays[0]); i++)
		assert_int_equal(device_name_judge(stays[i], CHECK_TARGET_XEN), DEVICE_NAME_STAYS);
	assert_int_equal(device_name_judge("/dev/xvda1", CHECK_TARGET_XEN), DEVICE_NAME_IS_TARGETS);
	assert_int_equal(device_name_judge("/dev/xvda1", CHECK_TARGET_KVM), DEVICE_NAME_CHANGES);
	assert_int_equal(device_name_judge("/dev/vdb", CHECK_TARGET_KVM), DEVICE_NAME_IS_TARGETS);
}

static void collect(void *context, struct span name)
{
	char *names = context;

	snprintf(names + strlen(names), 200 - strlen(names), "%.*s ", (int)name.length, name.at);
}

static void each_kind_of_network_file_tells_its_names(void **state)
{
	static const struct {
		void (*parse)(const char *, nic_name_fn *, void *);
		const char *text, *names;
	} cases[] = {
		{netconf_interfaces,
		 "auto lo eth0\niface lo inet loopback\niface eth0 inet dhcp\n# iface eth1 inet\n"
		 "iface eth0 inet6 auto\niface en* inet dhcp\n",
		 "eth0 eth0 "},
		{netconf_keyfile,
		 "[connection]\ntype=ethernet\ninterface-name=ens3\n[ipv4]\nmethod=auto\n",
		 "ens3 "},
		{netconf_keyfile, "[connection]\ntype=bridge\ninterface-name=br0\n", ""},
		{netconf_keyfile, "[connection]\ntype=ethernet\n[ethernet]\nmac-address=00:1\n",
		 ""},
		{netconf_ifcfg, "TYPE=Ethernet\nDEVICE=\"ens192\"\nONBOOT=yes\n", "ens192 "},
		{netconf_ifcfg, "DEVICE=lo\n", ""},
		{netconf_networkd, "[Match]\nName=ens3 eth0\n[Network]\nDHCP=yes\n", "ens3 eth0 "},
		{netconf_networkd, "[Match]\nName=en*\n[Network]\nName=no\n", ""},
		{netconf_netplan,
		 "network:\n  version: 2\n  ethernets:\n    ens3:\n      dhcp4: true\n    "
		 "\"ens4\":\n"
		 "      match:\n        macaddress: 00:11:22:33:44:55\n      set-name: lan\n"
		 "    ens5: {}\n  bridges:\n    br0:\n      interfaces: [ens3]\n",
		 "ens3 ens5 "},
		{netconf_netplan, "ethernets:\n  eth0:\n    dhcp4: yes", "eth0 "},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char names[200] = "";

		cases[i].parse(cases[i].text, collect, names);
		assert_string_equal(names, cases[i].names);
	}
}

static void a_rule_binds_a_name_to_an_address(void **state)
{
	static const char rule[] =
		"SUBSYSTEM==\"net\", ACTION==\"add\", ATTR{address}==\"00:AA:bb:cc:dd:ee\", "
		"KERNEL==\"eth*\", NAME=\"ens3\"\n";
	static const char link[] =
		"[Match]\nMACAddress=00:aa:bb:cc:dd:ee 00:11:22:33:44:55\n[Link]\nName=ens3\n";

	assert_true(netconf_rule_binds(rule, "00:aa:bb:cc:dd:ee", "ens3"));
	assert_false(netconf_rule_binds(rule, "00:aa:bb:cc:dd:ee", "ens33"));
	assert_false(netconf_rule_binds(rule, "00:aa:bb:cc:dd:e0", "ens3"));
	assert_false(netconf_rule_binds("# NAME=\"ens3\" 00:aa:bb:cc:dd:ee", "00:aa:bb:cc:dd:ee",
					"ens3"));
	assert_true(netconf_link_binds(link, "00:aa:bb:cc:dd:ee", "ens3"));
	assert_false(netconf_link_binds(link, "00:aa:bb:cc:dd:ee", "ens4"));
	assert_true(netconf_is_mac("00:aa:bb:cc:dd:ee"));
	assert_false(netconf_is_mac("00:aa:bb:cc:dd"));
	assert_false(netconf_is_mac("00:aa:bb:cc:dd:ee:ff"));
	assert_false(netconf_is_mac(""));
}

static void lvm_settings_outside_of_comments_count(void **state)
{
	struct span value;

	assert_true(lvm_setting("devices {\n\t# filter = [ \"x\" ]\n\tfilter = [ \"a|^/dev/sd|\",\n"
				"\"r|.*|\" ]\n}",
				"filter", &value));
	assert_true(span_starts(value, "[ \"a|^/dev/sd|\",\n\"r|.*|\""));
	assert_false(lvm_setting("global_filter = [ ]", "filter", &value));
	assert_true(lvm_setting("use_devicesfile = 0 # off", "use_devicesfile", &value));
	assert_true(span_is(value, "0"));
	assert_true(lvm_devices_are_bound("IDTYPE=sys_wwid IDNAME=naa.1 DEVNAME=/dev/sda2 PVID=x"));
	assert_false(lvm_devices_are_bound("# IDTYPE=sys_wwid\nIDTYPE=devname IDNAME=/dev/sda2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fstab_has_comments_escapes_and_lines_of_any_length),
		cmocka_unit_test(options_with_values_are_found_by_their_name),
		cmocka_unit_test(edits_replace_only_what_they_name),
		cmocka_unit_test(a_shell_value_ends_where_its_quotes_do),
		cmocka_unit_test(a_word_keeps_its_quotes),
		cmocka_unit_test(boot_arguments_are_found_in_every_kind_of_file),
		cmocka_unit_test(only_what_every_entry_gets_is_for_all),
		cmocka_unit_test(an_environment_block_keeps_its_length),
		cmocka_unit_test(a_module_is_found_in_the_lists_of_all_tools),
		cmocka_unit_test(a_kernel_option_is_yes_module_or_no),
		cmocka_unit_test(names_of_disks_change_and_names_of_contents_stay),
		cmocka_unit_test(each_kind_of_network_file_tells_its_names),
		cmocka_unit_test(a_rule_binds_a_name_to_an_address),
		cmocka_unit_test(lvm_settings_outside_of_comments_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
