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

#include "agent/cli/cli.h"
#include "common/cli.h"

static const struct cli_command commands[] = {
	{"run", cli_run, "replicate this machine (what the service runs)"},
	{"enroll", cli_enroll, "get this machine's certificate from a receiver, with a token"},
	{"disks", cli_disks, "show which disks would be replicated, and why"},
	{"check", cli_check, "look whether this system would start on the target's hardware"},
	{"first-boot", cli_first_boot, "have the network changed when this starts elsewhere"},
	{"initramfs", cli_initramfs,
	 "have tracking begin with the system: restarts need no comparison"},
	{"forget", cli_forget, "end write tracking after the agent was stopped"},
};

static void print_usage(FILE *to);

static const struct cli_program program = {
	.name = "blkferry-agent",
	.commands = commands,
	.command_count = sizeof(commands) / sizeof(commands[0]),
	.print_usage = print_usage,
};

static void print_usage(FILE *to)
{
	fputs("usage: blkferry-agent COMMAND [OPTIONS]\n\nCommands:\n", to);
	cli_print_commands(&program, to);
	fputs("\n'blkferry-agent COMMAND --help' tells more. See blkferry-agent(8).\n", to);
}

int main(int argc, char **argv)
{
	return cli_main(&program, argc, argv);
}
