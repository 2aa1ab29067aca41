// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * blkferry: what an admin types. Each subcommand is a request to the receiver's control socket
 * (client.c), answered by receiver/control*.c.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/exit_codes.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"status", cli_status, "how far the machines are"},
	{"token", cli_token, "print a one-time token to enroll a machine with"},
	{"pause", cli_order, "stop sending; writes go on being tracked"},
	{"resume", cli_order, "go on sending"},
	{"limit", cli_order, "limit a machine's bandwidth"},
	{"verify", cli_verify, "compare source and replica by digest, live"},
	{"cutover", cli_cutover,
	 "freeze, ship the rest, certify, fence the source, start the target"},
	{"remove", cli_remove, "forget a machine and its replica"},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_usage(FILE *to)
{
	fputs("usage: blkferry [--socket PATH] COMMAND [OPTIONS]\n\nCommands:\n", to);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].help);
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
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;

	signal(SIGPIPE, SIG_IGN);
	while ((option = getopt_long(argc, argv, "+h", long_options, NULL)) != -1) {
		if (option == 's') {
			client_set_socket(optarg);
		} else if (option == 'v') {
			puts("blkferry " BLKFERRY_VERSION);
			return EXIT_CODE_OK;
		} else {
			print_usage(option == 'h' ? stdout : stderr);
			return option == 'h' ? EXIT_CODE_OK : EXIT_CODE_USAGE;
		}
	}
	for (size_t i = 0; optind < argc && i < COMMANDS; i++) {
		if (strcmp(argv[optind], commands[i].name) == 0) {
			int first = optind;

			optind = 0; /* getopt starts over, in the subcommand's arguments */
			return commands[i].run(argc - first, argv + first);
		}
	}
	if (optind < argc)
		fprintf(stderr, "blkferry: there is no command '%s'\n", argv[optind]);
	print_usage(stderr);
	return EXIT_CODE_USAGE;
}
