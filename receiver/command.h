/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands that receiver.ini names: run by /bin/sh in a process group of their own, with an environment
 * that holds PATH and what is added here. What they print is read; the last line is kept for messages.
 */
#ifndef BLKFERRY_RECEIVER_COMMAND_H
#define BLKFERRY_RECEIVER_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/wire.h"

#define COMMAND_VARIABLES_MAX (16 + 4 * WIRE_DISKS_MAX)
#define COMMAND_LINE_MAX      200

struct command_environment {
	char *list[COMMAND_VARIABLES_MAX + 1];
	unsigned int count;
};

struct command {
	pid_t pid; /* its process group, too; 0: none */
	int output;
	bool has_ended, was_signalled, is_reaped, ends_line;
	int status; /* when it has ended: its exit status, or the signal */
	unsigned int line_length;
	char line[COMMAND_LINE_MAX]; /* the last one that it printed */
};

void command_environment_init(struct command_environment *environment);
/* "NAME=value" */
void command_environment_add(struct command_environment *environment, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void command_environment_fini(struct command_environment *environment);

/* 0 or -errno. */
int command_start(struct command *ret_command, const char *text,
		  const struct command_environment *environment);
/* Reads what it prints, for at most wait_ns; returns early when it has ended (has_ended). A process that
 * it left in the background does not count as it, even if it holds the output open. */
void command_watch(struct command *command, uint64_t wait_ns);
/* Ends what is left of it: TERM to its process group, KILL to what is still there after grace_ns (0: KILL at
 * once). Frees what it holds; a command that never started is fine. */
void command_end(struct command *command, uint64_t grace_ns);
/* Frees what is held of one that has ended; what it left in the background goes on. */
void command_forget(struct command *command);
/* Did it end by itself with status 0? */
bool command_is_success(const struct command *command);
/* "exit status 3: last line", "signal 9: it said nothing" */
void command_describe(const struct command *command, char *ret_text, size_t size);

#endif
