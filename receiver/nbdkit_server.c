// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Starting, finding again and ending an nbdkit.
 *
 * nbdkit goes into the background by itself once its socket listens, so it belongs to nobody and a
 * receiver that restarts finds it again. It is ours when the process of the pid file has the pid file's
 * path among its arguments; a pid that was given to another program meanwhile is left alone.
 */
#include "receiver/nbdkit_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"

#define START_NS	 (30 * NS_PER_S)
#define END_NS		 (20 * NS_PER_S) /* it may have dirty pages to write */
#define UNKNOWN_NS	 (5 * NS_PER_S)
#define LOOK_AGAIN_NS	 (5 * NS_PER_MS)
#define PID_FILE_MAX	 32
#define CMDLINE_MAX	 8192
#define ERROR_OUTPUT_MAX 300

extern char **environ;

/* Is needle one of the NUL-separated arguments? */
static bool has_argument(const char *arguments, size_t size, const char *needle)
{
	for (size_t at = 0; at < size; at += strlen(arguments + at) + 1)
		if (strcmp(arguments + at, needle) == 0)
			return true;
	return false;
}

static bool is_our_server(const struct nbdkit_server *server, pid_t pid)
{
	char path[64];
	char *arguments;
	size_t size;
	bool is_ours;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	if (os_file_read(path, CMDLINE_MAX, &arguments, &size) != 0)
		return false;
	is_ours = has_argument(arguments, size, server->pid_path);
	free(arguments);
	return is_ours;
}

/* The running server's pid, or 0. */
static pid_t find_server(const struct nbdkit_server *server)
{
	char *text;
	size_t size;
	long pid;

	if (os_file_read(server->pid_path, PID_FILE_MAX, &text, &size) != 0)
		return 0;
	pid = strtol(text, NULL, 10);
	free(text);
	if (pid <= 1 || pid > INT32_MAX || !is_our_server(server, (pid_t)pid))
		return 0;
	return (pid_t)pid;
}

static bool does_answer(const struct nbdkit_server *server)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	bool is_connected;
	int fd;

	if (!server->socket_path)
		return find_server(server) != 0; /* the pid file is written when it listens */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", server->socket_path);
	/* EAGAIN: alive, with more clients at its door than it has accepted. */
	is_connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ||
		       errno == EAGAIN;
	close(fd);
	return is_connected;
}

static bool wait_end(int pidfd, uint64_t deadline_ns)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};

	for (;;) {
		uint64_t now_ns = os_monotonic_ns();
		int timeout_ms = now_ns < deadline_ns ? (int)((deadline_ns - now_ns) / NS_PER_MS)
						      : 0;
		int got = poll(&ended, 1, timeout_ms);

		if (got > 0)
			return true;
		if (got == 0 && timeout_ms == 0)
			return false;
	}
}

static int end_process(const struct nbdkit_server *server, pid_t pid, struct fault *fault)
{
	/* The pidfd is taken before the look at the arguments: from then on the signal cannot hit another
	 * process that got the number. */
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	bool is_over = pidfd < 0 || !is_our_server(server, pid);

	if (!is_over && !server->is_expendable) {
		syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0);
		syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, NULL, 0); /* or it would not hear */
		is_over = wait_end(pidfd, os_monotonic_ns() + END_NS);
	}
	if (!is_over) {
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
		is_over = wait_end(pidfd, os_monotonic_ns() + END_NS);
	}
	if (pidfd >= 0)
		close(pidfd);
	if (!is_over)
		return fault_set(fault, FAULT_STOP, EBUSY,
				 "the nbdkit of %s (pid %d) cannot be ended: is its storage stuck?",
				 server->what, (int)pid);
	return 0;
}

int nbdkit_server_end(const struct nbdkit_server *server, struct fault *fault)
{
	pid_t pid = find_server(server);
	int error = pid ? end_process(server, pid, fault) : 0;

	if (error)
		return error;
	if (server->socket_path)
		unlink(server->socket_path);
	unlink(server->pid_path);
	return 0;
}

/* The environment with another TMPDIR; NULL: no memory. The caller frees the array and *ret_variable. */
static char **environment_with_folder(const char *folder, char **ret_variable)
{
	size_t count = 0, used = 0;
	char **list;

	while (environ[count])
		count++;
	list = calloc(count + 2, sizeof(*list));
	if (!list || asprintf(ret_variable, "TMPDIR=%s", folder) < 0) {
		free(list);
		return NULL;
	}
	list[used++] = *ret_variable;
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], "TMPDIR=", strlen("TMPDIR=")) != 0)
			list[used++] = environ[i];
	return list;
}

/* Runs nbdkit, whose standard error goes into output_fd. The child gets a clean set of signals (the
 * receiver's threads block them) and a session of its own, so that ^C in the receiver's terminal does
 * not reach it. */
static int spawn_with(char *const *arguments, char *const *environment, int output_fd,
		      pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int error;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						      POSIX_SPAWN_SETSID);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, output_fd, STDERR_FILENO);
	error = posix_spawnp(ret_pid, arguments[0], &actions, &attributes, arguments, environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return -error;
}

static int spawn_nbdkit(const struct nbdkit_server *server, int output_fd, pid_t *ret_pid)
{
	char *arguments[NBDKIT_ARGUMENTS_MAX + 4] = {(char *)"nbdkit", (char *)"--pidfile",
						     (char *)server->pid_path};
	char **environment = NULL, *variable = NULL;
	int error;

	for (unsigned int i = 0; i < NBDKIT_ARGUMENTS_MAX && server->arguments[i]; i++)
		arguments[3 + i] = (char *)server->arguments[i];
	if (server->scratch_folder) {
		environment = environment_with_folder(server->scratch_folder, &variable);
		if (!environment)
			return -ENOMEM;
	}
	error = spawn_with(arguments, environment ? environment : environ, output_fd, ret_pid);
	free(environment);
	free(variable);
	return error;
}

/* Keeps the beginning of what comes out of fd until it ends or the deadline passes; line ends become
 * spaces. */
static void collect_output(int fd, char *text, size_t size, uint64_t deadline_ns)
{
	size_t used = 0;
	char buffer[256];

	for (;;) {
		ssize_t got;

		if (!wait_end(fd, deadline_ns))
			break;
		got = read(fd, buffer, sizeof(buffer));
		if (got <= 0)
			break;
		for (ssize_t i = 0; i < got && used + 1 < size; i++)
			text[used++] = buffer[i] == '\n' ? ' ' : buffer[i];
	}
	text[used] = '\0';
}

static int wait_exit(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 0; /* someone reaps all children: the socket tells the rest */
	return status;
}

static int start_server(const struct nbdkit_server *server, struct fault *fault)
{
	uint64_t deadline_ns = os_monotonic_ns() + START_NS;
	char output[ERROR_OUTPUT_MAX] = "";
	int pipe_fds[2];
	pid_t pid;
	int error;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return fault_set(fault, FAULT_RETRY, errno, "nbdkit cannot be started: %s",
				 strerror(errno));
	error = spawn_nbdkit(server, pipe_fds[1], &pid);
	close(pipe_fds[1]);
	if (error) {
		close(pipe_fds[0]);
		return fault_set(fault, FAULT_STOP, -error, "nbdkit cannot be started: %s%s",
				 strerror(-error),
				 error == -ENOENT ? " (install the package nbdkit)" : "");
	}
	collect_output(pipe_fds[0], output, sizeof(output), deadline_ns);
	close(pipe_fds[0]);
	/* What we started is the parent, which ends when the server listens. */
	if (wait_exit(pid) != 0)
		return fault_set(fault, FAULT_STOP, EIO, "nbdkit did not start: %s", output);
	while (!find_server(server) || !does_answer(server)) {
		if (os_monotonic_ns() > deadline_ns)
			return fault_set(fault, FAULT_RETRY, ETIMEDOUT,
					 "nbdkit was started and does not answer: see %s",
					 server->pid_path);
		os_sleep_ns(LOOK_AGAIN_NS);
	}
	return 0;
}

/* Something answers, and the pid file does not lead to it. A process that was killed may answer for a
 * moment longer, with its first thread already gone. */
static bool is_unknown_alive(const struct nbdkit_server *server)
{
	uint64_t deadline_ns = os_monotonic_ns() + UNKNOWN_NS;

	while (does_answer(server) && !find_server(server)) {
		if (os_monotonic_ns() > deadline_ns)
			return true;
		os_sleep_ns(LOOK_AGAIN_NS);
	}
	return false;
}

bool nbdkit_server_is_alive(const struct nbdkit_server *server)
{
	return find_server(server) != 0;
}

int nbdkit_server_ensure(const struct nbdkit_server *server, enum nbdkit_server_use use,
			 struct fault *fault)
{
	bool is_running;
	int error;

	if (is_unknown_alive(server))
		return fault_set(fault, FAULT_STOP, EBUSY,
				 "a server that is not known by %s answers on %s: end it by hand",
				 server->pid_path, server->socket_path);
	is_running = find_server(server) != 0;
	if (is_running && use == NBDKIT_SERVER_REUSE && does_answer(server))
		return 0;
	if (is_running && use == NBDKIT_SERVER_RESTART)
		log_info("%s: its last user did not wait for all its writes: nbdkit is ended and "
			 "started anew",
			 server->what);
	error = nbdkit_server_end(server, fault);
	return error ? error : start_server(server, fault);
}

/* Any byte of a path that means something in a URI becomes %XX. */
void nbdkit_server_uri(const char *socket_path, char *ret_uri, size_t size)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "/._-~:@";
	size_t used;

	snprintf(ret_uri, size, "nbd+unix:///?socket=");
	used = strlen(ret_uri);
	for (; *socket_path && used + sizeof("%XX") <= size; socket_path++) {
		if (strchr(plain, *socket_path))
			ret_uri[used++] = *socket_path;
		else
			used += (size_t)snprintf(ret_uri + used, size - used, "%%%02X",
						 (unsigned char)*socket_path);
	}
	ret_uri[used] = '\0';
}
