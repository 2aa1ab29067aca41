// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs the start-command; see start.h. */
#include "receiver/start.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "receiver/xapi/xcp.h"

#define VARIABLES_MAX (16 + 4 * WIRE_DISKS_MAX)
#define VARIABLE_SIZE 384
#define OUTPUT_KEPT   200

extern char **environ;

struct variables {
	char *list[VARIABLES_MAX + 1];
	unsigned int count;
};

static void add(struct variables *variables, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void add(struct variables *variables, const char *format, ...)
{
	char text[VARIABLE_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (variables->count < VARIABLES_MAX)
		variables->list[variables->count] = strdup(text);
	if (variables->list[variables->count])
		variables->count++;
}

static void fill_variables(struct machine *machine, struct variables *variables)
{
	const char *path = getenv("PATH");
	const struct machine_cutover *cutover = &machine->cutover;

	add(variables, "PATH=%s", path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
	os_mutex_lock(&machine->lock);
	add(variables, "BLKFERRY_MACHINE=%s", machine->name);
	add(variables, "BLKFERRY_DATA_DOWNTIME_MS=%" PRIu64,
	    (uint64_t)(cutover->data_downtime_ns / NS_PER_MS));
	if (cutover->freeze_began_ns)
		add(variables, "BLKFERRY_DOWNTIME_MS=%" PRIu64,
		    (uint64_t)((os_monotonic_ns() - cutover->freeze_began_ns) / NS_PER_MS));
	else
		add(variables, "BLKFERRY_DOWNTIME_MS=");
	add(variables, "BLKFERRY_DISKS=%u", machine->slot_count);
	for (unsigned int i = 0; i < machine->slot_count; i++) {
		const struct machine_slot *slot = &machine->slots[i];

		add(variables, "BLKFERRY_DISK%u_SOURCE=%s", i, slot->path);
		add(variables, "BLKFERRY_DISK%u_SIZE=%" PRIu64, i, slot->size_bytes);
		add(variables, "BLKFERRY_DISK%u_TARGET=%s", i, slot->target_text);
		add(variables, "BLKFERRY_DISK%u_PATH=%s", i, slot->target_path);
	}
	os_mutex_unlock(&machine->lock);
}

static int spawn(const char *command, struct variables *variables, int output, pid_t *ret_pid)
{
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int error;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output, 1);
	posix_spawn_file_actions_adddup2(&actions, output, 2);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setsigmask(&attributes, &none);
	error = posix_spawn(ret_pid, "/bin/sh", &actions, &attributes, argv, variables->list);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -error;
}

/* Reads the output until the command ends or time is up; keeps the last line. A child that the command
 * left in the background may hold the pipe open: what counts is the command's own end. */
static int wait_for(pid_t pid, int output, uint64_t timeout_ns, char *ret_line, int *ret_status)
{
	uint64_t deadline = os_monotonic_ns() + timeout_ns;
	size_t length = 0;
	bool ends_line = false;

	for (;;) {
		struct pollfd ready = {.fd = output, .events = POLLIN};
		char text[256];
		ssize_t size = 0;

		if (poll(&ready, 1, 50) > 0)
			size = read(output, text, sizeof(text));
		for (ssize_t i = 0; i < size; i++) {
			if (text[i] == '\n') {
				ends_line = true;
				continue;
			}
			if (ends_line)
				length = 0;
			ends_line = false;
			if (length < OUTPUT_KEPT - 1)
				ret_line[length++] = text[i];
			ret_line[length] = '\0';
		}
		if (size <= 0 && waitpid(pid, ret_status, WNOHANG) == pid)
			return 0;
		if (os_monotonic_ns() > deadline)
			return -ETIMEDOUT;
		if (size <= 0)
			os_sleep_ns(10 * NS_PER_MS);
	}
}

int start_run(struct machines *machines, struct machine *machine, struct fault *fault)
{
	const struct machine_options *options =
		options_machine(machines_options(machines), machine->name);
	struct variables variables = {0};
	char line[OUTPUT_KEPT] = "";
	int ends[2], status = 0, error;
	pid_t pid;

	error = xcp_start(machines, machine, fault);
	if (error || !options || !options->start_command)
		return error;
	if (pipe2(ends, O_CLOEXEC))
		return fault_set(fault, FAULT_STOP, errno, "start-command: %s", strerror(errno));
	fill_variables(machine, &variables);
	error = spawn(options->start_command, &variables, ends[1], &pid);
	close(ends[1]);
	if (error) {
		fault_set(fault, FAULT_STOP, -error, "start-command: %s", strerror(-error));
	} else if (wait_for(pid, ends[0], options->start_timeout_ns, line, &status)) {
		kill(-pid, SIGKILL);
		waitpid(pid, &status, 0);
		error = fault_set(fault, FAULT_STOP, ETIMEDOUT,
				  "start-command did not end in time and was killed; the source is "
				  "fenced: start the machine by hand");
	} else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		error = fault_set(
			fault, FAULT_STOP, ECHILD,
			"start-command failed (%s %d): %s; the source is fenced: start the "
			"machine by hand",
			WIFEXITED(status) ? "exit status" : "signal",
			WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
			line[0] ? line : "it said nothing");
	}
	close(ends[0]);
	for (unsigned int i = 0; i < variables.count; i++)
		free(variables.list[i]);
	return error;
}
