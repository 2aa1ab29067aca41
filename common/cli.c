// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of subcommands; see cli.h. */
#include "common/cli.h"

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
