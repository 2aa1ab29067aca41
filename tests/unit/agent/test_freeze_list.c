/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which file systems are frozen and in which order, on machines that are made up. */
#include "agent/linux/freeze_list.h"

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

static struct freeze_list list;
static struct fault fault;

/* A process with a mount namespace; "self" is ours. */
static void make_process(const char *pid, const char *namespace)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s/ns/mnt", proc_root, pid);
	make_parents(path);
	assert_int_equal(symlink(namespace, path), 0);
}

static int load(uint32_t major, uint32_t minor)
{
	const struct tracked_disk disk = {.major = major, .minor = minor};

	write_mounts();
	return freeze_list_load(&roots, &disk, 1, &list, &fault);
}

static void assert_listed(const char *const *points)
{
	unsigned int count = 0;

	for (; points[count]; count++) {
		assert_true(count < list.count);
		assert_string_equal(list.entries[count].paths[0].point, points[count]);
	}
	assert_int_equal(list.count, count);
}

static int setup(void **state)
{
	int result = machine_setup(state);

	make_process("self", "mnt:[1]");
	make_process("1", "mnt:[1]");
	make_disk("sda", "8:0\n", "100000\n");
	make_partition("sda", "sda1", "8:1\n");
	make_partition("sda", "sda2", "8:2\n");
	make_disk("sdb", "8:16\n", "100000\n");
	return result;
}

static int teardown(void **state)
{
	freeze_list_fini(&list);
	return machine_teardown(state);
}

static void only_file_systems_on_the_disks_innermost_first(void **state)
{
	make_stacked("dm-0", "253:0\n", "LVM-a", ON("sda2", "sdb"));
	mount_at("8:1", "/", "ext4", "/dev/sda1");
	mount_at("0:22", "/proc", "proc", "proc");
	mount_at("253:0", "/srv", "xfs", "/dev/mapper/a");
	mount_at("8:16", "/elsewhere", "ext4", "/dev/sdb");
	mount_at("8:1", "/srv/bound", "ext4", "/dev/sda1");
	assert_int_equal(load(8, 0), 0);
	assert_listed(ON("/srv", "/"));
	assert_string_equal(list.entries[0].type, "xfs");
	assert_int_equal(list.entries[0].method, FREEZE_BY_IOCTL);
	assert_int_equal(list.entries[1].path_count, 2);
}

static void read_only_file_systems_are_left_out(void **state)
{
	mount_at("8:1", "/", "ext4", "/dev/sda1");
	strcat(mountinfo, "9 1 8:2 / /ro rw - ext4 /dev/sda2 ro\n");
	assert_int_equal(load(8, 0), 0);
	assert_listed(ON("/"));
}

static void what_lies_in_a_file_is_frozen_before_its_holder(void **state)
{
	/* mounted in an order that tells nothing: /a's file is on /b, /b's is on / */
	make_disk("loop0", "7:0\n", "1000\n");
	set("loop0", "loop/backing_file", "/b/a file\n");
	make_disk("loop1", "7:1\n", "1000\n");
	set("loop1", "loop/backing_file", "/b.img\n");
	make_disk("loop2", "7:2\n", "1000\n");
	set("loop2", "loop/backing_file", "/elsewhere/c.img\n");
	mount_at("7:0", "/a", "ext4", "/dev/loop0");
	mount_at("7:1", "/b", "ext4", "/dev/loop1");
	mount_at("8:1", "/", "ext4", "/dev/sda1");
	mount_at("8:16", "/elsewhere", "ext4", "/dev/sdb");
	mount_at("7:2", "/c", "ext4", "/dev/loop2");
	assert_int_equal(load(8, 0), 0);
	assert_listed(ON("/a", "/b", "/"));
}

static void a_btrfs_of_several_disks_is_frozen_once(void **state)
{
	make_file("", "%s/fs/btrfs/uuid/devices/sda2", sys_root);
	make_file("", "%s/fs/btrfs/uuid/devices/sdb", sys_root);
	mount_at("0:40", "/", "btrfs", "/dev/sdb");
	mount_at("0:40", "/home", "btrfs", "/dev/sdb");
	assert_int_equal(load(8, 0), 0);
	assert_listed(ON("/"));
}

static void mounts_of_other_namespaces_are_found(void **state)
{
	make_process("77", "mnt:[2]");
	make_process("78", "mnt:[2]");
	mount_at("8:1", "/", "ext4", "/dev/sda1");
	make_file(
		"9 1 8:1 / /host rw - ext4 /dev/sda1 rw\n9 1 8:2 / /data rw - ext4 /dev/sda2 rw\n",
		"%s/77/mountinfo", proc_root);
	make_file(
		"9 1 8:1 / /host rw - ext4 /dev/sda1 rw\n9 1 8:2 / /data rw - ext4 /dev/sda2 rw\n",
		"%s/78/mountinfo", proc_root);
	assert_int_equal(load(8, 0), 0);
	assert_listed(ON("/data", "/"));
	assert_true(list.entries[0].paths[0].pid == 77 || list.entries[0].paths[0].pid == 78);
	assert_int_equal(list.entries[0].path_count, 1);
	assert_int_equal(list.entries[1].paths[0].pid, 0);
}

static void zfs_is_named_as_what_cannot_be_frozen(void **state)
{
	mount_at("8:1", "/", "ext4", "/dev/sda1");
	mount_at("0:50", "/tank", "zfs", "tank");
	assert_int_equal(load(8, 0), 0);
	assert_listed(ON("/tank", "/"));
	assert_int_equal(list.entries[0].method, FREEZE_IMPOSSIBLE);
}

static void a_disk_that_is_gone_is_a_fault(void **state)
{
	mount_at("8:1", "/", "ext4", "/dev/sda1");
	assert_int_equal(load(8, 64), -ENODEV);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_file_systems_on_the_disks_innermost_first),
		TEST(read_only_file_systems_are_left_out),
		TEST(what_lies_in_a_file_is_frozen_before_its_holder),
		TEST(a_btrfs_of_several_disks_is_frozen_once),
		TEST(mounts_of_other_namespaces_are_found),
		TEST(zfs_is_named_as_what_cannot_be_frozen),
		TEST(a_disk_that_is_gone_is_a_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
