/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that relies on the order of its writes: it appends record N to log A and fsyncs it, then record N to log
 * B and fsyncs it, then says N and the wall clock (ns since 1970, a line on standard output), and so on. After a power cut at any moment log A holds
 * as many records as B or one more, whole and in their order, and all that were said.
 *
 * Usage: counters run A B [SECONDS]      until SIGTERM, or for so long
 *        counters check A B [AT_LEAST]   prints "A=N B=N"; exit status 1 when that is not so
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RECORD_BYTES                                                                               \
	1536u /* not a whole number of blocks: the last block is written again and again */

static volatile sig_atomic_t is_ending;

static void end_soon(int number)
{
	(void)number;
	is_ending = 1;
}

static void fill(uint8_t *record, uint64_t number)
{
	uint64_t state = number * 0x9e3779b97f4a7c15ull;

	memcpy(record, &number, sizeof(number));
	for (unsigned int i = sizeof(number); i < RECORD_BYTES; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		record[i] = (uint8_t)(state >> 56);
	}
}

static void append(int fd, const char *path, uint64_t number)
{
	uint8_t record[RECORD_BYTES];

	fill(record, number);
	if (pwrite(fd, record, sizeof(record), (off_t)((number - 1) * RECORD_BYTES)) !=
		    (ssize_t)sizeof(record) ||
	    fsync(fd) != 0)
		err(2, "%s", path);
}

static int open_log(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		err(2, "%s", path);
	return fd;
}

static int run(char **paths, unsigned int seconds)
{
	struct sigaction action = {.sa_handler = end_soon};
	int a = open_log(paths[0], O_RDWR | O_CREAT | O_TRUNC);
	int b = open_log(paths[1], O_RDWR | O_CREAT | O_TRUNC);
	time_t end = time(NULL) + (time_t)seconds;
	struct timespec now;

	sigaction(SIGTERM, &action, NULL);
	for (uint64_t number = 1; !is_ending && (!seconds || time(NULL) < end); number++) {
		append(a, paths[0], number);
		append(b, paths[1], number);
		clock_gettime(CLOCK_REALTIME, &now);
		printf("%" PRIu64 " %lld%09ld\n", number, (long long)now.tv_sec, now.tv_nsec);
		fflush(stdout);
	}
	return 0;
}

/* How many whole records from the first on. */
static int64_t count(const char *path)
{
	uint8_t record[RECORD_BYTES], expected[RECORD_BYTES];
	int fd = open_log(path, O_RDONLY);
	int64_t records = 0;

	while (pread(fd, record, sizeof(record), records * RECORD_BYTES) ==
	       (ssize_t)sizeof(record)) {
		fill(expected, (uint64_t)records + 1);
		if (memcmp(record, expected, sizeof(record)) != 0)
			break;
		records++;
	}
	close(fd);
	return records;
}

static int check(char **paths, int64_t at_least)
{
	int64_t a = count(paths[0]), b = count(paths[1]);

	printf("A=%" PRId64 " B=%" PRId64 "\n", a, b);
	if (a != b && a != b + 1) {
		printf("log A must hold as many records as log B, or one more\n");
		return 1;
	}
	if (b < at_least) {
		printf("%" PRId64 " were promised\n", at_least);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long number = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;

	if (argc >= 4 && argc <= 5 && strcmp(argv[1], "run") == 0)
		return run(argv + 2, (unsigned int)number);
	if (argc >= 4 && argc <= 5 && strcmp(argv[1], "check") == 0)
		return check(argv + 2, (int64_t)number);
	errx(2, "usage: counters run|check A B [SECONDS|AT_LEAST]");
}
