/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands of blkferry-agent, a file each. They return the process's exit status. */
#ifndef BLKFERRY_AGENT_CLI_H
#define BLKFERRY_AGENT_CLI_H

#include <stdbool.h>

/* argv[0] is the subcommand's name. */
int cli_run(int argc, char **argv);
int cli_disks(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_first_boot(int argc, char **argv);
int cli_enroll(int argc, char **argv);
int cli_forget(int argc, char **argv);
int cli_initramfs(int argc, char **argv);

struct agent_options;
struct fault;
/* initramfs.c: are the package's hooks installed? Has tracking begin with the system. */
bool cli_initramfs_is_installed(void);
int cli_initramfs_set_up(const struct agent_options *options, struct fault *fault);

#endif
