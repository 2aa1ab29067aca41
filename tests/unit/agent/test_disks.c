/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding the machine's disks, on machines that are made up: a sysfs, tables of mounts, nodes. */
#include "agent/linux/disks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/agent/machine.h"

static struct found_disk *found;
static unsigned int found_count;
static struct fault fault;

static int find(const char *wanted)
{
	free(found);
	found = NULL;
	memset(&fault, 0, sizeof(fault));
	write_mounts();
	return disks_find_in(&roots, wanted, &found, &found_count, &fault);
}

static const struct found_disk *disk(const char *path)
{
	for (unsigned int i = 0; i < found_count; i++)
		if (strcmp(found[i].disk.path, path) == 0)
			return &found[i];
	fail_msg("%s was not found", path);
	return NULL;
}

static void assert_chosen(const char *path, const char *why)
{
	assert_true(disk(path)->is_chosen);
	assert_string_equal(disk(path)->why, why);
}

static void assert_left_out(const char *path, const char *part_of_why)
{
	assert_false(disk(path)->is_chosen);
	if (!strstr(disk(path)->why, part_of_why))
		fail_msg("%s: %s", path, disk(path)->why);
}

static void assert_fault(const char *part)
{
	if (!strstr(fault.text, part))
		fail_msg("%s", fault.text);
	assert_int_equal(fault.class, FAULT_STOP);
}

static int teardown(void **state)
{
	free(found);
	found = NULL;
	return machine_teardown(state);
}

/* --- what auto chooses --- */

static void auto_takes_a_virtio_disk_by_its_mounted_partition(void **state)
{
	make_disk("vda", "254:0\n", "2097152\n");
	make_partition("vda", "vda1", "254:1\n");
	set("vda", "serial", "disk-1"); /* virtio writes no newline */
	mount_at("254:1", "/", "ext4", "/dev/root");
	mount_at("254:1", "/srv/bound", "ext4", "/dev/root");
	assert_int_equal(find("auto"), 0);
	assert_int_equal(found_count, 1);
	assert_chosen("/dev/vda", "holds / (ext4 on vda1)");
	assert_string_equal(found[0].disk.identity, "disk-1");
	assert_int_equal(found[0].disk.size_bytes, 1 << 30);
	assert_int_equal(found[0].disk.major, 254);
	assert_int_equal(found[0].disk.logical_block_bytes, 512);
	assert_int_equal(found[0].disk.sequence, 9);
	assert_true(found[0].disk.is_request_based);
}

static void auto_goes_through_lvm_and_crypt_to_the_disks(void **state)
{
	make_disk("sda", "8:0\n", "2097152\n");
	make_partition("sda", "sda2", "8:2\n");
	make_disk("sdb", "8:16\n", "2097152\n");
	make_disk("sdc", "8:32\n", "2097152\n");
	make_stacked("dm-0", "253:0\n", "CRYPT-LUKS2-x", ON("sda2"));
	make_stacked("dm-1", "253:1\n", "LVM-x", ON("dm-0", "sdb"));
	mount_at("253:1", "/", "xfs", "/dev/mapper/vg-root");
	assert_int_equal(find("auto"), 0);
	assert_chosen("/dev/sda", "holds / (xfs on dm-1), LVM (dm-0)");
	assert_chosen("/dev/sdb", "holds / (xfs on dm-1), LVM (sdb)");
	assert_left_out("/dev/sdc", "nothing on it is mounted");
}

static void auto_takes_both_members_of_a_mirror(void **state)
{
	make_disk("sda", "8:0\n", "2097152\n");
	make_partition("sda", "sda1", "8:1\n");
	make_disk("sdb", "8:16\n", "2097152\n");
	make_partition("sdb", "sdb1", "8:17\n");
	make_stacked("md127", "9:127\n", NULL, ON("sda1", "sdb1"));
	mount_at("9:127", "/", "ext4", "/dev/md127");
	assert_int_equal(find("auto"), 0);
	assert_true(disk("/dev/sda")->is_chosen);
	assert_true(disk("/dev/sdb")->is_chosen);
}

static void auto_takes_all_members_of_a_btrfs(void **state)
{
	make_disk("vda", "254:0\n", "2097152\n");
	make_disk("vdb", "254:16\n", "2097152\n");
	make_disk("vdc", "254:32\n", "2097152\n");
	make_file("", "%s/fs/btrfs/some-uuid/devices/vda", sys_root);
	make_file("", "%s/fs/btrfs/some-uuid/devices/vdb", sys_root);
	mount_at("0:31", "/", "btrfs", "/dev/vda");
	mount_at("0:32", "/home", "btrfs", "/dev/vda");
	assert_int_equal(find("auto"), 0);
	assert_chosen("/dev/vda", "holds / (btrfs on vda)");
	assert_chosen("/dev/vdb", "holds / (btrfs on vdb)");
	assert_false(disk("/dev/vdc")->is_chosen);
}

static void auto_takes_a_btrfs_root_whose_source_is_no_device(void **state)
{
	make_disk("vda", "254:0\n", "2097152\n");
	make_disk("vdb", "254:16\n", "2097152\n");
	make_file("", "%s/fs/btrfs/some-uuid/devices/vda", sys_root);
	mount_at("0:31", "/", "btrfs", "/dev/root");
	assert_int_equal(find("auto"), 0);
	assert_chosen("/dev/vda", "holds / (btrfs on vda)");
	assert_false(disk("/dev/vdb")->is_chosen);
}

static void auto_takes_the_disks_of_journals(void **state)
{
	make_disk("sda", "8:0\n", "2097152\n");
	make_disk("sdb", "8:16\n", "2097152\n");
	make_partition("sdb", "sdb1", "8:17\n");
	make_disk("sdc", "8:32\n", "2097152\n");
	make_disk("sdd", "8:48\n", "2097152\n");
	mount_at("8:0", "/", "ext4", "/dev/sda");
	make_file("", "%s/fs/jbd2/sdb1/info", proc_root);
	make_file("", "%s/fs/jbd2/sdd-8/info", proc_root); /* an internal one */
	strcat(mountinfo, "9 1 8:0 / /srv rw - ext4 /dev/sda rw\n"
			  "9 1 8:48 / /data rw - xfs /dev/sdd rw,logdev=/dev/sdc,noquota\n");
	assert_int_equal(find("auto"), 0);
	assert_chosen("/dev/sdb", "holds journal (sdb1)");
	assert_chosen("/dev/sdc", "holds a part of (/data on sdc)");
	assert_chosen("/dev/sdd", "holds /data (xfs on sdd)");
}

static void auto_takes_disks_with_swap_or_a_resting_volume_group(void **state)
{
	char label[2048] = {0};
	FILE *file;
	char path[256];

	make_disk("vda", "254:0\n", "2097152\n");
	make_partition("vda", "vda2", "254:2\n");
	make_file("Filename Type Size Used Priority\n/dev/vda2 partition 1048 0 -2\n"
		  "/var/swap\\040file file 1048 0 -2\n",
		  "%s/swaps", proc_root);
	make_disk("vdb", "254:16\n", "2097152\n");
	make_file("E:ID_FS_TYPE=LVM2_member\n", "%s/b254:16", udev_root);
	make_disk("vdc", "254:32\n", "2097152\n");
	memcpy(label + 512, "LABELONE", 8);
	memcpy(label + 512 + 24, "LVM2 001", 8);
	snprintf(path, sizeof(path), "%s/vdc", dev_root);
	file = fopen(path, "w");
	fwrite(label, sizeof(label), 1, file);
	fclose(file);
	assert_int_equal(find("auto"), 0);
	assert_chosen("/dev/vda", "holds swap (vda2)");
	assert_chosen("/dev/vdb", "holds LVM (vdb)");
	assert_chosen("/dev/vdc", "holds LVM (vdc)");
}

static void auto_leaves_out_loop_memory_and_read_only_disks(void **state)
{
	make_disk("vda", "254:0\n", "2097152\n");
	mount_at("254:0", "/", "ext4", "/dev/vda");
	make_disk("loop0", "7:0\n", "2048\n");
	set("loop0", "loop/backing_file", "/var/lib/snapd/snaps/core 22.snap\n");
	mount_at("7:0", "/snap/core", "squashfs", "/dev/loop0");
	make_disk("loop1", "7:1\n", "0\n"); /* free */
	make_disk("zram0", "252:0\n", "2048\n");
	make_disk("sr0", "11:0\n", "2048\n");
	make_disk("sdz", "65:144\n", "2048\n");
	set("sdz", "ro", "1\n");
	mount_at("65:144", "/mnt", "ext4", "/dev/sdz");
	assert_int_equal(find("auto"), 0);
	assert_int_equal(found_count, 5);
	assert_true(disk("/dev/vda")->is_chosen);
	assert_left_out("/dev/loop0", "a loop disk");
	assert_left_out("/dev/zram0", "memory");
	assert_left_out("/dev/sr0", "CD-ROM");
	assert_left_out("/dev/sdz", "read-only");
	assert_string_equal(disk("/dev/loop0")->disk.identity, "/var/lib/snapd/snaps/core 22.snap");
}

static void auto_refuses_paths_of_a_multipath_device(void **state)
{
	make_disk("sda", "8:0\n", "2097152\n");
	make_disk("sdb", "8:16\n", "2097152\n");
	make_stacked("dm-0", "253:0\n", "mpath-3600x", ON("sda", "sdb"));
	set("dm-0", "dm/name", "mpatha\n");
	mount_at("253:0", "/", "ext4", "/dev/mapper/mpatha");
	assert_int_equal(find("auto"), -ENODEV);
	assert_fault("nothing to replicate");
	assert_int_equal(find("/dev/sda"), -EINVAL);
	assert_fault("multipath device mpatha");
}

static void auto_skips_hidden_paths_of_an_nvme_disk(void **state)
{
	make_disk("nvme0n1", "259:0\n", "2097152\n");
	make_disk("nvme0c0n1", "0:0\n", "2097152\n");
	set("nvme0c0n1", "hidden", "1\n");
	make_partition("nvme0n1", "nvme0n1p1", "259:1\n");
	set("nvme0n1", "wwid", "eui.0025385b71b0a1c2\n");
	set("nvme0n1", "device/serial", "S4EWNX0R     \n");
	set("nvme0n1", "device/model", "Samsung SSD 970 \n");
	mount_at("259:1", "/", "ext4", "/dev/nvme0n1p1");
	assert_int_equal(find("auto"), 0);
	assert_int_equal(found_count, 1);
	assert_string_equal(found[0].disk.identity, "eui.0025385b71b0a1c2");
	assert_string_equal(found[0].model, "Samsung_SSD_970");
}

static void a_slash_in_a_name_is_kept(void **state)
{
	make_disk("cciss!c0d0", "104:0\n", "2097152\n");
	make_partition("cciss!c0d0", "cciss!c0d0p1", "104:1\n");
	mount_at("104:1", "/", "ext4", "/dev/cciss/c0d0p1");
	assert_int_equal(find("auto"), 0);
	assert_true(disk("/dev/cciss/c0d0")->is_chosen);
	assert_int_equal(find("/dev/cciss/c0d0"), 0);
	assert_true(disk("/dev/cciss/c0d0")->is_chosen);
}

/* --- what a list chooses --- */

static void make_three_disks(void)
{
	char target[128], link[128];

	make_disk("sda", "8:0\n", "2097152\n");
	make_partition("sda", "sda1", "8:1\n");
	set("sda", "device/wwid", "naa.5000c500a1b2c3d4\n");
	make_disk("sdb", "8:16\n", "2097152\n");
	make_file("E:ID_SERIAL=QEMU_HARDDISK_drive-2\nE:ID_SERIAL_SHORT=drive-2\n", "%s/b8:16",
		  udev_root);
	make_disk("vda", "254:0\n", "2097152\n");
	set("vda", "serial", "same");
	snprintf(target, sizeof(target), "%s/sdb", dev_root);
	snprintf(link, sizeof(link), "%s/disk/by-id/my-disk", dev_root);
	make_parents(link);
	assert_int_equal(symlink(target, link), 0);
	mount_at("8:1", "/", "ext4", "/dev/sda1");
}

static void a_list_names_disks_in_any_way(void **state)
{
	static const struct {
		const char *entry, *path;
	} entries[] = {
		{"/dev/sdb", "/dev/sdb"},
		{"/dev/disk/by-id/my-disk", "/dev/sdb"},
		{"drive-2", "/dev/sdb"},
		{"QEMU_HARDDISK_drive-2", "/dev/sdb"},
		{"naa.5000C500A1B2C3D4", "/dev/sda"},
		{"0x5000c500a1b2c3d4", "/dev/sda"},
		{"5000c500a1b2c3d4", "/dev/sda"},
		{"same", "/dev/vda"},
		{"vda", "/dev/vda"},
	};

	make_three_disks();
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		unsigned int chosen = 0;

		assert_int_equal(find(entries[i].entry), 0);
		for (unsigned int k = 0; k < found_count; k++)
			chosen += found[k].is_chosen;
		assert_int_equal(chosen, 1);
		assert_true(disk(entries[i].path)->is_chosen);
	}
	assert_int_equal(find(" /dev/sdb ,same,"), 0);
	assert_true(disk("/dev/sdb")->is_chosen);
	assert_true(disk("/dev/vda")->is_chosen);
	assert_left_out("/dev/sda", "not in the list; holds / (ext4 on sda1)");
}

static void an_entry_that_matches_nothing_lists_what_is_there(void **state)
{
	make_three_disks();
	assert_int_equal(find("/dev/sda,nonsense"), -ENODEV);
	assert_fault("no disk is nonsense");
	assert_fault("/dev/sdb");
	assert_fault("naa.5000c500a1b2c3d4");
	assert_null(found);
	assert_int_equal(find(""), -ENODEV);
	assert_int_equal(find("/dev/gone"), -ENODEV);
}

static void an_entry_that_matches_two_disks_names_both(void **state)
{
	make_three_disks();
	make_disk("vdb", "254:16\n", "2097152\n");
	set("vdb", "serial", "same");
	assert_int_equal(find("same"), -EINVAL);
	assert_fault("two disks, /dev/vda and /dev/vdb");
	/* and neither is known by that name */
	assert_int_equal(find("/dev/vda"), 0);
	assert_string_equal(disk("/dev/vda")->disk.identity, "/dev/vda");
	assert_string_equal(disk("/dev/vdb")->disk.identity, "/dev/vdb");
}

static void a_partition_in_the_list_is_refused_with_its_disk_named(void **state)
{
	make_three_disks();
	assert_int_equal(find("/dev/sda1"), -EINVAL);
	assert_fault("write /dev/sda");
}

static void a_loop_disk_in_the_list_is_taken(void **state)
{
	make_disk("loop0", "7:0\n", "2048\n");
	set("loop0", "loop/backing_file", "/tmp/disk.img\n");
	assert_int_equal(find("/dev/loop0"), 0);
	assert_chosen("/dev/loop0", "in the list");
	assert_string_equal(found[0].disk.identity, "/tmp/disk.img");
}

static void a_mount_table_that_is_not_understood_is_a_fault(void **state)
{
	make_three_disks();
	strcat(mountinfo, "nonsense\n");
	assert_int_equal(find("auto"), -EINVAL);
	assert_fault("mounted file systems");
}

/* --- looking again --- */

static void a_refresh_sees_growth_and_another_disk(void **state)
{
	struct tracked_disk known;

	make_three_disks();
	assert_int_equal(find("/dev/vda"), 0);
	known = disk("/dev/vda")->disk;
	set("vda", "size", "4194304\n");
	assert_int_equal(disks_refresh_in(&roots, &known, &fault), 0);
	assert_int_equal(known.size_bytes, 2ull << 30);
	assert_int_equal(known.sequence, 9);
	/* without names to tell them apart, its number among all disks there ever were still does */
	set("vda", "diskseq", "12\n");
	assert_int_equal(disks_refresh_in(&roots, &known, &fault), 0);
	assert_int_equal(known.sequence, 12);
	set("vda", "serial", "another");
	assert_int_equal(disks_refresh_in(&roots, &known, &fault), -ENODEV);
	assert_fault("another instead of same");
	set("vda", "size", "0\n");
	assert_int_equal(disks_refresh_in(&roots, &known, &fault), -ENODEV);
	assert_fault("gone");
	assert_int_equal(known.size_bytes, 2ull << 30);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, machine_setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(auto_takes_a_virtio_disk_by_its_mounted_partition),
		TEST(auto_goes_through_lvm_and_crypt_to_the_disks),
		TEST(auto_takes_both_members_of_a_mirror),
		TEST(auto_takes_all_members_of_a_btrfs),
		TEST(auto_takes_a_btrfs_root_whose_source_is_no_device),
		TEST(auto_takes_the_disks_of_journals),
		TEST(auto_takes_disks_with_swap_or_a_resting_volume_group),
		TEST(auto_leaves_out_loop_memory_and_read_only_disks),
		TEST(auto_refuses_paths_of_a_multipath_device),
		TEST(auto_skips_hidden_paths_of_an_nvme_disk),
		TEST(a_slash_in_a_name_is_kept),
		TEST(a_list_names_disks_in_any_way),
		TEST(an_entry_that_matches_nothing_lists_what_is_there),
		TEST(an_entry_that_matches_two_disks_names_both),
		TEST(a_partition_in_the_list_is_refused_with_its_disk_named),
		TEST(a_loop_disk_in_the_list_is_taken),
		TEST(a_mount_table_that_is_not_understood_is_a_fault),
		TEST(a_refresh_sees_growth_and_another_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
