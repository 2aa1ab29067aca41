/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making a file system read-only instead of freezing it, tried on a tmpfs of our own. Needs root. */
#include "agent/linux/freeze_method.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

static char point[] = "/tmp/blkferry-test-freeze-method-XXXXXX";
static int point_fd = -1;

static int setup(void **state)
{
	assert_non_null(mkdtemp(point));
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", point, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=1m") != 0)
		return 0; /* the tests skip */
	point_fd = open(point, O_RDONLY | O_DIRECTORY);
	return 0;
}

static int teardown(void **state)
{
	if (point_fd >= 0) {
		close(point_fd);
		umount2(point, MNT_DETACH);
	}
	return rmdir(point);
}

static int try_to_write(void)
{
	int fd = openat(point_fd, "file", O_WRONLY | O_CREAT, 0600);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static unsigned long mount_flags(void)
{
	struct statvfs info;

	assert_int_equal(fstatvfs(point_fd, &info), 0);
	return info.f_flag;
}

static void read_only_stops_writes_and_is_undone(void **state)
{
	unsigned long before;

	if (point_fd < 0)
		skip();
	before = mount_flags();
	assert_int_equal(freeze_method_freeze(FREEZE_BY_READ_ONLY, point_fd), 0);
	assert_int_equal(try_to_write(), -EROFS);
	assert_int_equal(freeze_method_thaw(FREEZE_BY_READ_ONLY, point_fd), 0);
	assert_int_equal(try_to_write(), 0);
	/* nosuid, noexec are still there */
	assert_int_equal(mount_flags(), before);
	assert_int_equal(freeze_method_thaw(FREEZE_BY_READ_ONLY, point_fd), 0); /* harmless */
}

static void an_open_writer_refuses_read_only(void **state)
{
	int writer;

	if (point_fd < 0)
		skip();
	writer = openat(point_fd, "open", O_WRONLY | O_CREAT, 0600);
	assert_true(writer >= 0);
	assert_int_equal(freeze_method_freeze(FREEZE_BY_READ_ONLY, point_fd), -EBUSY);
	assert_int_equal(try_to_write(), 0);
	close(writer);
}

static void what_has_no_freeze_says_so(void **state)
{
	if (point_fd < 0)
		skip();
	assert_int_equal(freeze_method_freeze(FREEZE_BY_IOCTL, point_fd), -EOPNOTSUPP);
	assert_int_equal(freeze_method_freeze(FREEZE_IMPOSSIBLE, point_fd), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_only_stops_writes_and_is_undone),
		cmocka_unit_test(an_open_writer_refuses_read_only),
		cmocka_unit_test(what_has_no_freeze_says_so),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
