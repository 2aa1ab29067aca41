// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry-receiver init`: makes the state folder and the CA; see init.h. */
#include "receiver/init.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/os_file.h"
#include "common/pki.h"
#include "receiver/cli.h"
#include "receiver/options.h"

#define DEFAULT_DAYS 7300 /* the CA's end is everybody's end */
#define FOLDER_MODE  0700

static const char usage[] =
	"usage: blkferry-receiver init [--state DIR] [--days N]\n"
	"\n"
	"Makes the receiver's state folder with its own certificate authority, once. Run it as the user\n"
	"that the service runs as: runuser -u blkferry -- blkferry-receiver init\n"
	"\n"
	"  --state DIR  default " OPTIONS_STATE_FOLDER "\n"
	"  --days N     how long the CA and the receiver's certificate last (default: 20 years);\n"
	"               after that every machine has to enroll anew\n";

static int make_folder(const char *state_folder, const char *name, struct fault *fault)
{
	char path[PATH_MAX];
	int error = -ENAMETOOLONG;

	if (snprintf(path, sizeof(path), "%s/%s", state_folder, name) < PATH_MAX)
		error = os_folder_make(path, FOLDER_MODE);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "cannot make %s/%s: %s", state_folder,
				 name, strerror(-error));
	return 0;
}

int receiver_init(const char *state_folder, unsigned int days, struct fault *fault)
{
	char host[HOST_NAME_MAX + 1] = "";
	int error;

	(void)gethostname(host, sizeof(host) - 1); /* ignoring: it is for people, "" will do */
	error = pki_init(state_folder, host, days, fault);
	if (!error)
		error = make_folder(state_folder, "tokens", fault);
	if (!error)
		error = make_folder(state_folder, "machines", fault);
	return error;
}

static int run(const char *state_folder, unsigned int days)
{
	struct fault fault = {0};

	if (receiver_init(state_folder, days, &fault)) {
		fprintf(stderr, "blkferry-receiver: %s\n", fault.text);
		return 1;
	}
	printf("made in %s:\n"
	       "  ca.pem, ca.key              this receiver's certificate authority: back it up, "
	       "and\n"
	       "                              keep ca.key secret\n"
	       "  receiver.pem, receiver.key  what it shows to agents\n"
	       "They last %u days. Next: 'systemctl enable --now blkferry-receiver', then "
	       "'blkferry token NAME'\n"
	       "for each machine that is to be replicated.\n",
	       state_folder, days);
	return 0;
}

int cli_init(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"state", required_argument, NULL, 's'},
		{"days", required_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	const char *state_folder = OPTIONS_STATE_FOLDER;
	unsigned long days = DEFAULT_DAYS;
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		char *end = NULL;

		if (option == 's') {
			state_folder = optarg;
			continue;
		}
		if (option == 'd') {
			days = strtoul(optarg, &end, 10);
			if (*optarg >= '0' && *optarg <= '9' && *end == '\0' && days > 0 &&
			    days <= PKI_DAYS_MAX)
				continue;
			fprintf(stderr, "blkferry-receiver: --days takes 1 to %d, not '%s'\n",
				PKI_DAYS_MAX, optarg);
			return 2;
		}
		fputs(usage, option == 'h' ? stdout : stderr);
		return option == 'h' ? 0 : 2;
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	return run(state_folder, (unsigned int)days);
}
