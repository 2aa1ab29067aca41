// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs the start-command; see start.h. */
#include "receiver/start.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/os_clock.h"
#include "receiver/command.h"
#include "receiver/xapi/xcp.h"

static void fill_environment(struct machine *machine, struct command_environment *environment)
{
	const struct machine_cutover *cutover = &machine->cutover;

	os_mutex_lock(&machine->lock);
	command_environment_add(environment, "BLKFERRY_MACHINE=%s", machine->name);
	command_environment_add(environment, "BLKFERRY_DATA_DOWNTIME_MS=%" PRIu64,
				(uint64_t)(cutover->data_downtime_ns / NS_PER_MS));
	if (cutover->freeze_began_ns)
		command_environment_add(
			environment, "BLKFERRY_DOWNTIME_MS=%" PRIu64,
			(uint64_t)((os_monotonic_ns() - cutover->freeze_began_ns) / NS_PER_MS));
	else
		command_environment_add(environment, "BLKFERRY_DOWNTIME_MS=");
	command_environment_add(environment, "BLKFERRY_DISKS=%u", machine->slot_count);
	for (unsigned int i = 0; i < machine->slot_count; i++) {
		const struct machine_slot *slot = &machine->slots[i];

		command_environment_add(environment, "BLKFERRY_DISK%u_SOURCE=%s", i, slot->path);
		command_environment_add(environment, "BLKFERRY_DISK%u_SIZE=%" PRIu64, i,
					slot->size_bytes);
		command_environment_add(environment, "BLKFERRY_DISK%u_TARGET=%s", i,
					slot->target_text);
		command_environment_add(environment, "BLKFERRY_DISK%u_PATH=%s", i,
					slot->target_path);
	}
	os_mutex_unlock(&machine->lock);
}

/* A child that the command leaves in the background goes on: it may be the machine. */
static int run_command(const struct machine_options *options,
		       const struct command_environment *environment, struct fault *fault)
{
	struct command command;
	char how[COMMAND_LINE_MAX + 32];
	int error = command_start(&command, options->start_command, environment);

	if (error)
		return fault_set(fault, FAULT_STOP, -error, "start-command: %s", strerror(-error));
	command_watch(&command, options->start_timeout_ns);
	if (!command.has_ended) {
		command_end(&command, 0);
		return fault_set(fault, FAULT_STOP, ETIMEDOUT,
				 "start-command did not end in time and was killed; the source is "
				 "fenced: start the machine by hand");
	}
	command_forget(&command);
	if (command_is_success(&command))
		return 0;
	command_describe(&command, how, sizeof(how));
	return fault_set(fault, FAULT_STOP, ECHILD,
			 "start-command failed (%s); the source is fenced: start the machine by "
			 "hand",
			 how);
}

int start_run(struct machines *machines, struct machine *machine, struct fault *fault)
{
	const struct machine_options *options =
		options_machine(machines_options(machines), machine->name);
	struct command_environment environment;
	int error;

	error = xcp_start(machines, machine, fault);
	if (error || !options || !options->start_command)
		return error;
	command_environment_init(&environment);
	fill_environment(machine, &environment);
	error = run_command(options, &environment, fault);
	command_environment_fini(&environment);
	return error;
}
