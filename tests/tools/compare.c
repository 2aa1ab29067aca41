// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Compares two disks or files byte by byte. It shares nothing with the code under test: its word is the
 * proof. Reads are O_DIRECT where that can be had, since a block device's page cache is not the
 * disk. Exit status: 0 the same, 1 different, 2 cannot tell.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES (1024u * 1024u)
#define BLOCK_BYTES 4096u /* differences are told in these */
#define LINES_MAX   20u

struct side {
	const char *path;
	int fd;
	uint64_t size_bytes;
	uint8_t *buffer;
};

struct difference {
	uint64_t start, end; /* the range that is being collected; empty when end is 0 */
	uint64_t ranges, bytes;
	bool is_all_told;
};

static int open_side(struct side *side, const char *path)
{
	off_t end;

	side->path = path;
	side->fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (side->fd < 0 && errno == EINVAL) /* for example tmpfs before 6.6 */
		side->fd = open(path, O_RDONLY | O_CLOEXEC);
	end = side->fd < 0 ? -1 : lseek(side->fd, 0, SEEK_END);
	if (end < 0) {
		fprintf(stderr, "compare: %s: %s\n", path, strerror(errno));
		return -1;
	}
	side->size_bytes = (uint64_t)end;
	side->buffer = aligned_alloc(BLOCK_BYTES, CHUNK_BYTES);
	return side->buffer == NULL ? -1 : 0;
}

/* Fills the buffer from offset; the length asked for is always whole (O_DIRECT), less may come back. */
static int read_side(struct side *side, uint64_t offset, uint64_t want)
{
	uint64_t got = 0;

	while (got < want) {
		ssize_t n = pread(side->fd, side->buffer + got, CHUNK_BYTES - got,
				  (off_t)(offset + got));

		if (n <= 0) {
			fprintf(stderr, "compare: %s: reading at %" PRIu64 ": %s\n", side->path,
				offset + got, n < 0 ? strerror(errno) : "unexpected end");
			return -1;
		}
		got += (uint64_t)n;
	}
	return 0;
}

static void tell_range(struct difference *found)
{
	if (found->end == 0)
		return;
	found->ranges++;
	found->bytes += found->end - found->start;
	if (found->is_all_told || found->ranges <= LINES_MAX)
		printf("differs: offset %" PRIu64 " length %" PRIu64 "\n", found->start,
		       found->end - found->start);
	else if (found->ranges == LINES_MAX + 1)
		printf("... (more; --all prints every range)\n");
	found->end = 0;
}

static void add_block(struct difference *found, uint64_t start, uint64_t end)
{
	if (found->end != start)
		tell_range(found);
	if (found->end == 0)
		found->start = start;
	found->end = end;
}

static int compare(struct side *a, struct side *b, uint64_t length, struct difference *found)
{
	for (uint64_t offset = 0; offset < length; offset += CHUNK_BYTES) {
		uint64_t size = length - offset < CHUNK_BYTES ? length - offset : CHUNK_BYTES;

		if (read_side(a, offset, size) != 0 || read_side(b, offset, size) != 0)
			return -1;
		if (memcmp(a->buffer, b->buffer, size) == 0)
			continue;
		for (uint64_t at = 0; at < size; at += BLOCK_BYTES) {
			uint64_t n = size - at < BLOCK_BYTES ? size - at : BLOCK_BYTES;

			if (memcmp(a->buffer + at, b->buffer + at, n) != 0)
				add_block(found, offset + at, offset + at + n);
		}
	}
	tell_range(found);
	return 0;
}

static const char help[] = "usage: compare [--larger] [--all] A B\n"
			   "  --larger  B may be larger than A: its end is not looked at\n"
			   "  --all     print every range that differs, not only the first 20\n";

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{"larger", no_argument, NULL, 'l'},
		{"all", no_argument, NULL, 'a'},
		{NULL, 0, NULL, 0},
	};
	struct difference found = {0};
	static struct side a, b; /* buffers live as long as the program */
	bool may_be_larger = false;
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 'l':
			may_be_larger = true;
			break;
		case 'a':
			found.is_all_told = true;
			break;
		default:
			fputs(help, stderr);
			return 2;
		}
	}
	if (argc - optind != 2) {
		fputs(help, stderr);
		return 2;
	}
	if (open_side(&a, argv[optind]) != 0 || open_side(&b, argv[optind + 1]) != 0)
		return 2;
	if (b.size_bytes != a.size_bytes && !(may_be_larger && b.size_bytes > a.size_bytes)) {
		printf("sizes differ: %s has %" PRIu64 " bytes, %s has %" PRIu64 "\n", a.path,
		       a.size_bytes, b.path, b.size_bytes);
		return 1;
	}
	if (compare(&a, &b, a.size_bytes, &found) != 0)
		return 2;
	if (found.ranges == 0)
		printf("%" PRIu64 " bytes compared, all the same\n", a.size_bytes);
	else
		printf("%" PRIu64 " bytes compared, %" PRIu64 " of them lie in %" PRIu64
		       " ranges of blocks that differ\n",
		       a.size_bytes, found.bytes, found.ranges);
	return found.ranges == 0 ? 0 : 1;
}
