// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry pause`, `resume` and `limit`: orders that stand until they are changed. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"
#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/exit_codes.h"

static const char usage[] =
	"usage: blkferry pause NAME\n"
	"       blkferry resume NAME\n"
	"       blkferry limit NAME RATE     RATE: 50MiB/s, 400KB/s ... or none\n"
	"\n"
	"These hold until they are changed, also when the agent or the receiver is restarted. While\n"
	"paused, writes at the source go on being tracked; nothing is lost.\n";

int cli_order(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	bool is_limit = strcmp(argv[0], "limit") == 0;
	uint64_t rate = 0;
	json_t *request;
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1)
		return cli_usage(usage, option);
	if (argc - optind != (is_limit ? 2 : 1))
		return cli_usage(usage, '?');
	if (is_limit && units_parse_rate(argv[optind + 1], &rate)) {
		fprintf(stderr, "blkferry: '%s' is no rate; 50MiB/s, 400KB/s and none are\n",
			argv[optind + 1]);
		return EXIT_CODE_USAGE;
	}
	request = json_pack("{s:s, s:s}", "command", argv[0], "machine", argv[optind]);
	if (is_limit)
		json_object_set_new(request, "bytes_per_s", json_integer((json_int_t)rate));
	return client_print(request, "text");
}
