// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program that relies on its disk, for the demo and the tests, and the check of what it wrote.
 *
 *   FOLDER/records   records of 512 bytes, appended and fsynced one by one, numbered from 1
 *   FOLDER/rewrites  blocks of 4096 bytes, all written once at the start and then again and again in
 *                    random order; each says which block it is
 *
 * After each fsync the record's number goes to a progress file, which lies outside the replicated file
 * system: what stands there was acknowledged to a "user" and has to be found on the replica. While the
 * file system is frozen the writer just blocks, as any program does.
 *
 * A record or block: number, generation, bytes that depend on both, XXH3-64 of all before. Numbers are in
 * the machine's byte order: the check runs on the machine that wrote.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <xxhash.h>

#define NS_PER_SECOND	   1000000000ull
#define RECORD_BYTES	   512u
#define BLOCK_BYTES	   4096u
#define BLOCKS_AT_ONCE_MAX 16u /* one rewrite is 4 to 64 KiB */

struct stamp {
	uint64_t number, generation;
};

struct options {
	const char *folder;
	const char *progress;
	uint64_t records_per_s; /* 0: as fast as fsync goes */
	uint64_t rewrite_mib;	/* size of the rewritten file */
	double rewrite_mib_per_s;
};

static atomic_bool is_stopping;

static void stop(int signal)
{
	atomic_store(&is_stopping, true);
}

/* One half of the filling does not compress, the other does, as in real files. */
static void stamp_fill(uint8_t *data, size_t size, uint64_t number, uint64_t generation)
{
	struct stamp stamp = {.number = number, .generation = generation};
	uint64_t seed = XXH3_64bits(&stamp, sizeof(stamp)), check;
	size_t at = sizeof(stamp);

	memcpy(data, &stamp, sizeof(stamp));
	for (; at < size / 2; at += sizeof(seed)) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		memcpy(data + at, &seed, sizeof(seed));
	}
	memset(data + at, (int)(seed & 0xff), size - at);
	check = XXH3_64bits(data, size - sizeof(check));
	memcpy(data + size - sizeof(check), &check, sizeof(check));
}

/* Is it whole, and is it this number? */
static bool stamp_is_intact(const uint8_t *data, size_t size, uint64_t number)
{
	struct stamp stamp;
	uint64_t check;

	memcpy(&stamp, data, sizeof(stamp));
	memcpy(&check, data + size - sizeof(check), sizeof(check));
	return stamp.number == number && check == XXH3_64bits(data, size - sizeof(check));
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* Keeps a loop at its rate: sleeps until *next, then moves it on. After a freeze it does not try to
 * make up for what it could not do meanwhile. */
static void pace(uint64_t *next, uint64_t interval_ns)
{
	uint64_t now = now_ns();

	if (*next > now) {
		uint64_t wait_ns = *next - now;
		struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_SECOND),
					.tv_nsec = (long)(wait_ns % NS_PER_SECOND)};

		nanosleep(&wait, NULL);
	} else {
		*next = now;
	}
	*next += interval_ns;
}

static void fail(const char *what, const char *path)
{
	fprintf(stderr, "writer: %s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

/* Never fails but where O_RDONLY finds no file: -1. */
static int open_in(const char *folder, const char *name, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, flags | O_CLOEXEC, 0644);
	if (fd < 0 && !(errno == ENOENT && flags == O_RDONLY))
		fail("cannot open", path);
	return fd;
}

static void write_all(int fd, const void *data, size_t size, uint64_t offset, const char *what)
{
	if (pwrite(fd, data, size, (off_t)offset) != (ssize_t)size)
		fail("cannot write", what);
}

static void *run_records(void *argument)
{
	const struct options *options = argument;
	int fd = open_in(options->folder, "records", O_WRONLY | O_CREAT | O_TRUNC);
	int progress = open(options->progress, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	uint64_t next = now_ns();
	uint8_t record[RECORD_BYTES];
	char text[32];

	if (progress < 0)
		fail("cannot open", options->progress);
	for (uint64_t number = 1; !atomic_load(&is_stopping); number++) {
		stamp_fill(record, sizeof(record), number, 0);
		write_all(fd, record, sizeof(record), (number - 1) * RECORD_BYTES, "records");
		if (fsync(fd) != 0)
			fail("cannot fsync", "records");
		/* Of constant length and in one call, so that a reader sees one number or the next. */
		snprintf(text, sizeof(text), "%020" PRIu64 "\n", number);
		write_all(progress, text, strlen(text), 0, options->progress);
		if (options->records_per_s > 0)
			pace(&next, NS_PER_SECOND / options->records_per_s);
	}
	close(progress);
	close(fd);
	return NULL;
}

static void *run_rewrites(void *argument)
{
	const struct options *options = argument;
	int fd = open_in(options->folder, "rewrites", O_WRONLY | O_CREAT | O_TRUNC);
	uint64_t blocks = options->rewrite_mib * (1024 * 1024 / BLOCK_BYTES);
	uint64_t next, since_sync = 0;
	static uint8_t data[BLOCKS_AT_ONCE_MAX * BLOCK_BYTES];

	/* Written, not fallocated: a replica that copies allocated blocks has to copy these. */
	for (uint64_t block = 0; block < blocks; block++) {
		stamp_fill(data, BLOCK_BYTES, block, 0);
		write_all(fd, data, BLOCK_BYTES, block * BLOCK_BYTES, "rewrites");
	}
	if (fsync(fd) != 0)
		fail("cannot fsync", "rewrites");
	srand48((long)getpid());
	next = now_ns();
	for (uint64_t generation = 1; !atomic_load(&is_stopping); generation++) {
		uint64_t count = 1 + (uint64_t)lrand48() % BLOCKS_AT_ONCE_MAX;
		uint64_t first = (uint64_t)lrand48() % (blocks - BLOCKS_AT_ONCE_MAX);
		double seconds =
			(double)(count * BLOCK_BYTES) / (options->rewrite_mib_per_s * 1024 * 1024);

		for (uint64_t i = 0; i < count; i++)
			stamp_fill(data + i * BLOCK_BYTES, BLOCK_BYTES, first + i, generation);
		write_all(fd, data, count * BLOCK_BYTES, first * BLOCK_BYTES, "rewrites");
		/* Else the page cache would take it all and the disk see little of it. */
		since_sync += count;
		if (since_sync >= blocks / 64) {
			if (fdatasync(fd) != 0)
				fail("cannot fdatasync", "rewrites");
			since_sync = 0;
		}
		pace(&next, (uint64_t)(seconds * (double)NS_PER_SECOND));
	}
	close(fd);
	return NULL;
}

static int run(struct options *options)
{
	struct sigaction action = {.sa_handler = stop};
	pthread_t rewriter;

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	if (options->rewrite_mib > 0 && options->rewrite_mib_per_s > 0 &&
	    pthread_create(&rewriter, NULL, run_rewrites, options) != 0)
		fail("cannot start", "a thread");
	run_records(options);
	/* The rewriter may sit in a write to a frozen file system: the process ends without it. */
	return 0;
}

/* How many of a file's items, numbered from first, are intact from the start on; ret_items is how
 * many whole ones it has. */
static uint64_t count_intact(const char *folder, const char *name, size_t size, uint64_t first,
			     uint64_t *ret_items)
{
	int fd = open_in(folder, name, O_RDONLY);
	uint8_t data[BLOCK_BYTES];
	uint64_t intact = 0;
	off_t end;

	*ret_items = 0;
	if (fd < 0) /* never written */
		return 0;
	end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		fail("cannot read", name);
	*ret_items = (uint64_t)end / size;
	while (intact < *ret_items &&
	       pread(fd, data, size, (off_t)(intact * size)) == (ssize_t)size &&
	       stamp_is_intact(data, size, first + intact))
		intact++;
	close(fd);
	return intact;
}

static int check(const char *folder, uint64_t at_least)
{
	uint64_t items, last, blocks = 0;

	last = count_intact(folder, "records", RECORD_BYTES, 1, &items);
	/* A power cut may tear the record that was being written, never one before it. */
	if (items > last + 1) {
		fprintf(stderr, "writer: record %" PRIu64 " of %" PRIu64 " is not intact\n",
			last + 1, items);
		return 1;
	}
	if (last < at_least) {
		fprintf(stderr,
			"writer: record %" PRIu64
			" was acknowledged, but the last one here is %" PRIu64 "\n",
			at_least, last);
		return 1;
	}
	blocks = count_intact(folder, "rewrites", BLOCK_BYTES, 0, &items);
	if (blocks < items) {
		fprintf(stderr, "writer: rewritten block %" PRIu64 " is not intact\n", blocks);
		return 1;
	}
	printf("last=%" PRIu64 " blocks=%" PRIu64 "\n", last, blocks);
	return 0;
}

static const char help[] =
	"usage: writer run FOLDER --progress FILE [--records-per-s N] [--rewrite-mib N]\n"
	"                  [--rewrite-mib-per-s N]\n"
	"       writer check FOLDER [--at-least N]\n"
	"run:   until SIGTERM or SIGINT appends fsynced records to FOLDER/records (default 200 a\n"
	"       second, 0: no limit) and rewrites FOLDER/rewrites (default 64 MiB, at 10 MiB/s; 0: "
	"not\n"
	"       at all); the last fsynced record's number stands in the progress file\n"
	"check: are all records and blocks there and intact? Prints \"last=N blocks=M\"\n";

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{"progress", required_argument, NULL, 'p'},
		{"records-per-s", required_argument, NULL, 'r'},
		{"rewrite-mib", required_argument, NULL, 'm'},
		{"rewrite-mib-per-s", required_argument, NULL, 's'},
		{"at-least", required_argument, NULL, 'a'},
		{NULL, 0, NULL, 0},
	};
	struct options options = {.records_per_s = 200, .rewrite_mib = 64, .rewrite_mib_per_s = 10};
	uint64_t at_least = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 'p':
			options.progress = optarg;
			break;
		case 'r':
			options.records_per_s = strtoull(optarg, NULL, 10);
			break;
		case 'm':
			options.rewrite_mib = strtoull(optarg, NULL, 10);
			break;
		case 's':
			options.rewrite_mib_per_s = strtod(optarg, NULL);
			break;
		case 'a':
			at_least = strtoull(optarg, NULL, 10);
			break;
		default:
			fputs(help, stderr);
			return 2;
		}
	}
	if (argc - optind == 2) {
		options.folder = argv[optind + 1];
		if (strcmp(argv[optind], "run") == 0 && options.progress != NULL)
			return run(&options);
		if (strcmp(argv[optind], "check") == 0)
			return check(options.folder, at_least);
	}
	fputs(help, stderr);
	return 2;
}
