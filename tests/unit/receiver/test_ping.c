// SPDX-License-Identifier: GPL-2.0-or-later
/* Pings, in a network namespace of their own: what answers, what does not, and what is not allowed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/os_clock.h"
#include "receiver/ping.h"

#define SKIP	77
#define WAIT_NS (20 * NS_PER_S) /* only to end */

static int raise_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result = ioctl(fd, SIOCGIFFLAGS, &request);

	request.ifr_flags |= IFF_UP;
	if (!result)
		result = ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
	return result;
}

static void allow(const char *groups)
{
	int fd = open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, groups, strlen(groups)), (ssize_t)strlen(groups));
	close(fd);
}

static void who_is_there_answers(void **state)
{
	allow("0 0");
	assert_int_equal(ping_once("127.0.0.1", WAIT_NS), 0);
	assert_int_equal(ping_once("127.1.2.3", WAIT_NS), 0);
}

static void over_ipv6_as_well(void **state)
{
	int error;

	allow("0 0");
	error = ping_once("::1", WAIT_NS);
	if (error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL || error == -ENETUNREACH)
		skip();
	assert_int_equal(error, 0);
}

static void nobody_is_told_from_somebody(void **state)
{
	allow("0 0");
	assert_int_equal(ping_once("192.0.2.1", WAIT_NS), -ENETUNREACH);
	assert_int_equal(ping_once("no such name", WAIT_NS), -ENOENT);
}

static void what_is_not_allowed_is_told(void **state)
{
	allow("1 0");
	assert_int_equal(ping_once("127.0.0.1", WAIT_NS), -EACCES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_there_answers),
		cmocka_unit_test(over_ipv6_as_well),
		cmocka_unit_test(nobody_is_told_from_somebody),
		cmocka_unit_test(what_is_not_allowed_is_told),
	};

	if (unshare(CLONE_NEWNET) || raise_loopback()) {
		puts("needs root, for a network namespace");
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
