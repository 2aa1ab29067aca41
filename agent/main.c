// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * blkferry-agent: sees every write to the source's disks and ships it to the receiver.
 *
 *   kernel                     agent
 *   block_rq_issue    ─┐
 *   block_rq_complete ─┴─ dirty bits ──take──▶ todo bits ◀──────────── settled on ACK ───────────┐
 *                      (tracker, pinned)          │                                               │
 *                                                 ▼                                               │
 *   replicate.c: phases, passes ──────▶ flow.c: batches, epochs ─▶ sender.c ×N: reader (O_DIRECT) │
 *   verify.c, cutover.c: freeze, seal,            ▲                 encode.c: zeroes, LZ4, digests │
 *   fence                                         │                        │ TLS, DATA/DIGESTS/   │
 *                                     session.c: control reader,           ▼ BARRIER              │
 *                                     heartbeat ◀── ACK, verdicts ── receiver: target, flush ─────┘
 */
#include <stdio.h>
#include <string.h>

#include "agent/cli/cli.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"run", cli_run, "replicate this machine (what the service runs)"},
	{"enroll", cli_enroll, "get this machine's certificate from a receiver, with a token"},
	{"disks", cli_disks, "show which disks would be replicated, and why"},
	{"forget", cli_forget, "end write tracking after the agent was stopped"},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_usage(FILE *to)
{
	fputs("usage: blkferry-agent COMMAND [OPTIONS]\n\nCommands:\n", to);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].help);
	fputs("\n'blkferry-agent COMMAND --help' tells more. See blkferry-agent(8).\n", to);
}

int main(int argc, char **argv)
{
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		print_usage(stdout);
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "--version")) {
		puts("blkferry-agent " BLKFERRY_VERSION);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	if (argc > 1)
		fprintf(stderr, "blkferry-agent: there is no command '%s'\n", argv[1]);
	print_usage(stderr);
	return 2;
}
