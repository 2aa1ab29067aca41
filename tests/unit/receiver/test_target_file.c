/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File and block device targets. Those that need a loop device or a mount need root. */
#include "target_fixture.h"

#include <sched.h>
#include <sys/mount.h>

static unsigned char model[DISK_BYTES], seen[DISK_BYTES];

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

static char *file_uri(void)
{
	return text_of("file:%s/disk", folder);
}

static char *make_loop(const char *options)
{
	static char device[64];
	char *text;
	size_t size;

	make_file("loop", DISK_BYTES);
	run(text_of("losetup --find --show %s %s/loop >%s/device", options, folder, folder));
	assert_int_equal(os_file_read(in_folder("device"), 64, &text, &size), 0);
	text[strcspn(text, "\n")] = '\0';
	snprintf(device, sizeof(device), "%s", text);
	free(text);
	return device;
}

static int end_with_loop(void **state)
{
	close_target();
	try_run(text_of("[ ! -e %s/device ] || losetup -d $(cat %s/device)", folder, folder));
	return end(state);
}

static void a_new_file_is_made_sparse(void **state)
{
	struct stat st;

	open_target(file_uri());
	assert_true(target_info(target)->is_known_zero);
	assert_true(target_info(target)->can_flush);
	assert_string_equal(target_info(target)->path, in_folder("disk"));
	assert_int_equal(stat(in_folder("disk"), &st), 0);
	assert_int_equal(st.st_size, DISK_BYTES);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void file_round_trip(void **state)
{
	open_target(file_uri());
	scribble(model, 8, 1);
	assert_int_equal(read_now(seen, 0, DISK_BYTES), 0);
	assert_memory_equal(seen, model, DISK_BYTES);
	save("model", model, sizeof(model));
	run(text_of("cmp %s/model %s/disk", folder, folder));
	close_target();
	open_target(file_uri());
	assert_false(target_info(target)->is_known_zero);
}

static void done_is_not_called_by_the_submitting_call(void **state)
{
	struct result result = {0};

	open_target(file_uri());
	assert_int_equal(target_channel_write(channel, model, 0, 512, note_done, &result), 0);
	assert_false(result.is_done);
	assert_int_equal(target_channel_poll(channel), 0);
	assert_true(result.is_done);
}

static void zeroes_punch_holes(void **state)
{
	struct stat st;

	open_target(file_uri());
	scribble(model, 0, 2);
	assert_int_equal(zero_now(0, DISK_BYTES), 0);
	assert_int_equal(stat(in_folder("disk"), &st), 0);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(st.st_size, DISK_BYTES);
}

static void a_smaller_file_is_refused_untouched(void **state)
{
	struct stat st;

	make_file("disk", DISK_BYTES - 512);
	assert_int_equal(try_open(file_uri(), DISK_BYTES), -ENOSPC);
	assert_int_equal(fault.class, FAULT_STOP);
	assert_non_null(strstr(fault.text, "enlarge"));
	assert_int_equal(stat(in_folder("disk"), &st), 0);
	assert_int_equal(st.st_size, DISK_BYTES - 512);
}

static void a_larger_file_is_taken(void **state)
{
	make_file("disk", DISK_BYTES + 4096);
	open_target(file_uri());
	assert_int_equal(target_info(target)->size_bytes, DISK_BYTES + 4096);
}

static void what_is_no_file_is_refused(void **state)
{
	run(text_of("mkdir %s/sub && mkfifo %s/fifo && ln -s nowhere %s/dangling", folder, folder,
		    folder));
	assert_int_equal(try_open(text_of("file:%s/sub", folder), DISK_BYTES), -EISDIR);
	assert_int_equal(try_open(text_of("file:%s/fifo", folder), DISK_BYTES), -EINVAL);
	assert_int_equal(try_open(text_of("file:%s/no/disk", folder), DISK_BYTES), -ENOENT);
	assert_non_null(strstr(fault.text, "folder"));
	assert_true(try_open(text_of("file:%s/dangling", folder), DISK_BYTES) < 0);
	make_file("disk", DISK_BYTES);
	assert_int_equal(try_open(text_of("block:%s/disk", folder), DISK_BYTES), -ENOTBLK);
	assert_non_null(strstr(fault.text, "file:"));
}

static void a_file_is_not_opened_twice(void **state)
{
	struct target *first;

	assert_int_equal(try_open(file_uri(), DISK_BYTES), 0);
	first = target;
	target = NULL;
	run(text_of("ln %s/disk %s/other", folder, folder));
	assert_int_equal(try_open(text_of("file:%s/other", folder), DISK_BYTES), -EBUSY);
	target_close(first);
	assert_int_equal(try_open(text_of("file:%s/other", folder), DISK_BYTES), 0);
}

static void a_file_that_a_virtual_machine_has_open_is_refused(void **state)
{
	if (!is_installed("qemu-nbd"))
		skip();
	make_file("disk", DISK_BYTES);
	/* QEMU's block layer locks as a virtual machine does. */
	start_qemu_nbd(text_of("%s/disk", folder));
	assert_int_equal(try_open(file_uri(), DISK_BYTES), -EBUSY);
	assert_non_null(strstr(fault.text, "virtual machine"));
}

static void a_virtual_machine_cannot_open_a_file_in_use(void **state)
{
	if (!is_installed("qemu-io"))
		skip();
	open_target(file_uri());
	assert_int_not_equal(
		try_run(text_of("qemu-io -f raw -c 'write 0 512' %s/disk >/dev/null 2>&1", folder)),
		0);
	close_target();
	run(text_of("qemu-io -f raw -c 'write 0 512' %s/disk >/dev/null", folder));
}

/* A tmpfs of 4 MiB in a mount namespace of this process only. */
static void a_full_file_system_is_told(void **state)
{
	need_root();
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("none", folder, "tmpfs", 0, "size=4m"), 0);
	open_target(file_uri());
	fill_random(model, 8 * MIB, 3);
	assert_int_equal(write_now(model, 0, 8 * MIB), ENOSPC);
	assert_non_null(strstr(target_channel_error(channel), "No space left"));
	assert_int_equal(zero_now(0, 8 * MIB), 0);
	assert_int_equal(write_now(model, 0, 1 * MIB), 0);
	close_target();
	assert_int_equal(umount(folder), 0);
}

static void block_device_round_trip(void **state)
{
	const char *device;

	need_root();
	device = make_loop("");
	open_target(text_of("block:%s", device));
	assert_int_equal(target_info(target)->size_bytes, DISK_BYTES);
	assert_int_equal(target_info(target)->block_bytes, 512);
	assert_false(target_info(target)->is_known_zero);
	scribble(model, 4, 4);
	assert_int_equal(read_now(seen, 0, DISK_BYTES), 0);
	assert_memory_equal(seen, model, DISK_BYTES);
	save("model", model, sizeof(model));
	close_target();
	run(text_of("cmp %s/model %s/loop", folder, folder));
}

static void zeroes_smaller_than_a_sector_of_the_device(void **state)
{
	const char *device;

	need_root();
	device = make_loop("--sector-size 4096");
	open_target(text_of("block:%s", device));
	scribble(model, 4, 5);
	assert_int_equal(read_now(seen, 0, DISK_BYTES), 0);
	assert_memory_equal(seen, model, DISK_BYTES);
}

static void a_mounted_device_is_refused(void **state)
{
	const char *device;

	need_root();
	device = make_loop("");
	run(text_of("mkfs.ext4 -q %s && mkdir %s/mount && mount %s %s/mount", device, folder,
		    device, folder));
	assert_int_equal(try_open(text_of("block:%s", device), DISK_BYTES), -EBUSY);
	assert_int_equal(fault.class, FAULT_STOP);
	run(text_of("umount %s/mount", folder));
	assert_int_equal(try_open(text_of("block:%s", device), DISK_BYTES), 0);
}

static void a_read_only_device_is_refused(void **state)
{
	need_root();
	assert_true(try_open(text_of("block:%s", make_loop("--read-only")), DISK_BYTES) < 0);
	assert_int_equal(fault.class, FAULT_STOP);
	assert_non_null(strstr(fault.text, "writable"));
}

static void a_small_device_is_refused(void **state)
{
	need_root();
	assert_int_equal(try_open(text_of("block:%s", make_loop("")), DISK_BYTES + 512), -ENOSPC);
}

static void a_device_under_file_is_refused(void **state)
{
	need_root();
	assert_int_equal(try_open(text_of("file:%s", make_loop("")), DISK_BYTES), -EINVAL);
	assert_non_null(strstr(fault.text, "block:"));
}

int main(void)
{
#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end_with_loop)
	const struct CMUnitTest tests[] = {
		TEST(a_new_file_is_made_sparse),
		TEST(file_round_trip),
		TEST(done_is_not_called_by_the_submitting_call),
		TEST(zeroes_punch_holes),
		TEST(a_smaller_file_is_refused_untouched),
		TEST(a_larger_file_is_taken),
		TEST(what_is_no_file_is_refused),
		TEST(a_file_is_not_opened_twice),
		TEST(a_file_that_a_virtual_machine_has_open_is_refused),
		TEST(a_virtual_machine_cannot_open_a_file_in_use),
		LOOP_TEST(block_device_round_trip),
		LOOP_TEST(zeroes_smaller_than_a_sector_of_the_device),
		LOOP_TEST(a_mounted_device_is_refused),
		LOOP_TEST(a_read_only_device_is_refused),
		LOOP_TEST(a_small_device_is_refused),
		LOOP_TEST(a_device_under_file_is_refused),
		TEST(a_full_file_system_is_told), /* last: it leaves the mount namespace */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
