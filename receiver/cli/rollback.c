// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry rollback`: makes the replica what it was at a checkpoint, or undoes that. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"

static const char usage[] =
	"usage: blkferry rollback NAME --at WHEN\n"
	"       blkferry rollback NAME --undo\n"
	"\n"
	"Makes the targets what they were at a checkpoint ('blkferry points NAME' lists them). While a\n"
	"machine is rolled back its agent has to wait. Then one of these:\n"
	"\n"
	"  blkferry rollback NAME --undo               as if it had not been\n"
	"  blkferry resume NAME                        follow the source again: all is compared\n"
	"  blkferry cutover NAME --source-is-dead      the replica becomes the machine\n"
	"\n"
	"  --at WHEN    latest, a label, #NUMBER, a time (\"2026-11-21 14:03:07\", 14:03:07), or how long\n"
	"               ago (-90s, -5m): the newest checkpoint at or before it\n"
	"  --undo       back to how it was before\n";

int cli_rollback(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"at", required_argument, NULL, 'a'},
		{"undo", no_argument, NULL, 'u'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	const char *when = NULL;
	bool is_undo = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'a')
			when = optarg;
		else if (option == 'u')
			is_undo = true;
		else
			return cli_usage(usage, option);
	}
	if (argc - optind != 1 || is_undo == (when != NULL))
		return cli_usage(usage, '?');
	return client_print(json_pack("{s:s, s:s, s:s, s:b}", "command", "rollback", "machine",
				      argv[optind], "at", when ? when : "", "undo", is_undo),
			    "text");
}
