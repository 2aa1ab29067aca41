// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry points` and `blkferry checkpoint`: the moments that a replica can go back to. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/os_clock.h"
#include "common/units.h"
#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/cli/text.h"

static const char points_usage[] = "usage: blkferry points NAME [--snapshots] [--json]\n"
				   "\n"
				   "Lists the checkpoints that are kept, oldest first: when, how "
				   "long ago, how much is stored for\n"
				   "the time until the next, and its label. '#NUMBER', the time or "
				   "the label name one to rollback,\n"
				   "cutover, view and test-boot.\n"
				   "\n"
				   "  --snapshots  only those that are snapshots of the VM in the "
				   "pool, for XO to show and revert to\n"
				   "  --json       a JSON array; its fields are in blkferry(1)\n";

static const char checkpoint_usage[] =
	"usage: blkferry checkpoint NAME [--label L] [--freeze] [--json]\n"
	"\n"
	"Makes a checkpoint now, and waits until it is one.\n"
	"\n"
	"  --label L   a name for it; labelled ones are kept until the label is given to another\n"
	"  --freeze    with all file systems of the source frozen for a moment\n"
	"  --json      the result as JSON\n";

static void print_point(const json_t *point)
{
	char age[40];

	units_format_duration((uint64_t)(real_of(point, "age_s") * NS_PER_S), age, sizeof(age));
	printf("#%-8llu %s  %14s ago  %10s  %-10s %s%s\n",
	       (unsigned long long)number_of(point, "number"), text_of(point, "time"), age,
	       bytes_of(point, "bytes"), is_true(point, "frozen") ? "frozen" : "consistent",
	       text_of(point, "label"), text_of(point, "snapshot")[0] ? " (snapshot)" : "");
}

static void print_json(const json_t *what)
{
	json_dumpf(what, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
	putchar('\n');
}

static void print_snapshots(const json_t *snapshots)
{
	size_t index;
	json_t *snapshot;

	json_array_foreach((json_t *)snapshots, index, snapshot)
		printf("#%-8llu %s  %s  %s\n", (unsigned long long)number_of(snapshot, "number"),
		       text_of(snapshot, "time"), text_of(snapshot, "uuid"),
		       text_of(snapshot, "name"));
}

static void print_points(const json_t *points)
{
	size_t index;
	json_t *point;

	if (json_array_size(points) == 0)
		puts("no checkpoints yet: they are made while the machine is streaming");
	json_array_foreach((json_t *)points, index, point) print_point(point);
}

int cli_points(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"snapshots", no_argument, NULL, 's'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	bool is_json = false, only_snapshots = false;
	int option, exit_code;
	json_t *result;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'j')
			is_json = true;
		else if (option == 's')
			only_snapshots = true;
		else
			return cli_usage(points_usage, option);
	}
	if (argc - optind != 1)
		return cli_usage(points_usage, '?');
	result = client_call(json_pack("{s:s, s:s}", "command", "points", "machine", argv[optind]),
			     &exit_code);
	if (!result)
		return exit_code;
	if (is_json)
		print_json(json_object_get(result, only_snapshots ? "snapshots" : "points"));
	else if (!only_snapshots)
		print_points(json_object_get(result, "points"));
	if (!is_json && json_array_size(json_object_get(result, "snapshots"))) {
		if (!only_snapshots)
			puts("snapshots in the pool:");
		print_snapshots(json_object_get(result, "snapshots"));
	}
	json_decref(result);
	return EXIT_CODE_OK;
}

int cli_checkpoint(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"label", required_argument, NULL, 'l'},
		{"freeze", no_argument, NULL, 'f'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	const char *label = "";
	bool is_frozen = false, is_json = false;
	int option, exit_code;
	json_t *result;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'l')
			label = optarg;
		else if (option == 'f')
			is_frozen = true;
		else if (option == 'j')
			is_json = true;
		else
			return cli_usage(checkpoint_usage, option);
	}
	if (argc - optind != 1)
		return cli_usage(checkpoint_usage, '?');
	result = client_call(json_pack("{s:s, s:s, s:s, s:b}", "command", "checkpoint", "machine",
				       argv[optind], "label", label, "freeze", is_frozen),
			     &exit_code);
	if (!result)
		return exit_code;
	if (is_json)
		print_json(result);
	else
		print_point(result);
	json_decref(result);
	return EXIT_CODE_OK;
}
