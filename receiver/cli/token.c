// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry token`: a one-time token to enroll a machine with. */
#include <getopt.h>
#include <stdio.h>

#include "common/units.h"
#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/exit_codes.h"

static const char usage[] =
	"usage: blkferry token NAME [--expires DURATION]\n"
	"\n"
	"Prints a token with which one source machine can enroll as NAME, once:\n"
	"    blkferry-agent enroll THIS-HOST TOKEN\n"
	"A machine of that name that is enrolled already gets a new certificate; its old one is not\n"
	"accepted from then on.\n"
	"\n"
	"  --expires DURATION   10m, 2h, 1d ... (default: token-lifetime in receiver.ini, 1h)\n";

int cli_token(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"expires", required_argument, NULL, 'e'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	uint64_t valid_ns = 0;
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option != 'e')
			return cli_usage(usage, option);
		if (units_parse_duration(optarg, &valid_ns) || !valid_ns) {
			fprintf(stderr, "blkferry: '%s' is no duration; 10m, 2h and 1d are\n",
				optarg);
			return EXIT_CODE_USAGE;
		}
	}
	if (argc - optind != 1)
		return cli_usage(usage, '?');
	return client_print(json_pack("{s:s, s:s, s:I}", "command", "token", "machine",
				      argv[optind], "valid_ns", (json_int_t)valid_ns),
			    "token");
}
