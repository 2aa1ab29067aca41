/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes to a disk in every way there is, and logs each range after its write has completed: the
 * tracker's independent witness.
 *
 * Usage: tracker_writer DEVICE LOG SEED KIND[,KIND...] OPERATIONS [FIRST_BYTE BYTES [LOG_BASE]]
 *   direct    O_DIRECT, 512 bytes to 4 MiB
 *   sector    O_DIRECT, 512 bytes
 *   split     O_DIRECT, 1 to 4 MiB: more than one request
 *   merged    32 adjacent 4 KiB writes at once (Linux AIO by writev), which the block layer merges
 *   buffered  through the page cache, then fdatasync
 *   discard   BLKDISCARD          zeroout  BLKZEROOUT
 *   hugezero  BLKZEROOUT of three quarters of the area, 16 KiB from its start
 * The area begins at FIRST_BYTE and is BYTES long; LOG_BASE is added to what is logged (a partition's start).
 * OPERATIONS 0: until killed.
 */
#include <stdbool.h>
#include <sys/uio.h>

#include <liburing.h>

#include "tests/tools/tracker_tool.h"

#define WRITE_MAX   (4u << 20)
#define MERGE_BYTES 4096u
#define MERGE_COUNT 32u

enum kind { DIRECT = 1, SECTOR, SPLIT, MERGED, BUFFERED, DISCARD, ZEROOUT, HUGEZERO };

static const struct {
	const char *name;
	enum kind kind;
} kinds[] = {
	{"direct", DIRECT},	{"sector", SECTOR},   {"split", SPLIT},	    {"merged", MERGED},
	{"buffered", BUFFERED}, {"discard", DISCARD}, {"zeroout", ZEROOUT}, {"hugezero", HUGEZERO},
};

static int direct_fd, buffered_fd;
static FILE *log_file;
static uint64_t area_first, area_bytes, log_base, random_state;
static uint8_t *buffer;
static struct io_uring ring;

static uint64_t random_below(uint64_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % limit;
}

static void fill(size_t length)
{
	for (size_t i = 0; i < length; i += 512) {
		uint64_t stamp = random_below(UINT64_MAX);

		memcpy(buffer + i, &stamp, sizeof(stamp));
	}
}

static void note(uint64_t offset, uint64_t length)
{
	struct logged_range range = {offset + log_base, length};

	if (fwrite(&range, sizeof(range), 1, log_file) != 1 || fflush(log_file) != 0)
		err(1, "log");
}

/* A length from min to max and a place for it, both multiples of unit. */
static uint64_t choose(uint64_t unit, uint64_t min, uint64_t max, uint64_t *ret_length)
{
	uint64_t length = min + random_below((max - min) / unit + 1) * unit;

	if (length > area_bytes)
		length = area_bytes / unit * unit;
	*ret_length = length;
	return area_first + random_below((area_bytes - length) / unit + 1) * unit;
}

static void write_range(int fd, uint64_t offset, uint64_t length)
{
	fill(length);
	if (pwrite(fd, buffer, length, (off_t)offset) != (ssize_t)length)
		err(1, "write of %llu bytes at %llu", (unsigned long long)length,
		    (unsigned long long)offset);
}

/* Submitted in one go: the block layer's plug merges them into few requests of many bios. */
static void write_merged(uint64_t offset)
{
	struct io_uring_cqe *completion;

	fill(MERGE_COUNT * MERGE_BYTES);
	for (unsigned int i = 0; i < MERGE_COUNT; i++)
		io_uring_prep_write(io_uring_get_sqe(&ring), direct_fd, buffer + i * MERGE_BYTES,
				    MERGE_BYTES, offset + i * MERGE_BYTES);
	io_uring_submit(&ring);
	for (unsigned int i = 0; i < MERGE_COUNT; i++) {
		if (io_uring_wait_cqe(&ring, &completion) < 0 || completion->res != MERGE_BYTES)
			errx(1, "a merged write failed");
		io_uring_cqe_seen(&ring, completion);
	}
}

static void control(unsigned long request, const char *name, uint64_t offset, uint64_t length)
{
	uint64_t range[2] = {offset, length};

	if (ioctl(direct_fd, request, range) < 0)
		err(1, "%s of %llu bytes at %llu", name, (unsigned long long)length,
		    (unsigned long long)offset);
}

static void operate(enum kind kind)
{
	uint64_t offset = 0, length = 0;

	switch (kind) {
	case DIRECT:
		offset = choose(512, 512, random_below(8) ? 64 << 10 : WRITE_MAX, &length);
		write_range(direct_fd, offset, length);
		break;
	case SECTOR:
		offset = choose(512, 512, 512, &length);
		write_range(direct_fd, offset, length);
		break;
	case SPLIT:
		offset = choose(512, 1 << 20, WRITE_MAX, &length);
		write_range(direct_fd, offset, length);
		break;
	case MERGED:
		offset =
			choose(4096, MERGE_COUNT * MERGE_BYTES, MERGE_COUNT * MERGE_BYTES, &length);
		write_merged(offset);
		break;
	case BUFFERED:
		offset = choose(512, 512, 256 << 10, &length);
		write_range(buffered_fd, offset, length);
		if (fdatasync(buffered_fd) < 0)
			err(1, "fdatasync");
		break;
	case DISCARD:
		offset = choose(4096, 4096, 8 << 20, &length);
		control(BLKDISCARD, "discard", offset, length);
		break;
	case ZEROOUT:
		offset = choose(512, 512, 8 << 20, &length);
		control(BLKZEROOUT, "zeroout", offset, length);
		break;
	case HUGEZERO:
		offset = area_first + (16 << 10);
		length = area_bytes / 4 / 4096 * 3 * 4096;
		control(BLKZEROOUT, "zeroout", offset, length);
		break;
	}
	note(offset, length);
}

static unsigned int parse_kinds(char *text, enum kind *ret_kinds, unsigned int most)
{
	unsigned int count = 0;

	for (char *name = strtok(text, ","); name; name = strtok(NULL, ",")) {
		enum kind found = 0;

		for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
			if (strcmp(kinds[i].name, name) == 0)
				found = kinds[i].kind;
		}
		if (!found || count == most)
			errx(2, "no such kind: %s", name);
		ret_kinds[count++] = found;
	}
	if (count == 0)
		errx(2, "no kind");
	return count;
}

int main(int argc, char **argv)
{
	enum kind chosen[8];
	unsigned int count;
	uint64_t operations;

	if (argc < 6)
		errx(2, "see the head of tracker_writer.c");
	direct_fd = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	buffered_fd = open(argv[1], O_RDWR | O_CLOEXEC);
	log_file = fopen(argv[2], "a");
	if (direct_fd < 0 || buffered_fd < 0 || !log_file)
		err(2, "%s, %s", argv[1], argv[2]);
	random_state = strtoull(argv[3], NULL, 0) * 0x9e3779b97f4a7c15ull + 1;
	count = parse_kinds(argv[4], chosen, 8);
	operations = strtoull(argv[5], NULL, 0);
	if (ioctl(direct_fd, BLKGETSIZE64, &area_bytes) < 0)
		err(2, "%s", argv[1]);
	if (argc >= 8) {
		area_first = strtoull(argv[6], NULL, 0);
		area_bytes = strtoull(argv[7], NULL, 0);
	}
	if (argc >= 9)
		log_base = strtoull(argv[8], NULL, 0);
	if (posix_memalign((void **)&buffer, 4096, WRITE_MAX) != 0 ||
	    io_uring_queue_init(MERGE_COUNT, &ring, 0) < 0)
		errx(2, "no memory");
	for (uint64_t i = 0; operations == 0 || i < operations; i++)
		operate(chosen[random_below(count)]);
	return 0;
}
