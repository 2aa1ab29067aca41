// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of subcommands, and what daemons' programs have in common; see cli.h. */
#include "common/cli.h"

#include <getopt.h>
#include <string.h>

const struct cli_command *cli_find(const struct cli_program *program, const char *name)
{
	for (size_t i = 0; i < program->command_count; i++)
		if (strcmp(program->commands[i].name, name) == 0)
			return &program->commands[i];
	return NULL;
}

void cli_print_commands(const struct cli_program *program, FILE *to)
{
	for (size_t i = 0; i < program->command_count; i++)
		fprintf(to, "  %-10s %s\n", program->commands[i].name, program->commands[i].help);
}

int cli_main(const struct cli_program *program, int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	const struct cli_command *command = cli_find(program, word);

	if (command)
		return command->run(argc - 1, argv + 1);
	if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
		program->print_usage(stdout);
		return 0;
	}
	if (!strcmp(word, "--version")) {
		printf("%s " BLKFERRY_VERSION "\n", program->name);
		return 0;
	}
	if (!strcmp(word, "--complete")) {
		cli_complete(program, argc - 2, argv + 2, stdout);
		return 0;
	}
	if (argc > 1)
		fprintf(stderr, "%s: there is no command '%s'\n", program->name, word);
	program->print_usage(stderr);
	return 2;
}

int cli_read_service(int argc, char **argv, const char *usage, struct cli_service *service)
{
	static const struct option long_options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, 'k'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == 'c') {
			service->config = optarg;
		} else if (option == 'k') {
			service->is_check = true;
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (optind == argc)
		return -1;
	fputs(usage, stderr);
	return 2;
}
