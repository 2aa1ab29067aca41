// SPDX-License-Identifier: GPL-2.0-or-later
/* Running the tools of others; see tool.h. */
#include "receiver/cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static size_t read_all(int fd, char *text, size_t size)
{
	size_t used = 0;

	for (;;) {
		char rest[256];
		char *to = used + 1 < size ? text + used : rest;
		ssize_t got = read(fd, to, used + 1 < size ? size - 1 - used : sizeof(rest));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return used;
		if (to != rest)
			used += (size_t)got;
	}
}

int tool_run(const char *const argv[], char *ret_output, size_t size, int is_quiet)
{
	posix_spawn_file_actions_t actions;
	int ends[2], status = 0, error;
	size_t used = 0;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	if (is_quiet)
		posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	error = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (!error)
		used = read_all(ends[0], ret_output, ret_output ? size : 0);
	close(ends[0]);
	if (error)
		return -error;
	if (ret_output) {
		ret_output[used] = '\0';
		while (used > 0 && ret_output[used - 1] == '\n')
			ret_output[--used] = '\0';
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int tool_start(const char *const argv[], pid_t *ret_pid, int *ret_errors)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int ends[2], error;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
	error = posix_spawnp(ret_pid, argv[0], &actions, &attributes, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (error)
		close(ends[0]);
	else
		*ret_errors = ends[0];
	return -error;
}
