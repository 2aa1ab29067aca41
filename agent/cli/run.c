// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry-agent run`: replicates until told to stop. */
#include "agent/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/options.h"
#include "agent/platform.h"
#include "agent/replicate.h"
#include "common/cli.h"
#include "common/log.h"
#include "common/os_file.h"

static const char usage[] =
	"usage: blkferry-agent run [--config FILE] [--check-config]\n"
	"\n"
	"Replicates this machine's disks to the receiver that it enrolled with, until SIGTERM.\n"
	"Tracking goes on in the kernel after the agent ends: nothing written meanwhile is missed.\n"
	"\n"
	"  --config FILE    default " OPTIONS_PATH "\n"
	"  --check-config   read the configuration, say whether it is right, and end\n";

static void stop(void *replicator)
{
	replicator_stop(replicator);
}

/* Two agents with one state folder would take each other's bits. */
static int lock_state(const struct agent_options *options, struct fault *fault)
{
	int fd; /* held until the process ends */
	int error = os_folder_lock(options->state_folder, 0700, &fd);

	if (error == -EWOULDBLOCK)
		return fault_set(fault, FAULT_STOP, -error,
				 "another blkferry-agent is running with state folder %s",
				 options->state_folder);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "cannot use state folder %s: %s",
				 options->state_folder, strerror(-error));
	return 0;
}

static int run(const struct agent_options *options, struct fault *fault)
{
	struct replicator *replicator = NULL;
	struct host_waiter waiter = {.stop = stop};
	int error;

	host_block_signals();
	error = lock_state(options, fault);
	if (!error)
		error = replicator_new(options, &replicator, fault);
	if (error)
		return error;
	error = process_lock_memory(fault);
	waiter.context = replicator;
	if (!error)
		error = host_wait_for_end(&waiter);
	if (!error)
		error = replicator_run(replicator, fault);
	host_stop_waiting(&waiter);
	replicator_free(replicator);
	return error;
}

int cli_run(int argc, char **argv)
{
	struct cli_service service = {.config = OPTIONS_PATH};
	struct agent_options options;
	struct fault fault = {0};
	int error, status = cli_read_service(argc, argv, usage, &service);

	if (status >= 0)
		return status;
	error = options_read(service.config, &options, &fault);
	if (error) {
		fprintf(stderr, "blkferry-agent: %s\n", fault.text);
		return 2;
	}
	if (service.is_check) {
		printf("%s is fine\n", service.config);
	} else {
		log_init("blkferry-agent", options.log_level);
		error = run(&options, &fault);
		if (error)
			log_error("%s", fault.text);
	}
	options_fini(&options);
	return error ? 1 : 0;
}
