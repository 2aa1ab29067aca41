// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry-agent initramfs`: has tracking begin with the system, before its file systems are there. */
#include "agent/cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/linux/check/initramfs.h"
#include "agent/linux/check/kernels.h"
#include "agent/options.h"
#include "agent/platform.h"

static const char usage[] =
	"usage: blkferry-agent initramfs [--config FILE] [--no-build | --plan | --remove]\n"
	"\n"
	"Has tracking begin with the system: then a restart in order needs no comparison of the "
	"disks\n"
	"with the replica. Makes the file in which a stop is recorded, notes where on the disk it\n"
	"lies, and builds the initramfs of each kernel again, with that and a small program in "
	"it.\n"
	"\n"
	"  --config FILE  default " OPTIONS_PATH "\n"
	"  --no-build     all but building the initramfs\n"
	"  --plan         print the path of the note, and do nothing\n"
	"  --remove       take it all away again\n";

enum action { ACTION_ALL = 1, ACTION_NO_BUILD, ACTION_PLAN, ACTION_REMOVE };

/* Each image is its kernel's only way to start: one that cannot be built stays as it is. */
static int build_all(struct fault *fault)
{
	struct check_root root;
	struct kernels kernels;
	unsigned int built = 0;
	int error = root_open("/", &root, fault);

	if (error)
		return error;
	kernels_find(&root, &kernels);
	for (unsigned int i = 0; i < kernels.count && !error; i++) {
		const struct kernel *kernel = &kernels.list[i];

		if (kernel->is_rescue || !kernel->initramfs[0])
			continue;
		printf("building %s\n", kernel->initramfs);
		fflush(stdout);
		error = initramfs_build(&root, kernel, fault);
		built++;
	}
	if (!error && built == 0)
		error = fault_set(fault, FAULT_STOP, ENOENT, "no kernel here has an initramfs");
	kernels_fini(&kernels);
	root_close(&root);
	return error;
}

/* Do the hooks of the package lie where the builders find them? */
bool cli_initramfs_is_installed(void)
{
	return access("/usr/share/initramfs-tools/hooks/blkferry", X_OK) == 0 ||
	       access("/etc/initramfs-tools/hooks/blkferry", X_OK) == 0 ||
	       access("/usr/lib/dracut/modules.d/50blkferry/module-setup.sh", R_OK) == 0;
}

int cli_initramfs_set_up(const struct agent_options *options, struct fault *fault)
{
	int error = handover_prepare(options, fault);

	if (!error)
		error = build_all(fault);
	if (!error)
		puts("tracking begins with the system from now on: a restart in order needs no "
		     "comparison");
	return error;
}

static int act(const struct agent_options *options, enum action action, struct fault *fault)
{
	char path[512];
	int error = 0;

	switch (action) {
	case ACTION_PLAN:
		error = handover_plan_path(options, path, sizeof(path), fault);
		if (!error)
			puts(path);
		return error;
	case ACTION_REMOVE:
		error = handover_remove(options, fault);
		if (!error && cli_initramfs_is_installed())
			error = build_all(fault);
		return error;
	case ACTION_NO_BUILD:
		return handover_prepare(options, fault);
	case ACTION_ALL:
		break;
	}
	if (!cli_initramfs_is_installed())
		return fault_set(fault, FAULT_STOP, ENOENT,
				 "neither initramfs-tools' hook nor dracut's module of blkferry is "
				 "installed");
	return cli_initramfs_set_up(options, fault);
}

int cli_initramfs(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"config", required_argument, NULL, 'c'}, {"no-build", no_argument, NULL, 'n'},
		{"plan", no_argument, NULL, 'p'},	  {"remove", no_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},	  {0},
	};
	const char *path = OPTIONS_PATH;
	struct agent_options options;
	enum action action = ACTION_ALL;
	struct fault fault = {0};
	int option, error;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'c') {
			path = optarg;
		} else if (option == 'n') {
			action = ACTION_NO_BUILD;
		} else if (option == 'p') {
			action = ACTION_PLAN;
		} else if (option == 'r') {
			action = ACTION_REMOVE;
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	error = options_read(path, &options, &fault);
	if (!error) {
		error = act(&options, action, &fault);
		options_fini(&options);
	}
	if (error)
		fprintf(stderr, "blkferry-agent: %s\n", fault.text);
	return error ? 1 : 0;
}
