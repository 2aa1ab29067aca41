/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running the tools of others: losetup, blkid, mount. */
#ifndef BLKFERRY_RECEIVER_CLI_TOOL_H
#define BLKFERRY_RECEIVER_CLI_TOOL_H

#include <stddef.h>
#include <sys/types.h>

/* Runs argv (NULL at its end, found in PATH) and waits for it. Its output goes into ret_output, cut to size and
 * without the last line's end; NULL: to /dev/null. Its errors are shown unless is_quiet. Returns its exit status, or
 * -errno when it cannot be run. */
int tool_run(const char *const argv[], char *ret_output, size_t size, int is_quiet);
/* Starts it in a session of its own, without terminal. What it says on standard error can be read from
 * *ret_errors, which the caller closes; it does not wait for more. 0 or -errno. */
int tool_start(const char *const argv[], pid_t *ret_pid, int *ret_errors);

#endif
