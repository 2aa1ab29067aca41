// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * blkferry-early: tracking across a restart of the system.
 *
 *   stop    systemd-shutdown, everything unmounted or read-only:  tracker ──▶ record on the disk
 *   start   initramfs, nothing mounted yet:                       record ──▶ tracker, pinned, for the agent
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/linux/handover_place.h"
#include "agent/linux/handover_save.h"
#include "agent/linux/handover_start.h"
#include "common/log.h"
#include "common/os_clock.h"

#define PLAN_PATH     "/etc/blkferry/handover.plan"
#define RUN_FOLDER    "/run/blkferry-agent"
#define START_SECONDS 20
#define STOP_SECONDS  60
#define POLL_NS	      (10 * NS_PER_MS)

static const char usage[] =
	"usage: blkferry-early start [--plan FILE] [--seconds N]\n"
	"       blkferry-early stop [--run FOLDER] [--no-guard]\n"
	"\n"
	"Keeps write tracking across a restart of the system. The initramfs and systemd-shutdown "
	"run\n"
	"it; see blkferry-agent(8), \"Restarting the system\".\n"
	"\n"
	"  --plan FILE    where the record of a stop lies (default " PLAN_PATH ")\n"
	"  --seconds N    the longest that a start waits (default 20)\n"
	"  --run FOLDER   where the agent left what it knows (default " RUN_FOLDER ")\n"
	"  --no-guard     do not stay until the system ends\n";

/* To the kernel's log, which is kept and shown whatever else runs; else to standard error. */
static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...)
{
	char text[600], line[640];
	va_list arguments;
	int fd, length;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fprintf(stderr, "blkferry: %s\n", text);
	fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	length = snprintf(line, sizeof(line), "<5>blkferry: %s\n", text);
	if (fd >= 0) {
		/* There is nobody else to tell. */
		if (write(fd, line, (size_t)length) < 0)
			fprintf(stderr, "blkferry: /dev/kmsg: %s\n", strerror(errno));
		close(fd);
	}
}

static void finish_start(const char *run_folder, const struct start_note *note)
{
	int error;

	tell("%s%s", note->kind == START_ORDERLY ? "" : "the disks will be compared: ", note->text);
	error = run_folder[0] ? start_note_write(run_folder, note) : 0;
	if (error)
		tell("cannot write to %s: %s", run_folder, strerror(-error));
}

static int run_start(const char *plan_path, uint64_t deadline_ns)
{
	struct start_note note;
	char run_folder[128];

	handover_start(plan_path, deadline_ns, &note, run_folder);
	finish_start(run_folder, &note);
	return note.kind == START_ORDERLY ? 0 : 1;
}

/* A disk that hangs must not keep the system from starting. A child that is killed runs no instruction more, so
 * what it had not believed by then is never believed. */
static int start(const char *plan_path, unsigned int seconds)
{
	uint64_t deadline_ns = os_monotonic_ns() + seconds * NS_PER_S;
	struct start_note note = {.kind = START_COMPARED};
	struct handover_plan plan;
	struct fault ignored;
	int status = 0;
	pid_t child = fork();

	if (child == 0)
		_exit(run_start(plan_path, deadline_ns - seconds * NS_PER_S / 2));
	while (child > 0 && os_monotonic_ns() < deadline_ns) {
		if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		os_sleep_ns(POLL_NS);
	}
	if (child > 0)
		kill(child, SIGKILL);
	snprintf(note.text, sizeof(note.text), "tracking did not begin within %u s", seconds);
	finish_start(handover_read_plan(plan_path, &plan, &ignored) == 0 ? plan.run_folder : "",
		     &note);
	return 1;
}

static int stop(const char *run_folder, bool has_guard)
{
	struct saving *saving;
	struct fault fault = {0};
	int error;

	if (access(run_folder, F_OK) != 0)
		return 0; /* no agent has run */
	alarm(STOP_SECONDS);
	error = handover_save(run_folder, &saving, &fault);
	if (error) {
		tell("the next start will be followed by a comparison: %s", fault.text);
		return 1;
	}
	tell("a clean stop is recorded: the next start needs no comparison");
	alarm(0);
	if (has_guard && fork() == 0) {
		handover_guard(saving);
		_exit(0);
	}
	handover_saving_free(saving);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"plan", required_argument, NULL, 'p'}, {"seconds", required_argument, NULL, 's'},
		{"run", required_argument, NULL, 'r'},	{"no-guard", no_argument, NULL, 'g'},
		{"help", no_argument, NULL, 'h'},	{0},
	};
	const char *plan_path = PLAN_PATH, *run_folder = RUN_FOLDER;
	const char *command;
	unsigned long seconds = START_SECONDS;
	bool has_guard = true;
	int option;

	log_init("blkferry-early", LOG_LEVEL_WARNING);
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'p') {
			plan_path = optarg;
		} else if (option == 'r') {
			run_folder = optarg;
		} else if (option == 'g') {
			has_guard = false;
		} else if (option == 's') {
			seconds = strtoul(optarg, NULL, 10);
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	/* systemd-shutdown adds a word: reboot, poweroff ... */
	command = optind < argc ? argv[optind] : "";
	if (!strcmp(command, "start") && seconds > 0 && seconds <= 600)
		return start(plan_path, (unsigned int)seconds);
	if (!strcmp(command, "stop"))
		return stop(run_folder, has_guard);
	fputs(usage, stderr);
	return 2;
}
