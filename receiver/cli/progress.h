/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Long commands: what the receiver tells meanwhile, and one line of live progress, if standard error is a terminal. */
#ifndef BLKFERRY_RECEIVER_CLI_PROGRESS_H
#define BLKFERRY_RECEIVER_CLI_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>

struct progress {
	const char *name; /* the machine */
	bool is_drawn;	  /* its progress, meanwhile */
	bool is_json;
	void (*print_event)(const json_t *event, bool is_json);
	/* Returns the exit status. */
	int (*print_result)(const struct progress *progress, const json_t *result);
};

/* Asks (the reference is taken), prints events as they come, and the result or the error. Returns the exit status. */
int progress_follow(json_t *request, const struct progress *progress);

#endif
