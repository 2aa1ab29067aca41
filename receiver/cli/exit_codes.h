/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The exit statuses of blkferry(1); the receiver names them in its errors. Never renumbered. */
#ifndef BLKFERRY_RECEIVER_CLI_EXIT_CODES_H
#define BLKFERRY_RECEIVER_CLI_EXIT_CODES_H

enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_FAILED = 1,	   /* it did not work; the message says what holds now */
	EXIT_CODE_USAGE = 2,	   /* the command line is wrong */
	EXIT_CODE_NO_RECEIVER = 3, /* the receiver cannot be reached, or may not be asked */
	EXIT_CODE_NO_MACHINE = 4,  /* there is no machine of that name */
	EXIT_CODE_NOT_READY = 5,   /* not now: not connected, not ready, paused, busy */
	EXIT_CODE_DIFFERS = 6,	   /* verify found differences */
	EXIT_CODE_UNFENCED = 7,	   /* committed, but the source has not said that it is fenced */
	EXIT_CODE_TEST_FAILED = 8, /* test-boot: the check-command did not succeed in time */
};

#endif
