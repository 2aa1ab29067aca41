// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry verify`: compares source and replica by digest while both are in use. */
#include <getopt.h>
#include <stdio.h>

#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/cli/progress.h"
#include "receiver/cli/text.h"

static const char usage[] =
	"usage: blkferry verify NAME [--repair] [--all] [--json]\n"
	"\n"
	"Compares XXH3-128 digests of both sides. Replication goes on; blocks that change meanwhile\n"
	"are looked at again. Prints each range that differs. Exit status 6 when any does.\n"
	"\n"
	"  --repair   send what differs again, and compare it once more\n"
	"  --all      compare free space, too (it is not copied: it will differ on a used disk)\n"
	"  --json     the result as JSON\n";

static void print_event(const json_t *event, bool is_json)
{
	if (is_json) {
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
		return;
	}
	printf("disk %llu: bytes %llu to %llu: %s\n", (unsigned long long)number_of(event, "disk"),
	       (unsigned long long)number_of(event, "offset"),
	       (unsigned long long)(number_of(event, "offset") + number_of(event, "length") - 1),
	       text_of(event, "kind"));
}

static int print_result(const struct progress *progress, const json_t *result)
{
	if (progress->is_json) {
		json_dumpf(result, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		puts(text_of(result, "text"));
	}
	if (is_true(result, "unrepaired")) {
		fputs("blkferry: what was sent again still differs: the target does not keep "
		      "what is written to it\n",
		      stderr);
		return EXIT_CODE_DIFFERS;
	}
	return number_of(result, "differed") ? EXIT_CODE_DIFFERS : EXIT_CODE_OK;
}

int cli_verify(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"repair", no_argument, NULL, 'r'},
		{"all", no_argument, NULL, 'a'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct progress progress = {
		.is_drawn = true, .print_event = print_event, .print_result = print_result};
	bool is_repair = false, is_all = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'r')
			is_repair = true;
		else if (option == 'a')
			is_all = true;
		else if (option == 'j')
			progress.is_json = true;
		else
			return cli_usage(usage, option);
	}
	if (argc - optind != 1)
		return cli_usage(usage, '?');
	progress.name = argv[optind];
	return progress_follow(json_pack("{s:s, s:s, s:b, s:b}", "command", "verify", "machine",
					 argv[optind], "repair", is_repair, "all", is_all),
			       &progress);
}
