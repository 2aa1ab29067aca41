// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry remove`: forgets a machine and its replica. */
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/exit_codes.h"

static const char usage[] =
	"usage: blkferry remove NAME [--keep-data] [--yes]\n"
	"\n"
	"Ends the replication of NAME: its agent is told to stop tracking, its certificate is not\n"
	"accepted any more, and a replica that the receiver stores itself (target auto) is deleted.\n"
	"Targets that were named in receiver.ini stay as they are, and so do VM and disks in a\n"
	"pool, which are only detached.\n"
	"\n"
	"  --keep-data   keep the replica's file\n"
	"  --yes         do not ask (also implied when there is no terminal)\n";

static bool is_sure(const char *name, bool keeps_data)
{
	char answer[16] = "";

	if (!isatty(STDIN_FILENO))
		return true;
	printf("Remove %s%s? [y/N] ", name, keeps_data ? "" : " and delete its replica");
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

int cli_remove(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"keep-data", no_argument, NULL, 'k'},
		{"yes", no_argument, NULL, 'y'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	bool keeps_data = false, is_yes = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'k')
			keeps_data = true;
		else if (option == 'y')
			is_yes = true;
		else
			return cli_usage(usage, option);
	}
	if (argc - optind != 1)
		return cli_usage(usage, '?');
	if (!is_yes && !is_sure(argv[optind], keeps_data)) {
		puts("nothing was changed");
		return EXIT_CODE_FAILED;
	}
	return client_print(json_pack("{s:s, s:s, s:b}", "command", "remove", "machine",
				      argv[optind], "keep_data", keeps_data),
			    "text");
}
