/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-boot: does a machine start from a checkpoint? On a view of it the machine's test-start-command runs, and
 * its check-command again and again until it succeeds or time is up. Then all of it goes: the commands'
 * processes, test-stop-command run, the view with what was written to it.
 */
#ifndef BLKFERRY_RECEIVER_TEST_BOOT_H
#define BLKFERRY_RECEIVER_TEST_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "receiver/command.h"
#include "receiver/history.h"
#include "receiver/machine.h"

struct test_boot_options {
	const char *point;
	uint64_t timeout_ns; /* 0: the machine's test-timeout */
	/* Told each step; "" only asks. False ends the test: whoever waits for it has left. */
	bool (*tell)(void *context, const char *text);
	void *context;
};

struct test_boot_result {
	struct history_point point;
	uint64_t took_ns; /* from the start of the command to the check's success */
	unsigned int checks;
	char text[COMMAND_LINE_MAX]; /* the check-command's last line */
};

/* In the commands' environment:
 *   BLKFERRY_MACHINE, BLKFERRY_POINT (its number), BLKFERRY_POINT_TIME (seconds since 1970)
 *   BLKFERRY_FOLDER              empty, writable, removed at the end
 *   BLKFERRY_DISKS               how many
 *   BLKFERRY_DISKn_SOURCE, _SIZE, _URI, _SOCKET
 * 0 when the check-command succeeded. Faults: ETIME when it did not in time, or test-start-command failed; others
 * when the test could not be made. */
int test_boot_run(struct machines *machines, struct machine *machine,
		  const struct test_boot_options *options, struct test_boot_result *ret_result,
		  struct fault *fault);

#endif
