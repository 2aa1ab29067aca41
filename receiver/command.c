// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs the commands that receiver.ini names; see command.h. */
#include "receiver/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/os_clock.h"

#define VARIABLE_SIZE 640
#define LOOK_NS	      (20 * NS_PER_MS)
#define DEFAULT_PATH  "/usr/sbin:/usr/bin:/sbin:/bin"

void command_environment_add(struct command_environment *environment, const char *format, ...)
{
	char text[VARIABLE_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (environment->count == COMMAND_VARIABLES_MAX)
		return;
	environment->list[environment->count] = strdup(text);
	if (environment->list[environment->count])
		environment->count++;
}

void command_environment_init(struct command_environment *environment)
{
	const char *path = getenv("PATH");

	memset(environment, 0, sizeof(*environment));
	command_environment_add(environment, "PATH=%s", path ? path : DEFAULT_PATH);
}

void command_environment_fini(struct command_environment *environment)
{
	for (unsigned int i = 0; i < environment->count; i++)
		free(environment->list[i]);
	environment->count = 0;
}

static int spawn(const char *text, char *const *environment, int output, pid_t *ret_pid)
{
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)text, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int error;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output, 1);
	posix_spawn_file_actions_adddup2(&actions, output, 2);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						      POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all); /* the receiver ignores SIGPIPE */
	error = posix_spawn(ret_pid, "/bin/sh", &actions, &attributes, argv, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -error;
}

int command_start(struct command *ret_command, const char *text,
		  const struct command_environment *environment)
{
	struct command command = {0};
	int ends[2], error;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	error = spawn(text, environment->list, ends[1], &command.pid);
	close(ends[1]);
	if (error) {
		close(ends[0]);
		return error;
	}
	command.output = ends[0];
	*ret_command = command;
	return 0;
}

static void keep_line(struct command *command, const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '\n') {
			command->ends_line = true;
			continue;
		}
		if (command->ends_line)
			command->line_length = 0;
		command->ends_line = false;
		if (command->line_length < COMMAND_LINE_MAX - 1)
			command->line[command->line_length++] = text[i];
		command->line[command->line_length] = '\0';
	}
}

/* Returns whether something was read. */
static bool read_output(struct command *command)
{
	struct pollfd ready = {.fd = command->output, .events = POLLIN};
	char text[256];
	ssize_t size;

	if (command->output < 0 || poll(&ready, 1, (int)(LOOK_NS / NS_PER_MS)) <= 0)
		return false;
	size = read(command->output, text, sizeof(text));
	if (size > 0) {
		keep_line(command, text, (size_t)size);
	} else {
		close(command->output); /* nobody writes any more */
		command->output = -1;
	}
	return size > 0;
}

/* The process stays a zombie: its number, which is its group's, is not given to another until command_forget. */
static void look_at_end(struct command *command, int flags)
{
	siginfo_t info = {0};

	if (waitid(P_PID, (id_t)command->pid, &info, WEXITED | WNOWAIT | flags) < 0 ||
	    info.si_pid != command->pid)
		return;
	command->has_ended = true;
	command->was_signalled = info.si_code != CLD_EXITED;
	command->status = info.si_status;
}

void command_watch(struct command *command, uint64_t wait_ns)
{
	uint64_t deadline = os_monotonic_ns() + wait_ns;

	do {
		bool has_read = read_output(command);

		if (!has_read && !command->has_ended)
			look_at_end(command, WNOHANG);
		if (!has_read && command->has_ended)
			return;
		if (!has_read && command->output < 0)
			os_sleep_ns(LOOK_NS);
	} while (os_monotonic_ns() < deadline);
}

/* Is there a process in its group but the zombie that look_at_end leaves? The zombie goes. */
static bool has_group(struct command *command)
{
	if (command->has_ended && !command->is_reaped)
		command->is_reaped = waitpid(command->pid, NULL, 0) == command->pid;
	return kill(-command->pid, 0) == 0;
}

void command_end(struct command *command, uint64_t grace_ns)
{
	uint64_t deadline = os_monotonic_ns() + grace_ns;

	if (command->pid <= 0)
		return;
	/* The group exists as long as one process of it does, also after the first has ended. */
	if (grace_ns && kill(-command->pid, SIGTERM) == 0)
		while (has_group(command) && os_monotonic_ns() < deadline) {
			command_watch(command, LOOK_NS);
			os_sleep_ns(LOOK_NS / 4);
		}
	if (!command->is_reaped || has_group(command))
		(void)kill(-command->pid, SIGKILL);
	if (!command->has_ended)
		look_at_end(command, 0);
	command_forget(command);
}

void command_forget(struct command *command)
{
	if (command->pid > 0 && !command->is_reaped)
		(void)waitpid(command->pid, NULL, 0);
	if (command->output >= 0)
		close(command->output);
	command->output = -1;
	command->pid = 0;
}

bool command_is_success(const struct command *command)
{
	return command->has_ended && !command->was_signalled && command->status == 0;
}

void command_describe(const struct command *command, char *ret_text, size_t size)
{
	const char *line = command->line[0] ? command->line : "it said nothing";

	snprintf(ret_text, size, "%s %d: %s", command->was_signalled ? "signal" : "exit status",
		 command->status, line);
}
