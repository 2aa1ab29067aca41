// SPDX-License-Identifier: GPL-2.0-or-later
/* What the service manager is told, by path and by abstract name; and when there is nobody. */
#include "common/os_notify.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* Binds name, tells it, and reads what came. */
static void check_told(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[64] = "";

	memcpy(address.sun_path, name, strlen(name));
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(manager, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(os_notify("READY=1"), 0);
	assert_int_equal(recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT), strlen("READY=1"));
	assert_string_equal(text, "READY=1");
	close(manager);
}

static void a_path_is_told(void **state)
{
	char folder[] = "/tmp/test-notify-XXXXXX", path[64];

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/socket", folder);
	check_told(path);
	unlink(path);
	rmdir(folder);
}

static void an_abstract_name_is_told(void **state)
{
	char name[64];

	snprintf(name, sizeof(name), "@blkferry-test-notify-%d", (int)getpid());
	check_told(name);
}

static void nobody_is_no_error(void **state)
{
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(os_notify("READY=1"), 0);
}

static void what_is_wrong_is_said(void **state)
{
	char longest[200];

	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	setenv("NOTIFY_SOCKET", longest, 1);
	assert_int_equal(os_notify("READY=1"), -EINVAL);
	setenv("NOTIFY_SOCKET", "relative", 1);
	assert_int_equal(os_notify("READY=1"), -EINVAL);
	setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
	assert_int_equal(os_notify("READY=1"), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_is_told),
		cmocka_unit_test(an_abstract_name_is_told),
		cmocka_unit_test(nobody_is_no_error),
		cmocka_unit_test(what_is_wrong_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
