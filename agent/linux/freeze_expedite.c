/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Switches the kernel's expedited RCU grace periods on and off. */
#include "agent/linux/freeze_expedite.h"

#include <fcntl.h>
#include <unistd.h>

#define SWITCH_PATH "/sys/kernel/rcu_expedited"

/* Opened each time: sysfs is in memory, and the watchdog keeps as few descriptors as it can. */
bool freeze_expedite_begin(void)
{
	int fd = open(SWITCH_PATH, O_RDWR | O_CLOEXEC);
	char now = '\0';
	bool is_set = false;

	if (fd < 0)
		return false;
	if (read(fd, &now, 1) == 1 && now == '0')
		is_set = pwrite(fd, "1", 1, 0) == 1;
	close(fd);
	return is_set;
}

void freeze_expedite_end(void)
{
	int fd = open(SWITCH_PATH, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "0", 1);
	close(fd);
}
