// SPDX-License-Identifier: GPL-2.0-or-later
/* What a function prints, by way of a forked child and a pipe; see os_capture.h. */
#include "common/os_capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/os_io.h"

static void run_child(int (*function)(int argc, char **argv), int argc, char **argv, int out)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), result;

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(null, STDERR_FILENO) < 0)
		_exit(1);
	result = function(argc, argv);
	fflush(stdout);
	_exit(result);
}

static int read_all(int fd, size_t limit, char **ret_text)
{
	char *text = malloc(limit + 1);
	int64_t size = text ? os_read_up_to(fd, text, limit) : -ENOMEM;

	if (size < 0) {
		free(text);
		return (int)size;
	}
	text[size] = '\0';
	*ret_text = text;
	return 0;
}

int os_capture_stdout(int (*function)(int argc, char **argv), int argc, char **argv, size_t limit,
		      char **ret_text)
{
	int fds[2], error;
	pid_t child;

	fflush(NULL); /* or the child would write it again */
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	child = fork();
	if (child == 0)
		run_child(function, argc, argv, fds[1]);
	error = child < 0 ? -errno : 0;
	close(fds[1]);
	if (!error)
		error = read_all(fds[0], limit, ret_text);
	close(fds[0]); /* a child that prints more than that ends by SIGPIPE */
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return error;
}
