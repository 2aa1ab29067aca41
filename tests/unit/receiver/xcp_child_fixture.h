/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of what the receiver does in a pool when it may be killed at any call: orders to the stub, a census of what it
 * has, and children for which this machine is the pool's dom0. Included once by a program.
 */
#ifndef BLKFERRY_TESTS_XCP_CHILD_FIXTURE_H
#define BLKFERRY_TESTS_XCP_CHILD_FIXTURE_H

#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "xapi_fixture.h"

#define ANSWER_MAX 65536

/* --- the stub --- */

/* As order.py, which takes too long to start hundreds of times. */
static inline char *ask(const char *json)
{
	static char answer[ANSWER_MAX];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t size = 0;
	ssize_t got;
	char *body;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", folder);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_true(dprintf(fd, "POST /test HTTP/1.0\r\nContent-Length: %zu\r\n\r\n%s",
			    strlen(json), json) > 0);
	while ((got = read(fd, answer + size, sizeof(answer) - 1 - size)) > 0)
		size += (size_t)got;
	close(fd);
	answer[size] = '\0';
	body = strstr(answer, "\r\n\r\n");
	assert_non_null(body);
	assert_non_null(strstr(answer, " 200 "));
	return body + 4;
}

static inline void take_census(char census[ANSWER_MAX])
{
	snprintf(census, ANSWER_MAX, "%s", ask("{\"census\": true}"));
}

static inline void expect_census(const char *census, const char *what, const char *method)
{
	const char *now = ask("{\"census\": true}");

	if (strcmp(now, census) != 0)
		fail_msg("%s %s: the pool has\n%s\nand not\n%s", what, method, now, census);
}

/* --- children --- */

static inline void become_dom0(void)
{
	static const char inventory[] =
		"CONTROL_DOMAIN_UUID='22222222-2222-2222-2222-222222222222'\n";
	FILE *file;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/etc", "tmpfs", 0, NULL))
		_exit(99);
	file = fopen("/etc/xensource-inventory", "w");
	if (!file || fputs(inventory, file) < 0 || fclose(file))
		_exit(99);
}

/* What its exit status is: 0 or 1; -1 when it was killed. */
static inline int in_child(int (*act)(void), const char *what, const char *at)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		become_dom0();
		(void)ask(text_of("{\"inject\": \"%s\", \"at\": %s, \"pid\": %d}", what, at,
				  getpid()));
		_exit(act() != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return -1;
	assert_true(WEXITSTATUS(status) <= 1);
	return WEXITSTATUS(status);
}

#endif
