// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry test-boot`: does the machine start from a checkpoint? */
#include <getopt.h>
#include <stdio.h>

#include "common/units.h"
#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/cli/progress.h"
#include "receiver/cli/text.h"

static const char usage[] =
	"usage: blkferry test-boot NAME [--at POINT] [--timeout S] [--json]\n"
	"\n"
	"Opens a view of a checkpoint, runs the machine's test-start-command on it, then its\n"
	"check-command until that succeeds or time is up; both are in receiver.ini. Then ends all of it.\n"
	"Replication goes on, and nothing is written to the replica. Exit status 8 when it did not\n"
	"come up.\n"
	"\n"
	"  --at POINT    as 'blkferry view' takes it (latest)\n"
	"  --timeout S   how long it may take (test-timeout in receiver.ini, or 5 minutes)\n"
	"  --json        steps and result as JSON, one a line\n";

static void print_event(const json_t *event, bool is_json)
{
	if (is_json) {
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		puts(text_of(event, "text"));
	}
}

static int print_result(const struct progress *progress, const json_t *result)
{
	char point[160];

	if (progress->is_json) {
		json_dumpf(result, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
		putchar('\n');
		return EXIT_CODE_OK;
	}
	cli_format_point(json_object_get(result, "point"), point, sizeof(point));
	printf("%s: came up from checkpoint %s after %.1f s%s%s\n", progress->name, point,
	       real_of(result, "seconds"), text_of(result, "text")[0] ? ": " : "",
	       text_of(result, "text"));
	return EXIT_CODE_OK;
}

int cli_test_boot(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"at", required_argument, NULL, 'a'},
		{"timeout", required_argument, NULL, 't'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	const char *point = "latest";
	struct progress progress = {.print_event = print_event, .print_result = print_result};
	uint64_t timeout_ns = 0;
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'a') {
			point = optarg;
		} else if (option == 't') {
			if (units_parse_duration(optarg, &timeout_ns) || timeout_ns == 0) {
				fprintf(stderr, "blkferry: '%s' is no timeout; 90, 90s, 5m are\n",
					optarg);
				return EXIT_CODE_USAGE;
			}
		} else if (option == 'j') {
			progress.is_json = true;
		} else {
			return cli_usage(usage, option);
		}
	}
	if (argc - optind != 1)
		return cli_usage(usage, '?');
	progress.name = argv[optind];
	return progress_follow(json_pack("{s:s, s:s, s:s, s:I}", "command", "test-boot", "machine",
					 argv[optind], "point", point, "timeout_ns",
					 (json_int_t)timeout_ns),
			       &progress);
}
