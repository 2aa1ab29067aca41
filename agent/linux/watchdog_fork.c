/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A fork that leaves large private mappings out. */
#include "agent/linux/watchdog_fork.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/linux/sysfs.h"

#define MAPS_MAX      (1u << 20)
#define MAPS_LINE_MAX 512

/* The sanitizers keep their own books in large mappings, and hook fork. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

static bool parse_hex(const char **text, char end, size_t *ret_number)
{
	char *rest;
	unsigned long long number;

	if (!isxdigit((unsigned char)**text))
		return false;
	errno = 0;
	number = strtoull(*text, &rest, 16);
	if (errno || *rest != end || number > SIZE_MAX)
		return false;
	*text = rest + 1;
	*ret_number = (size_t)number;
	return true;
}

/* "55d0c0e00000-55d0c6e21000 rw-p 00000000 00:00 0    [heap]" */
static void parse_line(const char *line, size_t except, struct fork_regions *regions)
{
	static const char anonymous[] = "rw-p 00000000 00:00 0";
	size_t start, end;

	if (!parse_hex(&line, '-', &start) || !parse_hex(&line, ' ', &end) || end <= start ||
	    end - start < FORK_REGION_BYTES || (except >= start && except < end) ||
	    strncmp(line, anonymous, strlen(anonymous)) != 0 || strstr(line, "[stack]") ||
	    regions->count == FORK_REGIONS_MAX)
		return;
	regions->regions[regions->count].start = start;
	regions->regions[regions->count].length = end - start;
	regions->count++;
}

void watchdog_fork_parse(const char *text, size_t size, size_t except,
			 struct fork_regions *ret_regions)
{
	ret_regions->count = 0;
	while (size > 0) {
		const char *newline = memchr(text, '\n', size);
		size_t length = newline ? (size_t)(newline - text) : size;
		char line[MAPS_LINE_MAX];

		if (length < sizeof(line)) {
			memcpy(line, text, length);
			line[length] = '\0';
			parse_line(line, except, ret_regions);
		}
		length += newline != NULL;
		text += length;
		size -= length;
	}
}

static void advise(const struct fork_regions *regions, int advice)
{
	/* A mapping that was unmapped meanwhile is none to be left out: ignoring failure. */
	for (unsigned int i = 0; i < regions->count; i++)
		(void)madvise((void *)regions->regions[i].start, regions->regions[i].length,
			      advice);
}

pid_t watchdog_fork(void)
{
	struct fork_regions regions = {.count = 0};
	char *text;
	size_t size;
	pid_t pid;
	int error;

	if (IS_SANITIZED)
		return fork();
	if (sysfs_read_table("/proc/self/maps", MAPS_MAX, &text, &size) == 0) {
		watchdog_fork_parse(text, size, (size_t)&regions, &regions);
		free(text);
	}
	advise(&regions, MADV_DONTFORK);
	/* Not fork(): glibc's puts the heap in order for the child, which has none. */
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		return 0;
	error = errno;
	advise(&regions, MADV_DOFORK);
	errno = error;
	return pid;
}
