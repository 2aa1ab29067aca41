// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry status`: how far the machines are; a live display with --watch on a terminal. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/os_clock.h"
#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/cli/text.h"

#define WATCH_NS (1000 * NS_PER_MS)

static const char usage[] =
	"usage: blkferry status [NAME] [--json] [--watch]\n"
	"\n"
	"Shows each machine's phase and how far it is; with NAME, all that is known of that one.\n"
	"\n"
	"  --json    one JSON object (one a line with --watch); its fields are in blkferry(1)\n"
	"  --watch   go on showing it, once a second, until ^C\n";

static json_t *ask(const char *name, int *ret_exit)
{
	json_t *request = json_pack("{s:s}", "command", "status");

	if (name)
		json_object_set_new(request, "machine", json_string(name));
	return client_call(request, ret_exit);
}

static void print_table(const json_t *machines)
{
	size_t index;
	json_t *machine;

	if (json_array_size(machines) == 0)
		puts("no machines yet: 'blkferry token NAME' begins one");
	json_array_foreach((json_t *)machines, index, machine)
	{
		char line[256];

		cli_progress_line(machine, line, sizeof(line));
		puts(line);
	}
}

static void print_text(const json_t *machines, const char *name)
{
	if (name)
		cli_print_machine(json_array_get(machines, 0));
	else
		print_table(machines);
}

static void print_json(const json_t *machines, const char *name, size_t flags)
{
	const json_t *what = name ? json_array_get(machines, 0) : machines;

	json_dumpf(what, stdout, flags);
	putchar('\n');
}

/* On a terminal each picture replaces the last one; in a pipe each is a plain line a machine. */
static void print_watched(const json_t *machines, const char *name)
{
	bool is_terminal = isatty(STDOUT_FILENO);

	if (is_terminal)
		fputs("\033[H\033[2J", stdout);
	if (is_terminal)
		print_text(machines, name);
	else
		print_table(machines);
}

int cli_status(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"json", no_argument, NULL, 'j'},
		{"watch", no_argument, NULL, 'w'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	bool is_json = false, is_watch = false;
	const char *name;
	int option, exit_code = EXIT_CODE_OK;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'j')
			is_json = true;
		else if (option == 'w')
			is_watch = true;
		else
			return cli_usage(usage, option);
	}
	if (argc - optind > 1)
		return cli_usage(usage, '?');
	name = optind < argc ? argv[optind] : NULL;
	do {
		json_t *result = ask(name, &exit_code);
		const json_t *machines = json_object_get(result, "machines");

		if (!result)
			return exit_code;
		exit_code = EXIT_CODE_OK;
		if (is_json)
			print_json(machines, name, is_watch ? JSON_COMPACT : JSON_INDENT(2));
		else if (is_watch)
			print_watched(machines, name);
		else
			print_text(machines, name);
		json_decref(result);
		if (is_watch && (fflush(stdout) || ferror(stdout)))
			break;
		if (is_watch)
			os_sleep_ns(WATCH_NS);
	} while (is_watch);
	return exit_code;
}
