/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blkferry-agent disks: which disks were found, which of them are replicated, and why. */
#include "agent/cli/cli.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "agent/options.h"
#include "agent/platform.h"
#include "common/units.h"

#define EXIT_USAGE 2

static const char usage[] =
	"usage: blkferry-agent disks [--json] [--config FILE | --disks LIST]\n"
	"\n"
	"Shows the disks of this machine, which of them are replicated, and why.\n"
	"\n"
	"  --config FILE  default " OPTIONS_PATH "\n"
	"  --disks LIST   instead of `disks` in the configuration: auto, or paths, serial numbers\n"
	"                 and WWNs with commas between\n"
	"  --json         for programs\n";

static int print_json(const struct found_disk *disks, unsigned int count)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < count; i++) {
		const struct tracked_disk *disk = &disks[i].disk;

		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:I, s:i, s:I, s:b, s:b, s:s}", "path",
					disk->path, "identity", disk->identity, "model",
					disks[i].model, "size_bytes", (json_int_t)disk->size_bytes,
					"logical_block_bytes", (int)disk->logical_block_bytes,
					"diskseq", (json_int_t)disk->sequence, "request_based",
					(int)disk->is_request_based, "chosen",
					(int)disks[i].is_chosen, "why", disks[i].why));
	}
	json_dumpf(list, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(list);
	return EXIT_SUCCESS;
}

static int longest(int length, const char *text)
{
	return (int)strlen(text) > length ? (int)strlen(text) : length;
}

static int print_table(const struct found_disk *disks, unsigned int count)
{
	int path = 4, identity = 8, model = 5;

	for (unsigned int i = 0; i < count; i++) {
		path = longest(path, disks[i].disk.path);
		identity = longest(identity, disks[i].disk.identity);
		model = longest(model, disks[i].model);
	}
	printf("%-*s  %10s  %-*s  %-*s  %-10s  %s\n", path, "DISK", "SIZE", model, "MODEL",
	       identity, "IDENTITY", "REPLICATED", "WHY");
	for (unsigned int i = 0; i < count; i++) {
		char size[32];

		printf("%-*s  %10s  %-*s  %-*s  %-10s  %s\n", path, disks[i].disk.path,
		       units_format_bytes(disks[i].disk.size_bytes, size, sizeof(size)), model,
		       disks[i].model[0] ? disks[i].model : "-", identity, disks[i].disk.identity,
		       disks[i].is_chosen ? "yes" : "no", disks[i].why);
	}
	return EXIT_SUCCESS;
}

static int show(const char *wanted, bool is_json)
{
	struct found_disk *disks;
	unsigned int count;
	struct fault fault;
	int result;

	if (disks_find(wanted, &disks, &count, &fault) < 0) {
		fprintf(stderr, "blkferry-agent: %s\n", fault.text);
		return EXIT_FAILURE;
	}
	result = is_json ? print_json(disks, count) : print_table(disks, count);
	free(disks);
	return result;
}

static int show_configured(const char *config, bool is_json)
{
	struct agent_options options;
	struct fault fault;
	int result;

	if (options_read(config, &options, &fault) < 0) {
		fprintf(stderr, "blkferry-agent: %s\n", fault.text);
		return EXIT_USAGE;
	}
	result = show(options.disks, is_json);
	options_fini(&options);
	return result;
}

int cli_disks(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"config", required_argument, NULL, 'c'},
						{"disks", required_argument, NULL, 'd'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	const char *config = OPTIONS_PATH, *wanted = NULL;
	bool is_json = false;
	int option;

	optind = 0; /* main may have used getopt before us */
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'j') {
			is_json = true;
		} else if (option == 'c') {
			config = optarg;
		} else if (option == 'd') {
			wanted = optarg;
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? EXIT_SUCCESS : EXIT_USAGE;
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return wanted ? show(wanted, is_json) : show_configured(config, is_json);
}
