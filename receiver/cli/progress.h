/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line of live progress while a long command runs; nothing when standard error is no terminal. */
#ifndef BLKFERRY_RECEIVER_CLI_PROGRESS_H
#define BLKFERRY_RECEIVER_CLI_PROGRESS_H

/* Asks for the machine's status and redraws the line. */
void progress_show(const char *name);
/* Wipes the line before something else is printed. */
void progress_clear(void);

#endif
