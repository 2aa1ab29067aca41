// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry-agent enroll`: gets this machine's certificate from a receiver, with a token. */
#include "agent/cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "agent/enroll.h"
#include "agent/options.h"

static const char usage[] =
	"usage: blkferry-agent enroll HOST[:PORT] TOKEN [--state DIR] [--replace] "
	"[--no-initramfs]\n"
	"\n"
	"Makes a key for this machine and has it certified by the receiver on HOST. The TOKEN is what\n"
	"'blkferry token NAME' printed there; it can be used once. With '-' for TOKEN it is read from\n"
	"standard input, so that it does not show in the process list.\n"
	"\n"
	"  --state DIR   state folder (default: that of " OPTIONS_PATH ",\n"
	"                or /var/lib/blkferry-agent)\n"
	"  --replace     give up an enrolment that is there; restart the agent afterwards\n"
	"  --no-initramfs\n"
	"                leave the initramfs as it is: see 'blkferry-agent initramfs'\n";

#define TOKEN_LINE_MAX 256

/* The token as given, or from standard input. */
static const char *find_token(const char *argument, char line[TOKEN_LINE_MAX])
{
	if (strcmp(argument, "-") != 0)
		return argument;
	return fgets(line, TOKEN_LINE_MAX, stdin) ? line : "";
}

/* Restarts are to need no comparison. An enrolment is good without that, too. */
static void set_up_restarts(const struct agent_options *options)
{
	struct fault fault = {0};

	if (cli_initramfs_set_up(options, &fault) != 0)
		printf("a restart of this machine will be followed by a comparison of its disks: "
		       "%s\n",
		       fault.text);
}

static int enroll(const char *address, const char *token, const char *state_folder,
		  enum enroll_existing existing, bool has_initramfs)
{
	struct agent_options options = {0};
	char host[256], name[PKI_NAME_MAX];
	struct fault fault = {0};
	uint16_t port;
	int error = options_split_host(address, host, sizeof(host), &port, &fault);

	if (!error && !state_folder) {
		error = options_read(OPTIONS_PATH, &options, &fault);
		state_folder = options.state_folder;
	}
	if (!error)
		error = enroll_run(host, port, token, state_folder, existing, name, &fault);
	if (error)
		fprintf(stderr, "blkferry-agent: %s\n", fault.text);
	else
		printf("this machine is enrolled as %s at %s\n"
		       "next: 'systemctl enable --now blkferry-agent' (or 'systemctl restart "
		       "blkferry-agent')\n",
		       name, address);
	/* With another state folder it is no machine of its own that enrols. */
	if (!error && has_initramfs && options.state_folder && cli_initramfs_is_installed())
		set_up_restarts(&options);
	options_fini(&options);
	return error ? 1 : 0;
}

int cli_enroll(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"state", required_argument, NULL, 's'},
		{"replace", no_argument, NULL, 'r'},
		{"no-initramfs", no_argument, NULL, 'n'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	enum enroll_existing existing = ENROLL_KEEP;
	bool has_initramfs = true;
	const char *state_folder = NULL;
	char line[TOKEN_LINE_MAX];
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 's') {
			state_folder = optarg;
		} else if (option == 'r') {
			existing = ENROLL_REPLACE;
		} else if (option == 'n') {
			has_initramfs = false;
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (argc - optind != 2) {
		fputs(usage, stderr);
		return 2;
	}
	return enroll(argv[optind], find_token(argv[optind + 1], line), state_folder, existing,
		      has_initramfs);
}
