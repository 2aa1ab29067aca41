/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that tests run, and the texts that they are made of. Included once by each test program, by its fixture. */
#ifndef BLKFERRY_TESTS_COMMAND_FIXTURE_H
#define BLKFERRY_TESTS_COMMAND_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

__attribute__((format(printf, 1, 2))) static inline char *text_of(const char *format, ...)
{
	static char texts[8][1024];
	static unsigned int next;
	char *text = texts[next++ % 8];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(texts[0]), format, arguments);
	va_end(arguments);
	return text;
}

static inline int try_run(const char *command)
{
	int status = system(command);

	return status < 0 || !WIFEXITED(status) ? -1 : WEXITSTATUS(status);
}

static inline void run(const char *command)
{
	int status = try_run(command);

	if (status != 0)
		fail_msg("exit status %d: %s", status, command);
}

static inline bool is_installed(const char *command)
{
	return try_run(text_of("command -v %s >/dev/null", command)) == 0;
}

#endif
