// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry-agent forget`: ends the tracking that a stopped agent left in the kernel. */
#include "agent/cli/cli.h"

#include <getopt.h>
#include <stdio.h>

#include "agent/options.h"
#include "agent/tracker.h"

static const char usage[] =
	"usage: blkferry-agent forget [--config FILE]\n"
	"\n"
	"Ends write tracking, which otherwise goes on in the kernel when the agent is stopped. The\n"
	"next start compares the disks with the replica by digest. Stop the agent first.\n"
	"\n"
	"  --config FILE  default " OPTIONS_PATH "\n";

int cli_forget(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	const char *path = OPTIONS_PATH;
	struct agent_options options;
	struct fault fault = {0};
	int option, error;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'c') {
			path = optarg;
			continue;
		}
		fputs(usage, option == 'h' ? stdout : stderr);
		return option == 'h' ? 0 : 2;
	}
	error = options_read(path, &options, &fault);
	if (!error) {
		error = tracker_bpf_remove_pins(options.pin_folder, &fault);
		options_fini(&options);
	}
	if (error) {
		fprintf(stderr, "blkferry-agent: %s\n", fault.text);
		return 1;
	}
	puts("tracking ended");
	return 0;
}
