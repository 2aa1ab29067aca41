// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry view`: a checkpoint's disks, to be looked at while replication goes on. */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/cli/text.h"
#include "receiver/cli/view_mount.h"

static const char usage[] =
	"usage: blkferry view NAME [--at POINT] [--port N | --mount DIR] [--json]\n"
	"       blkferry view NAME --list [--json]\n"
	"       blkferry view NAME --stop [ID]\n"
	"\n"
	"Serves the disks of NAME as they were at a checkpoint, as NBD exports that can be read and\n"
	"written. What is written is kept apart and ends with the view; replication goes on.\n"
	"\n"
	"  --at POINT    latest (default), a label, #NUMBER, a time (\"2026-11-21 14:03:07\", 14:03:07),\n"
	"                or so long ago: -90s, -5m\n"
	"  --port N      on TCP port N with TLS, the next disk on N+1 and so on, instead of unix sockets\n"
	"  --mount DIR   as files DIR/disk0, ..., and as root their file systems, read-only, in\n"
	"                DIR/disk0p1, ...\n"
	"  --list        the views there are\n"
	"  --stop [ID]   end that view, or all of NAME, and unmount what it mounted\n"
	"  --json        as JSON\n";

struct options {
	const char *name, *point, *mount;
	int port;
	unsigned int id;
	bool is_list, is_stop, is_json;
};

static void print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_COMPACT);
	putchar('\n');
}

static void print_view(const json_t *view)
{
	char point[160];
	const json_t *disk;
	size_t i;

	cli_format_point(json_object_get(view, "point"), point, sizeof(point));
	printf("view %llu: checkpoint %s%s\n", (unsigned long long)number_of(view, "id"), point,
	       is_true(view, "alive") ? "" : "; its server has ended: stop it");
	json_array_foreach(json_object_get(view, "disks"), i, disk)
		printf("  disk %llu, %s: %s\n", (unsigned long long)number_of(disk, "disk"),
		       bytes_of(disk, "size"), text_of(disk, "uri"));
	if (text_of(view, "mount")[0])
		printf("  mounted at %s\n", text_of(view, "mount"));
	if (text_of(view, "key_file")[0])
		printf("  clients need the file %s\n", text_of(view, "key_file"));
}

static json_t *list_views(const char *name, int *ret_exit)
{
	return client_call(json_pack("{s:s, s:s}", "command", "view-list", "machine", name),
			   ret_exit);
}

static int run_list(const struct options *options)
{
	int exit_code = EXIT_CODE_OK;
	json_t *result = list_views(options->name, &exit_code);
	const json_t *views = json_object_get(result, "views"), *view;
	size_t i;

	if (!result)
		return exit_code;
	if (options->is_json)
		print_json(views);
	else
		json_array_foreach(views, i, view) print_view(view);
	json_decref(result);
	return EXIT_CODE_OK;
}

/* Before the server goes: what is mounted would hang on it. */
static int unmount_views(const struct options *options, const json_t *views)
{
	const json_t *view;
	int exit_code = EXIT_CODE_OK;
	size_t i;

	json_array_foreach(views, i, view)
	{
		const char *mount = text_of(view, "mount");

		if ((!options->id || number_of(view, "id") == options->id) && mount[0] &&
		    view_unmount(mount))
			exit_code = EXIT_CODE_NOT_READY;
	}
	return exit_code;
}

/* id 0: all of the machine. */
static json_t *stop_views(const char *name, unsigned int id, int *ret_exit)
{
	return client_call(json_pack("{s:s, s:s, s:i}", "command", "view-stop", "machine", name,
				     "id", (int)id),
			   ret_exit);
}

static int run_stop(const struct options *options)
{
	int exit_code = EXIT_CODE_OK;
	json_t *result = list_views(options->name, &exit_code);

	if (!result)
		return exit_code;
	exit_code = unmount_views(options, json_object_get(result, "views"));
	json_decref(result);
	if (exit_code)
		return exit_code;
	result = stop_views(options->name, options->id, &exit_code);
	if (!result)
		return exit_code;
	printf("stopped: %llu\n", (unsigned long long)number_of(result, "stopped"));
	json_decref(result);
	return EXIT_CODE_OK;
}

static int run_view(const struct options *options)
{
	json_t *request = json_pack("{s:s, s:s, s:s, s:i}", "command", "view", "machine",
				    options->name, "point", options->point, "port", options->port);
	char folder[PATH_MAX] = "";
	int exit_code = EXIT_CODE_OK, ignored;
	json_t *view;

	if (options->mount) {
		if (view_mount_prepare(options->mount, folder)) {
			json_decref(request);
			return EXIT_CODE_FAILED;
		}
		json_object_set_new(request, "mount", json_string(folder));
	}
	view = client_call(request, &exit_code);
	if (!view)
		return exit_code;
	exit_code = EXIT_CODE_OK;
	if (options->mount && view_mount(folder, json_object_get(view, "disks"))) {
		(void)view_unmount(folder);
		json_decref(
			stop_views(options->name, (unsigned int)number_of(view, "id"), &ignored));
		exit_code = EXIT_CODE_FAILED;
	} else if (options->is_json) {
		print_json(view);
	} else {
		print_view(view);
	}
	json_decref(view);
	return exit_code;
}

static bool parse_number(const char *text, unsigned long most, unsigned long *ret_number)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || number == 0 || number > most) {
		fprintf(stderr, "blkferry: '%s' is not a number from 1 to %lu\n", text, most);
		return false;
	}
	*ret_number = number;
	return true;
}

/* Returns -1, or the exit status with which to end. */
static int parse(int argc, char **argv, struct options *options)
{
	static const struct option long_options[] = {
		{"at", required_argument, NULL, 'a'},	 {"port", required_argument, NULL, 'p'},
		{"mount", required_argument, NULL, 'm'}, {"list", no_argument, NULL, 'l'},
		{"stop", no_argument, NULL, 's'},	 {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},	 {0},
	};
	unsigned long number = 0;
	int option, most;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'a')
			options->point = optarg;
		else if (option == 'p' && parse_number(optarg, 65535, &number))
			options->port = (int)number;
		else if (option == 'm')
			options->mount = optarg;
		else if (option == 'l')
			options->is_list = true;
		else if (option == 's')
			options->is_stop = true;
		else if (option == 'j')
			options->is_json = true;
		else
			return option == 'p' ? EXIT_CODE_USAGE : cli_usage(usage, option);
	}
	most = options->is_stop ? 2 : 1;
	if (optind == argc || argc - optind > most || (options->is_list && options->is_stop) ||
	    (options->mount && options->port))
		return cli_usage(usage, '?');
	options->name = argv[optind];
	if (argc - optind == 2) {
		if (!parse_number(argv[optind + 1], INT_MAX, &number))
			return EXIT_CODE_USAGE;
		options->id = (unsigned int)number;
	}
	return -1;
}

int cli_view(int argc, char **argv)
{
	struct options options = {.point = "latest"};
	int status = parse(argc, argv, &options);

	if (status >= 0)
		return status;
	if (options.is_list)
		return run_list(&options);
	if (options.is_stop)
		return run_stop(&options);
	return run_view(&options);
}
