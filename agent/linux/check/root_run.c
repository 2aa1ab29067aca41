// SPDX-License-Identifier: GPL-2.0-or-later
/* Programs of the root that is looked at, run in it; see root.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/linux/check/root.h"
#include "agent/linux/process.h"
#include "common/os_clock.h"

static const char *const program_folders[] = {"/usr/sbin", "/usr/bin", "/sbin", "/bin"};

#define FOLDERS (sizeof(program_folders) / sizeof(program_folders[0]))

static bool find_program(const struct check_root *root, const char *name, char *ret_path,
			 size_t size)
{
	for (size_t i = 0; i < FOLDERS; i++)
		if (snprintf(ret_path, size, "%s/%s", program_folders[i], name) < (int)size &&
		    root_exists(root, ret_path))
			return true;
	return false;
}

bool root_has_program(const struct check_root *root, const char *name)
{
	char path[256];

	return find_program(root, name, path, sizeof(path));
}

/* The child: nothing of ours is needed in it but the three descriptors. */
static void run_child(const struct check_root *root, const char *path,
		      const char *const arguments[], int output, int errors)
{
	static char *const environment[] = {(char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
					    (char *)"LC_ALL=C", (char *)"HOME=/root",
					    (char *)"DEBIAN_FRONTEND=noninteractive", NULL};
	int null = open("/dev/null", O_RDWR);

	setpgid(0, 0);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(errors, STDERR_FILENO);
	if (root->path[0] && (fchdir(root->fd) != 0 || chroot(".") != 0)) {
		dprintf(STDERR_FILENO, "chroot: %s\n", strerror(errno));
		_exit(126);
	}
	if (chdir("/") == 0)
		execve(path, (char *const *)arguments, environment);
	dprintf(STDERR_FILENO, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

struct run {
	pid_t pid;
	int output_fd, errors_fd; /* -1 when they have ended */
	FILE *output;
	size_t output_size;
	struct hook_output errors;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Takes what is there. Returns -EFBIG when it gets too much. */
static int take(struct run *run, int *fd, bool is_output)
{
	char bytes[65536];
	ssize_t got = read(*fd, bytes, sizeof(bytes));

	if (got < 0 && errno == EINTR)
		return 0;
	if (got <= 0) {
		close_fd(fd);
		return 0;
	}
	if (!is_output) {
		hook_output_feed(&run->errors, bytes, (size_t)got);
		return 0;
	}
	run->output_size += (size_t)got;
	if (run->output_size > ROOT_FILE_MAX)
		return -EFBIG;
	return fwrite(bytes, 1, (size_t)got, run->output) == (size_t)got ? 0 : -ENOMEM;
}

static int collect(struct run *run)
{
	uint64_t deadline_ns = os_monotonic_ns() + ROOT_RUN_NS;
	int error = 0;

	while (!error && (run->output_fd >= 0 || run->errors_fd >= 0)) {
		struct pollfd fds[2] = {{.fd = run->output_fd, .events = POLLIN},
					{.fd = run->errors_fd, .events = POLLIN}};

		if (os_monotonic_ns() > deadline_ns)
			return -ETIMEDOUT;
		if (poll(fds, 2, 1000) <= 0)
			continue;
		if (fds[0].revents)
			error = take(run, &run->output_fd, true);
		if (!error && fds[1].revents)
			error = take(run, &run->errors_fd, false);
	}
	return error;
}

static int start(const struct check_root *root, const char *path, const char *const arguments[],
		 struct run *run)
{
	int output[2], errors[2];

	if (pipe2(output, O_CLOEXEC) != 0)
		return -errno;
	if (pipe2(errors, O_CLOEXEC) != 0) {
		close(output[0]);
		close(output[1]);
		return -errno;
	}
	run->pid = fork();
	if (run->pid == 0)
		run_child(root, path, arguments, output[1], errors[1]);
	close(output[1]);
	close(errors[1]);
	run->output_fd = output[0];
	run->errors_fd = errors[0];
	return run->pid < 0 ? -errno : 0;
}

static int judge(const char *name, int error, int status, struct run *run, struct fault *fault)
{
	const char *last = hook_output_last(&run->errors);

	if (error == -ETIMEDOUT)
		return fault_set(fault, FAULT_STOP, ETIMEDOUT,
				 "%s did not end within %d minutes and was killed", name,
				 (int)(ROOT_RUN_NS / NS_PER_S / 60));
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s: %s", name, strerror(-error));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return fault_set(fault, FAULT_STOP, EIO, "%s failed (%s %d)%s%s", name,
			 WIFEXITED(status) ? "exit status" : "signal",
			 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
			 *last ? ": " : "", last);
}

int root_run(const struct check_root *root, const char *const arguments[], char **ret_output,
	     struct fault *fault)
{
	struct run run = {.pid = -1, .output_fd = -1, .errors_fd = -1};
	char path[256], *text = NULL;
	size_t size;
	int error, status = 0;

	if (!find_program(root, arguments[0], path, sizeof(path)))
		return fault_set(fault, FAULT_STOP, ENOENT, "%s is not installed", arguments[0]);
	run.output = open_memstream(&text, &size);
	if (!run.output)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	error = start(root, path, arguments, &run);
	if (!error)
		error = collect(&run);
	if (error && run.pid > 0)
		kill(-run.pid, SIGKILL);
	while (run.pid > 0 && waitpid(run.pid, &status, 0) < 0 && errno == EINTR)
		;
	close_fd(&run.output_fd);
	close_fd(&run.errors_fd);
	if (fclose(run.output) != 0 && !error)
		error = -ENOMEM;
	error = judge(arguments[0], error, status, &run, fault);
	if (error || !ret_output)
		free(text);
	else
		*ret_output = text;
	return error;
}
