// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry cutover`: makes the replica the machine. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"
#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/cli/progress.h"
#include "receiver/cli/text.h"

static const char usage[] =
	"usage: blkferry cutover NAME [OPTIONS]\n"
	"\n"
	"Compares both sides live, freezes the source's file systems, ships the rest, compares what\n"
	"changed since, fences the source and runs the start-command. Until the receiver commits, any\n"
	"failure (or ^C) thaws the source, and replication goes on.\n"
	"\n"
	"  --timeout S          thaw and give up when not committed S seconds after the freeze (10)\n"
	"  --fence poweroff|halt|hold\n"
	"                       what the source does then: poweroff is the default; with hold it stays\n"
	"                       frozen until a person ends it\n"
	"  --dry-run            only check whether it would begin\n"
	"  --ignore-checks      also when 'blkferry-agent check' found that the target would not start\n"
	"  --no-certify         do not compare digests (faster; not recommended)\n"
	"  --source-is-dead     after a commit that the source never confirmed: you say that it is off\n"
	"                       for certain. Also runs a start-command again that failed\n"
	"  --at WHEN            the machine that is started is what it was at this checkpoint (as for\n"
	"                       'blkferry rollback'); with --source-is-dead also when its source is lost\n"
	"  --json               steps and result as JSON, one a line\n";

struct options {
	struct progress progress;
	const char *when;
	double timeout_s;
	int fence;
	bool is_dry_run, skips_certify, ignores_checks, source_is_dead;
};

static void print_event(const json_t *event, bool is_json)
{
	if (is_json) {
		json_dumpf(event, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
		putchar('\n');
	} else {
		printf("  %-9s %9.1f ms  %s%s%s\n", text_of(event, "step"), real_of(event, "ms"),
		       text_of(event, "text"), number_of(event, "bytes") ? ", " : "",
		       number_of(event, "bytes") ? bytes_of(event, "bytes") : "");
	}
}

static int print_result(const struct progress *progress, const json_t *result)
{
	if (progress->is_json) {
		json_dumpf(result, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
		putchar('\n');
		return EXIT_CODE_OK;
	}
	if (is_true(result, "dry_run")) {
		puts(text_of(result, "text"));
		return EXIT_CODE_OK;
	}
	if (number_of(result, "repaired_bytes"))
		printf("certification found %s different and sent it again\n",
		       bytes_of(result, "repaired_bytes"));
	printf("%s: cut over; certified %s; data downtime %.0f ms, downtime %.0f ms\n",
	       text_of(result, "name"), bytes_of(result, "certified_bytes"),
	       real_of(result, "data_downtime_ms"), real_of(result, "downtime_ms"));
	return EXIT_CODE_OK;
}

static int parse_fence(const char *text)
{
	static const char *const names[] = {"poweroff", "halt", "hold"};

	for (int i = 0; i < 3; i++)
		if (strcmp(text, names[i]) == 0)
			return i + 1;
	fprintf(stderr, "blkferry: '%s' is no kind of fence; poweroff, halt and hold are\n", text);
	return 0;
}

static bool parse_timeout(const char *text, double *ret_s)
{
	uint64_t ns;

	if (units_parse_duration(text, &ns) || ns < 100000000ull || ns > 600ull * 1000000000) {
		fprintf(stderr, "blkferry: '%s' is no timeout; 0.1s to 600s are (100ms, 5, 30s)\n",
			text);
		return false;
	}
	*ret_s = (double)ns / 1e9;
	return true;
}

/* Returns -1, or the exit status with which to end. */
static int parse(int argc, char **argv, struct options *options)
{
	static const struct option long_options[] = {
		{"timeout", required_argument, NULL, 't'},
		{"fence", required_argument, NULL, 'f'},
		{"dry-run", no_argument, NULL, 'n'},
		{"no-certify", no_argument, NULL, 'c'},
		{"ignore-checks", no_argument, NULL, 'i'},
		{"source-is-dead", no_argument, NULL, 'd'},
		{"json", no_argument, NULL, 'j'},
		{"at", required_argument, NULL, 'a'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 't' && !parse_timeout(optarg, &options->timeout_s))
			return EXIT_CODE_USAGE;
		else if (option == 'f' && !(options->fence = parse_fence(optarg)))
			return EXIT_CODE_USAGE;
		else if (option == 'n')
			options->is_dry_run = true;
		else if (option == 'a')
			options->when = optarg;
		else if (option == 'c')
			options->skips_certify = true;
		else if (option == 'i')
			options->ignores_checks = true;
		else if (option == 'd')
			options->source_is_dead = true;
		else if (option == 'j')
			options->progress.is_json = true;
		else if (option != 't' && option != 'f')
			return cli_usage(usage, option);
	}
	if (argc - optind != 1)
		return cli_usage(usage, '?');
	options->progress.name = argv[optind];
	return -1;
}

int cli_cutover(int argc, char **argv)
{
	struct options options = {.progress = {.is_drawn = true,
					       .print_event = print_event,
					       .print_result = print_result},
				  .when = "",
				  .timeout_s = 10,
				  .fence = 1};
	int status = parse(argc, argv, &options);

	if (status >= 0)
		return status;
	return progress_follow(
		json_pack("{s:s, s:s, s:s, s:I, s:i, s:b, s:b, s:b, s:b}", "command", "cutover",
			  "machine", options.progress.name, "at", options.when, "timeout_ms",
			  (json_int_t)(options.timeout_s * 1000), "fence", options.fence, "dry_run",
			  options.is_dry_run, "no_certify", options.skips_certify, "ignore_checks",
			  options.ignores_checks, "source_is_dead", options.source_is_dead),
		&options.progress);
}
