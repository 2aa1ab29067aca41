/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parsers of process.c, for tests. */
#ifndef BLKFERRY_AGENT_LINUX_PROCESS_H
#define BLKFERRY_AGENT_LINUX_PROCESS_H

#include <stddef.h>
#include <stdint.h>

/* "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", hyphens ignored: 32 hex digits. 0 or -EINVAL. */
int process_parse_boot_id(const char *text, size_t size, uint8_t ret_id[16]);
/* The second number of /proc/self/statm, in pages. 0 or -EINVAL. */
int process_parse_statm(const char *text, size_t size, uint64_t *ret_pages);

#define HOOK_LINE_MAX 200

/* Keeps the last line of a hook's output that is not empty, control characters as '?'. */
struct hook_output {
	char line[HOOK_LINE_MAX], last[HOOK_LINE_MAX];
	size_t length;
};
void hook_output_feed(struct hook_output *output, const char *bytes, size_t size);
/* What to show: the unfinished line, or the last finished one; "" when there was no output. */
const char *hook_output_last(struct hook_output *output);

#endif
