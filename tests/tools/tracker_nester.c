/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes completions happen in a task, as fast as it can, so that those of other disks interrupt them.
 *
 * Most drivers complete in a softirq, and softirqs do not nest. A loop device that is being detached
 * (LOOP_CLR_FD while this process is the last that has it open) fails each request at once, where it is
 * issued: in the context of the task.
 *
 * Usage: tracker_nester LOOP_DEVICE    until killed; the device is gone afterwards
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/loop.h>

int main(int argc, char **argv)
{
	void *buffer;
	int fd;

	if (argc != 2)
		errx(2, "see the head of tracker_nester.c");
	fd = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, LOOP_CLR_FD) < 0)
		err(2, "%s", argv[1]);
	if (posix_memalign(&buffer, 4096, 4096) != 0)
		errx(2, "no memory");
	if (pwrite(fd, buffer, 4096, 0) >= 0 || errno != EIO) {
		printf("this kernel's loop driver still takes requests\n");
		return 77;
	}
	puts("failing");
	fflush(stdout);
	while (pwrite(fd, buffer, 4096, 0) < 0 && errno == EIO)
		;
	err(1, "a write did not fail");
}
