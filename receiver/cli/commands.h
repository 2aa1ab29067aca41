/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands of blkferry, a file each. argv[0] is the subcommand's name; they return the exit
 * status (exit_codes.h). */
#ifndef BLKFERRY_RECEIVER_CLI_COMMANDS_H
#define BLKFERRY_RECEIVER_CLI_COMMANDS_H

#include <stdio.h>

int cli_status(int argc, char **argv);
int cli_token(int argc, char **argv);
int cli_order(int argc, char **argv); /* pause, resume, limit */
int cli_verify(int argc, char **argv);
int cli_cutover(int argc, char **argv);
int cli_points(int argc, char **argv);
int cli_checkpoint(int argc, char **argv);
int cli_rollback(int argc, char **argv);
int cli_remove(int argc, char **argv);
int cli_view(int argc, char **argv);
int cli_test_boot(int argc, char **argv);
int cli_xcp(int argc, char **argv);

/* The names of the receiver's machines, for completion; nothing when it does not answer at once. words
 * may have a --socket in it. */
void cli_print_names(FILE *to, int word_count, char **words);

/* Prints usage on the right stream and returns the exit status for --help or a wrong option. */
int cli_usage(const char *usage, int option);

#endif
