// SPDX-License-Identifier: GPL-2.0-or-later
/* blkferry-agent first-boot: what is to become of the network when this system starts on other hardware. */
#include "agent/cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/firstboot/firstboot.h"
#include "agent/options.h"

/* Whatever agent.ini says: the unit looks for the file here, without reading that. */
#define STATE_FOLDER OPTIONS_STATE_FOLDER

static const char usage[] =
	"usage: blkferry-agent first-boot --arm | --cancel | --apply\n"
	"                                 [--plan FILE] [--root DIR]\n"
	"\n"
	"Carries changes of the network to the target. Before the cutover, --arm notes which card\n"
	"there is which card here, and the new addresses if there are any. When this system then\n"
	"starts on other hardware, blkferry-agent-first-boot.service applies that, once.\n"
	"\n"
	"  --arm          check the plan and arm\n"
	"  --cancel       disarm\n"
	"  --apply        what the service does: nothing on the machine that it was armed on\n"
	"  --plan FILE    default " NICMAP_PATH "\n"
	"  --root DIR     a system that is mounted there, instead of the running one\n";

struct request {
	int action; /* 'a', 'x' or 'p' */
	const char *plan, *root;
};

static void tell(void *context, const char *path, const char *what)
{
	printf("%s: %s\n", path, what);
}

static int run(const struct request *request)
{
	struct fault fault = {.text = ""};
	struct check_root root;
	int error = root_open(request->root, &root, &fault);

	if (error) {
		fprintf(stderr, "blkferry-agent: %s\n", fault.text);
		return EXIT_FAILURE;
	}
	if (request->action == 'a')
		error = firstboot_arm(&root, STATE_FOLDER, request->plan, tell, NULL, &fault);
	else if (request->action == 'x')
		error = firstboot_cancel(&root, STATE_FOLDER, &fault);
	else
		error = firstboot_apply(&root, STATE_FOLDER, tell, NULL, &fault);
	root_close(&root);
	if (error)
		fprintf(stderr, "blkferry-agent: %s\n", fault.text);
	return error ? EXIT_FAILURE : EXIT_SUCCESS;
}

int cli_first_boot(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"arm", no_argument, NULL, 'a'},
		{"cancel", no_argument, NULL, 'x'},
		{"apply", no_argument, NULL, 'p'},
		{"plan", required_argument, NULL, 'f'},
		{"root", required_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct request request = {.plan = NICMAP_PATH, .root = "/"};
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
