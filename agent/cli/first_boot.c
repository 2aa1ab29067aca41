// SPDX-License-Identifier: GPL-2.0-or-later
/* blkferry-agent first-boot: what is to become of the network when this system starts on other hardware. */
#include "agent/cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/firstboot/firstboot.h"
#include "agent/options.h"

#define ROOT_STATE "/var/lib/blkferry-agent"

static const char usage[] =
	"usage: blkferry-agent first-boot --arm | --cancel | --apply\n"
	"                                 [--plan FILE] [--root DIR] [--config FILE]\n"
	"\n"
	"Carries changes of the network to the target. Before the cutover, --arm notes which card\n"
	"there is which card here, and the new addresses if there are any. When this system then\n"
	"starts on other hardware, blkferry-agent-first-boot.service applies that, once.\n"
	"\n"
	"  --arm          check the plan and arm\n"
	"  --cancel       disarm\n"
	"  --apply        what the service does: nothing on the machine that it was armed on\n"
	"  --plan FILE    default " NICMAP_PATH "\n"
	"  --root DIR     a system that is mounted there, instead of the running one\n"
	"  --config FILE  default " OPTIONS_PATH "\n";

struct request {
	int action; /* 'a', 'x' or 'p' */
	const char *plan, *root, *config, *state;
};

static void tell(void *context, const char *path, const char *what)
{
	printf("%s: %s\n", path, what);
}

static int act(const struct request *request, struct fault *fault)
{
	struct check_root root;
	int error = root_open(request->root, &root, fault);

	if (error)
		return error;
	if (request->action == 'a')
		error = firstboot_arm(&root, request->state, request->plan, tell, NULL, fault);
	else if (request->action == 'x')
		error = firstboot_cancel(&root, request->state, fault);
	else
		error = firstboot_apply(&root, request->state, tell, NULL, fault);
	root_close(&root);
	return error;
}

static int run(struct request *request)
{
	struct agent_options options = {0};
	struct fault fault = {.text = ""};
	int error;

	request->state = ROOT_STATE;
	if (!strcmp(request->root, "/")) {
		if (options_read(request->config, &options, &fault) < 0) {
			fprintf(stderr, "blkferry-agent: %s\n", fault.text);
			return 2;
		}
		request->state = options.state_folder;
	}
	error = act(request, &fault);
	if (error)
		fprintf(stderr, "blkferry-agent: %s\n", fault.text);
	options_fini(&options);
	return error ? EXIT_FAILURE : EXIT_SUCCESS;
}

int cli_first_boot(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"arm", no_argument, NULL, 'a'},	{"cancel", no_argument, NULL, 'x'},
		{"apply", no_argument, NULL, 'p'},	{"plan", required_argument, NULL, 'f'},
		{"root", required_argument, NULL, 'r'}, {"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},	{0},
	};
	struct request request = {.plan = NICMAP_PATH, .root = "/", .config = OPTIONS_PATH};
	bool is_wrong = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		}
		if (option == 'f') {
			request.plan = optarg;
		} else if (option == 'r') {
			request.root = optarg;
		} else if (option == 'c') {
			request.config = optarg;
		} else {
			is_wrong = is_wrong || option == '?' || request.action != 0;
			request.action = option;
		}
	}
	if (is_wrong || !request.action || optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	return run(&request);
}
