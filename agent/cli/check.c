// SPDX-License-Identifier: GPL-2.0-or-later
/* blkferry-agent check: will this system start on the target's hardware, and what to do about it? */
#include "agent/cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "agent/linux/check/check.h"
#include "agent/linux/check/fix.h"
#include "agent/linux/check/verdict.h"
#include "agent/options.h"

#define EXIT_USAGE     2
#define EXIT_NOT_READY 3

static const char usage[] =
	"usage: blkferry-agent check [--target xen|kvm] [--root DIR] [--json] [--fix | --undo]\n"
	"                            [--config FILE]\n"
	"\n"
	"Looks whether this system would start on the target's virtual hardware: drivers in every\n"
	"initramfs, devices by names that change, network cards, LVM, boot loader, firmware.\n"
	"Changes nothing unless told so.\n"
	"\n"
	"  --target T     xen (XCP-ng, XenServer; the default) or kvm\n"
	"  --fix          make right what can be made right safely; what is replaced is kept\n"
	"  --undo         put back what --fix has replaced\n"
	"  --root DIR     a system that is mounted there, instead of the running one\n"
	"  --config FILE  default " OPTIONS_PATH "\n"
	"  --json         for programs\n"
	"\n"
	"Exit status: 0 no errors were found (there may be warnings), 1 it could not be done,\n"
	"2 wrong usage, 3 errors were found: the target would not start, or not be reached.\n";

enum mode { MODE_LOOK = 1, MODE_FIX, MODE_UNDO };

struct request {
	enum check_target target;
	enum mode mode;
	bool is_json;
	const char *root, *state, *disks;
	json_t *changes; /* what --fix and --undo did */
};

static void tell_change(void *context, const char *path, const char *what)
{
	struct request *request = context;

	json_array_append_new(request->changes,
			      json_pack("{s:s, s:s}", "path", path, "what", what));
	if (!request->is_json)
		printf("%s: %s\n", path, what);
}

static json_t *findings_to_json(const struct check_context *context)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < context->count; i++) {
		const struct finding *finding = &context->findings[i];

		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "id", finding->id,
					"severity", check_severity_name(finding->severity),
					"subject", finding->subject, "text", finding->text, "fix",
					finding->fix, "fixable", (int)finding->is_fixable));
	}
	return list;
}

static void print_json(const struct check_context *context, const struct request *request)
{
	json_t *report = json_pack("{s:s, s:s, s:{s:i, s:i, s:i}, s:b, s:i, s:o, s:O}", "target",
				   check_target_name(context->target), "root", request->root,
				   "counts", "error", (int)check_count(context, CHECK_ERROR),
				   "warning", (int)check_count(context, CHECK_WARNING), "info",
				   (int)check_count(context, CHECK_INFO), "ready",
				   check_count(context, CHECK_ERROR) == 0, "left_out",
				   (int)context->left_out, "findings", findings_to_json(context),
				   "changes", request->changes);

	json_dumpf(report, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(report);
}

static void print_text(const struct check_context *context)
{
	unsigned int errors = check_count(context, CHECK_ERROR);

	for (enum check_severity severity = CHECK_ERROR; severity <= CHECK_INFO; severity++)
		for (unsigned int i = 0; i < context->count; i++) {
			const struct finding *finding = &context->findings[i];

			if (finding->severity != severity)
				continue;
			printf("%-8s %s  %s\n         %s\n", check_severity_name(severity),
			       finding->id, finding->subject, finding->text);
			if (finding->fix[0])
				printf("         %s %s\n",
				       finding->is_fixable ? "--fix does this:" : "to do:",
				       finding->fix);
		}
	printf("%u errors, %u warnings: %s for %s\n", errors, check_count(context, CHECK_WARNING),
	       errors ? "not ready" : "ready", check_target_name(context->target));
	if (context->left_out)
		printf("%u findings are not shown\n", context->left_out);
}

static int begin(struct check_context *context, const struct request *request, struct fault *fault)
{
	*context = (struct check_context){.target = request->target, .disks = request->disks};
	if (check_begin(context, request->root, fault) != 0)
		return -1;
	check_run(context);
	return 0;
}

/* Looks, mends if asked to, and then looks again. */
static int look(struct request *request, struct fault *fault)
{
	struct check_context context;
	int error = begin(&context, request, fault), result;

	if (!error && request->mode == MODE_FIX) {
		error = fix_apply(&context, request->state, tell_change, request, fault);
		check_fini(&context);
		if (!error)
			error = begin(&context, request, fault);
	}
	if (error)
		return EXIT_FAILURE;
	if (request->is_json)
		print_json(&context, request);
	else
		print_text(&context);
	if (!strcmp(request->root, "/") && verdict_write(request->state, &context) != 0)
		fprintf(stderr,
			"blkferry-agent: ignoring that %s cannot be written: the receiver is not "
			"told\n",
			request->state);
	result = check_count(&context, CHECK_ERROR) ? EXIT_NOT_READY : EXIT_SUCCESS;
	check_fini(&context);
	return result;
}

static int undo(struct request *request, struct fault *fault)
{
	struct check_root root;
	int error = root_open(request->root, &root, fault);

	if (error)
		return EXIT_FAILURE;
	error = fix_undo(&root, request->state, tell_change, request, fault);
	root_close(&root);
	if (!error && request->is_json) {
		json_dumpf(request->changes, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	return error ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run(struct request *request, const char *config)
{
	struct agent_options options = {0};
	struct fault fault = {.text = ""};
	int result;

	if (geteuid() != 0) {
		fputs("blkferry-agent: check has to read all of the system's files: run it as "
		      "root\n",
		      stderr);
		return EXIT_FAILURE;
	}
	/* A root elsewhere has disks of its own, and its own folder for what is kept. */
	request->disks = "auto";
	request->state = OPTIONS_STATE_FOLDER;
	if (!strcmp(request->root, "/")) {
		if (options_read(config, &options, &fault) < 0) {
			fprintf(stderr, "blkferry-agent: %s\n", fault.text);
			return EXIT_USAGE;
		}
		request->disks = options.disks;
		request->state = options.state_folder;
	}
	request->changes = json_array();
	result = request->mode == MODE_UNDO ? undo(request, &fault) : look(request, &fault);
	if (result == EXIT_FAILURE)
		fprintf(stderr, "blkferry-agent: %s\n", fault.text);
	json_decref(request->changes);
	options_fini(&options);
	return result;
}

/* Takes one option in; false when it is wrong. */
static bool take(struct request *request, int option, const char *argument)
{
	switch (option) {
	case 't':
		request->target = !strcmp(argument, "xen")   ? CHECK_TARGET_XEN
				  : !strcmp(argument, "kvm") ? CHECK_TARGET_KVM
							     : 0;
		return request->target != 0;
	case 'f':
	case 'u':
		if (request->mode != MODE_LOOK)
			return false;
		request->mode = option == 'f' ? MODE_FIX : MODE_UNDO;
		return true;
	case 'j':
		request->is_json = true;
		return true;
	case 'r':
		request->root = argument;
		return true;
	default:
		return false;
	}
}

int cli_check(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"target", required_argument, NULL, 't'}, {"fix", no_argument, NULL, 'f'},
		{"undo", no_argument, NULL, 'u'},	  {"json", no_argument, NULL, 'j'},
		{"root", required_argument, NULL, 'r'},	  {"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},	  {0},
	};
	struct request request = {.target = CHECK_TARGET_XEN, .mode = MODE_LOOK, .root = "/"};
	const char *config = OPTIONS_PATH;
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		}
		if (option == 'c') {
			config = optarg;
		} else if (!take(&request, option, optarg)) {
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return run(&request, config);
}
