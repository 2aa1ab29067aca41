// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * blkferry: what an admin types. Each subcommand is a request to the receiver's control socket
 * (client.c), answered by receiver/control*.c.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/cli.h"
#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/exit_codes.h"

static const struct cli_command commands[] = {
	{"status", cli_status, "how far the machines are"},
	{"token", cli_token, "print a one-time token to enroll a machine with"},
	{"pause", cli_order, "stop sending; writes go on being tracked"},
	{"resume", cli_order, "go on sending"},
	{"limit", cli_order, "limit a machine's bandwidth"},
	{"verify", cli_verify, "compare source and replica by digest, live"},
	{"cutover", cli_cutover,
	 "freeze, ship the rest, certify, fence the source, start the target"},
	{"points", cli_points, "list the checkpoints that can be gone back to"},
	{"checkpoint", cli_checkpoint, "make one now, and name it"},
	{"rollback", cli_rollback, "make the replica what it was at a checkpoint"},
	{"view", cli_view, "look at a checkpoint: serve or mount its disks"},
	{"test-boot", cli_test_boot, "see whether a machine starts from a checkpoint"},
	{"xcp", cli_xcp, "make a machine's disks and VM in an XCP-ng pool"},
	{"remove", cli_remove, "forget a machine and its replica"},
};

static void print_usage(FILE *to);

static const struct cli_program program = {
	.name = "blkferry",
	.commands = commands,
	.command_count = sizeof(commands) / sizeof(commands[0]),
	.print_usage = print_usage,
	.print_names = cli_print_names,
};

static void print_usage(FILE *to)
{
	fputs("usage: blkferry [--socket PATH] COMMAND [OPTIONS]\n\nCommands:\n", to);
	cli_print_commands(&program, to);
	fputs("\n"
	      "  --socket PATH   the receiver's control socket (" CLIENT_SOCKET ")\n"
	      "\n"
	      "'blkferry COMMAND --help' tells more. See blkferry(1).\n",
	      to);
}

int cli_usage(const char *usage, int option)
{
	fputs(usage, option == 'h' ? stdout : stderr);
	return option == 'h' ? EXIT_CODE_OK : EXIT_CODE_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"socket", required_argument, NULL, 's'},
		{"version", no_argument, NULL, 'v'},
		{"complete", no_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	const struct cli_command *command;
	int option;

	signal(SIGPIPE, SIG_IGN);
	while ((option = getopt_long(argc, argv, "+h", long_options, NULL)) != -1) {
		if (option == 's') {
			client_set_socket(optarg);
		} else if (option == 'v') {
			puts("blkferry " BLKFERRY_VERSION);
			return EXIT_CODE_OK;
		} else if (option == 'c') {
			cli_complete(&program, argc - optind, argv + optind, stdout);
			return EXIT_CODE_OK;
		} else {
			print_usage(option == 'h' ? stdout : stderr);
			return option == 'h' ? EXIT_CODE_OK : EXIT_CODE_USAGE;
		}
	}
	command = optind < argc ? cli_find(&program, argv[optind]) : NULL;
	if (command) {
		int first = optind;

		optind = 0; /* getopt starts over, in the subcommand's arguments */
		return command->run(argc - first, argv + first);
	}
	if (optind < argc)
		fprintf(stderr, "blkferry: there is no command '%s'\n", argv[optind]);
	print_usage(stderr);
	return EXIT_CODE_USAGE;
}
