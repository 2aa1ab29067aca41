/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a function prints on standard output, as text. */
#ifndef BLKFERRY_COMMON_OS_CAPTURE_H
#define BLKFERRY_COMMON_OS_CAPTURE_H

#include <stddef.h>

/* Runs function(argc, argv) in a process of its own, its standard error thrown away, and reads what it prints, at
 * most limit bytes. The caller frees *ret_text. 0 or -errno; the function's result does not matter. */
int os_capture_stdout(int (*function)(int argc, char **argv), int argc, char **argv, size_t limit,
		      char **ret_text);

#endif
