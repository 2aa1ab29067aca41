/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands of blkferry-receiver that are files of their own. */
#ifndef BLKFERRY_RECEIVER_CLI_H
#define BLKFERRY_RECEIVER_CLI_H

/* argv[0] is the subcommand's name. Returns the exit status. */
int cli_init(int argc, char **argv);

#endif
