/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The subcommands of a program, and shell completion out of their help texts.
 *
 * `PROGRAM --complete [WORD...]` is what the completions of bash, zsh and fish call: the WORDs are the command line so
 * far, without the program's name; the last one is being typed, and may be empty. Each line of the answer is a
 * candidate that begins with it, then, after a tab, what it means, if that is known; or CLI_FILES alone: the name of a
 * file is wanted.
 *
 * Nothing is said twice for it. What the help texts have to look like, and do:
 *
 *	usage: blkferry verify NAME [--repair] [--all]     what can stand where; NAME is a machine's
 *
 *	  --fence poweroff|halt|hold  an option, what it takes, and after two spaces what it means
 *	  --config FILE               FILE, DIR and PATH are names of files
 */
#ifndef BLKFERRY_COMMON_CLI_H
#define BLKFERRY_COMMON_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CLI_FILES ":files"

struct cli_command {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is the name; prints its help for --help */
	const char *help;		   /* one line */
};

struct cli_program {
	const char *name;
	const struct cli_command *commands;
	size_t command_count;
	void (*print_usage)(FILE *to);
	/* Tells the names of machines, one a line, as fast as can be; NULL: it knows none. words are the
	 * whole command line: --socket may be among them. */
	void (*print_names)(FILE *to, int word_count, char **words);
};

/* NULL when there is none of that name. */
const struct cli_command *cli_find(const struct cli_program *program, const char *name);
/* Lines of the table, for print_usage. */
void cli_print_commands(const struct cli_program *program, FILE *to);

/* Answers --complete on `to`. Without an answer nothing is printed: a completion never complains. */
void cli_complete(const struct cli_program *program, int word_count, char **words, FILE *to);

/* main() of a program that has no options of its own: runs a subcommand, or answers --help, --version and
 * --complete. Returns the exit status. */
int cli_main(const struct cli_program *program, int argc, char **argv);

/* The options of a subcommand that a service runs. */
struct cli_service {
	const char *config; /* --config; the default before */
	bool is_check;	    /* --check-config: say whether that is right, and end */
};
/* Returns -1, or the exit status with which to end: help was asked for, or the words are wrong. */
int cli_read_service(int argc, char **argv, const char *usage, struct cli_service *service);

#endif
