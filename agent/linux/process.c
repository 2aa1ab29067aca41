/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent as a process: its memory locked, what boot it lives in, and the hooks that it runs. */
#include "agent/platform.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/linux/process.h"
#include "agent/linux/sysfs.h"
#include "common/os_clock.h"

#define HOOK_POLL_MS	   10
#define HOOK_KILL_GRACE_NS NS_PER_S /* how long a killed hook may take to vanish */

int process_lock_memory(struct fault *fault)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};

	/* From here on malloc gives nothing back and maps nothing anew for a large block: while the
	 * agent's own disk is frozen, memory that is there must stay. One arena, since each has its
	 * own reserve, and all of it is locked. */
#ifdef M_TRIM_THRESHOLD
	mallopt(M_TRIM_THRESHOLD, -1);
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_ARENA_MAX, 1);
#endif /* musl (the static agent) has no such settings: a large block is mapped anew, locked at once */
	/* Needed without CAP_IPC_LOCK only, and mlockall says it when it lacks: ignoring failure. */
	(void)setrlimit(RLIMIT_MEMLOCK, &unlimited);
	if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
		return fault_set(fault, FAULT_STOP, errno,
				 "cannot lock the agent in memory: %s; the agent runs as root, "
				 "with CAP_IPC_LOCK",
				 strerror(errno));
	return 0;
}

int process_parse_statm(const char *text, size_t size, uint64_t *ret_pages)
{
	const char *blank = memchr(text, ' ', size);
	const char *end;
	char number[32];

	if (!blank)
		return -EINVAL;
	blank++;
	end = memchr(blank, ' ', size - (size_t)(blank - text));
	if (!end || (size_t)(end - blank) >= sizeof(number))
		return -EINVAL;
	memcpy(number, blank, (size_t)(end - blank));
	number[end - blank] = '\0';
	return sysfs_parse_number(number, ret_pages) < 0 ? -EINVAL : 0;
}

uint64_t process_resident_bytes(void)
{
	char text[256];
	uint64_t pages;

	if (sysfs_read_text("/proc/self/statm", text, sizeof(text)) < 0 ||
	    process_parse_statm(text, strlen(text), &pages) < 0)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int process_parse_boot_id(const char *text, size_t size, uint8_t ret_id[16])
{
	uint8_t id[16] = {0};
	size_t digits = 0;

	for (size_t i = 0; i < size; i++) {
		int digit = hex_digit(text[i]);

		if (text[i] == '-')
			continue;
		if (digit < 0 || digits == 32)
			return -EINVAL;
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | digit);
		digits++;
	}
	if (digits != 32)
		return -EINVAL;
	memcpy(ret_id, id, sizeof(id));
	return 0;
}

int process_boot_id(uint8_t ret_id[16])
{
	char text[64];
	int result = sysfs_read_text("/proc/sys/kernel/random/boot_id", text, sizeof(text));

	return result < 0 ? result : process_parse_boot_id(text, strlen(text), ret_id);
}

void hook_output_feed(struct hook_output *output, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c == '\n') {
			if (output->length > 0)
				memcpy(output->last, output->line, sizeof(output->last));
			output->length = 0;
		} else if (output->length < HOOK_LINE_MAX - 1) {
			output->line[output->length++] = (char)(iscntrl(c) ? '?' : c);
			output->line[output->length] = '\0';
		}
	}
}

const char *hook_output_last(struct hook_output *output)
{
	return output->length > 0 ? output->line : output->last;
}

/* Starts sh -c command as the leader of a process group, its output into a pipe. */
static int start_hook(const char *command, pid_t *ret_pid, int *ret_output_fd)
{
	char *arguments[] = {(char *)"/bin/sh", (char *)"-c", (char *)command, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int ends[2];
	int error;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, ends[1], STDERR_FILENO);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						      POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	error = posix_spawn(ret_pid, arguments[0], &files, &attributes, arguments, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	close(ends[1]);
	if (error) {
		close(ends[0]);
		return -error;
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	*ret_output_fd = ends[0];
	return 0;
}

/* Takes the output that is there, waiting HOOK_POLL_MS at most for some. */
static void drain_output(struct hook_output *output, int *fd, int wait_ms)
{
	struct pollfd ready = {.fd = *fd, .events = POLLIN}; /* poll passes over an fd of -1 */
	char bytes[4096];

	while (poll(&ready, 1, wait_ms) > 0) {
		ssize_t got = read(*fd, bytes, sizeof(bytes));

		if (got > 0) {
			hook_output_feed(output, bytes, (size_t)got);
			wait_ms = 0;
			continue;
		}
		if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
			close(*fd);
			*fd = -1;
		}
		break;
	}
}

/* Waits for the hook's end until deadline_ns, not for its output's: a service that the hook started
 * may hold the pipe open. Returns 0, -ETIMEDOUT, or -errno of waitpid. */
static int wait_for_hook(pid_t pid, int *fd, uint64_t deadline_ns, struct hook_output *output,
			 int *ret_status)
{
	for (;;) {
		pid_t ended = waitpid(pid, ret_status, WNOHANG);

		if (ended < 0 && errno != EINTR)
			return -errno;
		if (ended == pid) {
			drain_output(output, fd, 0);
			return 0;
		}
		if (os_monotonic_ns() >= deadline_ns)
			return -ETIMEDOUT;
		drain_output(output, fd, HOOK_POLL_MS);
	}
}

static int judge_hook(const char *name, int status, struct hook_output *output, struct fault *fault)
{
	const char *last = hook_output_last(output);
	const char *separator = *last ? ": " : "";

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFSIGNALED(status))
		return fault_set(fault, FAULT_STOP, ECANCELED, "%s was killed by signal %d%s%s",
				 name, WTERMSIG(status), separator, last);
	return fault_set(fault, FAULT_STOP, ECANCELED, "%s ended with exit status %d%s%s", name,
			 WEXITSTATUS(status), separator, last);
}

int process_run_hook(const char *name, const char *command, uint64_t timeout_ns,
		     struct fault *fault)
{
	struct hook_output output = {.length = 0};
	pid_t pid;
	int fd, status = 0;
	int result = start_hook(command, &pid, &fd);

	if (result < 0)
		return fault_set(fault, FAULT_STOP, -result, "%s: cannot run it: %s", name,
				 strerror(-result));
	result = wait_for_hook(pid, &fd, os_monotonic_ns() + timeout_ns, &output, &status);
	if (result == -ETIMEDOUT) {
		kill(-pid, SIGKILL);
		/* Something that cannot be killed (stuck on a disk) is left behind. */
		(void)wait_for_hook(pid, &fd, os_monotonic_ns() + HOOK_KILL_GRACE_NS, &output,
				    &status);
		result = fault_set(fault, FAULT_STOP, ETIMEDOUT,
				   "%s did not end within %.1f s and was killed%s%s", name,
				   (double)timeout_ns / (double)NS_PER_S,
				   *hook_output_last(&output) ? ": " : "",
				   hook_output_last(&output));
	} else if (result < 0) {
		result = fault_set(fault, FAULT_STOP, -result, "%s: cannot tell how it ended: %s",
				   name, strerror(-result));
	} else {
		result = judge_hook(name, status, &output, fault);
	}
	if (fd >= 0)
		close(fd);
	return result;
}
