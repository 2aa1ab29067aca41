// SPDX-License-Identifier: GPL-2.0-or-later
/* Booting a checkpoint to see whether it does; see test_boot.h. */
#include "receiver/test_boot.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "receiver/rewind.h"
#include "receiver/view.h"

#define LOOK_NS	       (200 * NS_PER_MS)
#define CHECK_EVERY_NS (1 * NS_PER_S)
#define GRACE_NS       (10 * NS_PER_S) /* between TERM and KILL */
#define STOP_NS	       (60 * NS_PER_S)

struct test_boot {
	const struct machine_options *commands;
	const struct test_boot_options *options;
	struct machine *machine;
	struct view *view;
	char folder[PATH_MAX];
	struct command_environment environment;
	struct command start;
	uint64_t began_ns, deadline_ns;
	struct test_boot_result result;
	char last_check[COMMAND_LINE_MAX + 32];
};

static void fill_environment(struct test_boot *test)
{
	struct command_environment *environment = &test->environment;
	const struct view *view = test->view;

	command_environment_add(environment, "BLKFERRY_MACHINE=%s", test->machine->name);
	command_environment_add(environment, "BLKFERRY_POINT=%" PRIu64, test->result.point.number);
	command_environment_add(environment, "BLKFERRY_POINT_TIME=%" PRIu64,
				(uint64_t)(test->result.point.time_ns / NS_PER_S));
	command_environment_add(environment, "BLKFERRY_FOLDER=%s", test->folder);
	command_environment_add(environment, "BLKFERRY_DISKS=%u", view_disk_count(view));
	os_mutex_lock(&test->machine->lock);
	for (unsigned int i = 0; i < view_disk_count(view); i++) {
		unsigned int slot = view_disk_slot(view, i);

		command_environment_add(environment, "BLKFERRY_DISK%u_SOURCE=%s", i,
					test->machine->slots[slot].path);
		command_environment_add(environment, "BLKFERRY_DISK%u_SIZE=%" PRIu64, i,
					view_disk_bytes(view, i));
		command_environment_add(environment, "BLKFERRY_DISK%u_URI=%s", i,
					view_disk_uri(view, i));
		command_environment_add(environment, "BLKFERRY_DISK%u_SOCKET=%s", i,
					view_disk_socket(view, i));
	}
	os_mutex_unlock(&test->machine->lock);
}

/* May it go on? ECANCELED when nobody waits any more, or the view is gone. */
static int look(struct test_boot *test, const char *text, struct fault *fault)
{
	if (!test->options->tell(test->options->context, text))
		return fault_set(fault, FAULT_STOP, ECANCELED, "the test was given up");
	if (!view_is_open(test->view))
		return fault_set(fault, FAULT_STOP, ECANCELED,
				 "the test's view was stopped, and so it ended");
	return 0;
}

static int fail_in_time(struct test_boot *test, struct fault *fault)
{
	return fault_set(fault, FAULT_STOP, ETIME,
			 "%s did not come up from checkpoint #%" PRIu64
			 " within %llu s; check-command: %s",
			 test->machine->name, test->result.point.number,
			 (unsigned long long)((test->deadline_ns - test->began_ns) / NS_PER_S),
			 test->last_check[0] ? test->last_check : "was never run");
}

/* A test-start-command that ends with 0 has started something elsewhere; one that goes on is the machine. */
static int check_start(struct test_boot *test, struct fault *fault)
{
	char how[COMMAND_LINE_MAX + 32];

	command_watch(&test->start, 0);
	if (!test->start.has_ended || command_is_success(&test->start))
		return 0;
	command_describe(&test->start, how, sizeof(how));
	return fault_set(fault, FAULT_STOP, ETIME, "test-start-command failed (%s)", how);
}

/* One run of the check-command. 1: it succeeded; 0: not yet. */
static int check(struct test_boot *test, struct fault *fault)
{
	struct command command;
	int error = command_start(&command, test->commands->check_command, &test->environment);
	bool is_success;

	if (error)
		return fault_set(fault, FAULT_STOP, -error, "check-command: %s", strerror(-error));
	test->result.checks++;
	while (!error && !command.has_ended && os_monotonic_ns() < test->deadline_ns) {
		command_watch(&command, LOOK_NS);
		error = look(test, "", fault);
		if (!error)
			error = check_start(test, fault);
	}
	is_success = command_is_success(&command);
	if (command.has_ended)
		command_describe(&command, test->last_check, sizeof(test->last_check));
	else
		snprintf(test->last_check, sizeof(test->last_check), "still running: %s",
			 command.line);
	snprintf(test->result.text, sizeof(test->result.text), "%s", command.line);
	command_end(&command, 0);
	return error ? error : is_success;
}

static int wait_a_while(struct test_boot *test, struct fault *fault)
{
	uint64_t until_ns = os_monotonic_ns() + CHECK_EVERY_NS;
	int error = 0;

	while (!error && os_monotonic_ns() < until_ns && os_monotonic_ns() < test->deadline_ns) {
		os_sleep_ns(LOOK_NS / 4);
		error = look(test, "", fault);
		if (!error)
			error = check_start(test, fault);
	}
	return error;
}

static int boot(struct test_boot *test, struct fault *fault)
{
	char text[128];
	int error;

	snprintf(text, sizeof(text), "view %u of checkpoint #%" PRIu64 " is open",
		 view_id(test->view), test->result.point.number);
	error = look(test, text, fault);
	if (error)
		return error;
	fill_environment(test);
	error = command_start(&test->start, test->commands->test_start_command, &test->environment);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "test-start-command: %s",
				 strerror(-error));
	error = look(test, "test-start-command runs", fault);
	while (!error && os_monotonic_ns() < test->deadline_ns) {
		error = check_start(test, fault);
		if (!error)
			error = check(test, fault);
		if (error > 0) {
			test->result.took_ns = os_monotonic_ns() - test->began_ns;
			return 0;
		}
		if (!error)
			error = wait_a_while(test, fault);
	}
	return error ? error : fail_in_time(test, fault);
}

static void stop(struct test_boot *test)
{
	struct command command;
	char how[COMMAND_LINE_MAX + 32];

	if (test->commands->test_stop_command && test->environment.count > 1 &&
	    command_start(&command, test->commands->test_stop_command, &test->environment) == 0) {
		command_watch(&command, STOP_NS);
		command_end(&command, 0);
		command_describe(&command, how, sizeof(how));
		if (!command_is_success(&command))
			log_warning("%s: test-stop-command failed (%s)", test->machine->name, how);
	}
	command_end(&test->start, GRACE_NS);
}

static int prepare(struct machines *machines, struct test_boot *test, struct fault *fault)
{
	const char *storage = machines_options(machines)->storage_folder;
	struct view_options view_options = {.point = test->options->point};
	int error;

	if (!test->commands || !test->commands->test_start_command ||
	    !test->commands->check_command)
		return fault_set(fault, FAULT_STOP, ENOENT,
				 "test-boot needs test-start-command and check-command in [machine "
				 "%s] of receiver.ini",
				 test->machine->name);
	error = view_open(machines, test->machine, &view_options, &test->view, fault);
	if (error)
		return error;
	test->result.point = *view_point(test->view);
	error = rewind_check_point(&test->result.point, fault);
	if (error)
		return error;
	snprintf(test->folder, sizeof(test->folder), "%s/test-boot.XXXXXX", storage);
	if (!mkdtemp(test->folder)) {
		error = errno;
		test->folder[0] = '\0';
		return fault_set(fault, FAULT_STOP, error, "%s: %s", storage, strerror(error));
	}
	return 0;
}

int test_boot_run(struct machines *machines, struct machine *machine,
		  const struct test_boot_options *options, struct test_boot_result *ret_result,
		  struct fault *fault)
{
	struct test_boot test = {
		.commands = options_machine(machines_options(machines), machine->name),
		.options = options,
		.machine = machine,
	};
	int error;

	command_environment_init(&test.environment);
	error = prepare(machines, &test, fault);
	test.began_ns = os_monotonic_ns();
	if (!error) {
		test.deadline_ns = test.began_ns + (options->timeout_ns
							    ? options->timeout_ns
							    : test.commands->test_timeout_ns);
		error = boot(&test, fault);
		stop(&test);
	}
	command_environment_fini(&test.environment);
	if (test.view)
		view_close(test.view);
	view_release(test.view);
	if (test.folder[0] && os_folder_remove(test.folder))
		log_warning("%s cannot be removed", test.folder);
	if (error)
		return error;
	*ret_result = test.result;
	return 0;
}
