// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The have bitmap's file, mmapped. have.h has the format.
 *
 * What is on disk after a power cut: the bits may be ahead of the epoch (the kernel writes pages when it
 * likes), never behind it: have_commit syncs the bits, then writes the new epoch and syncs again. A bit
 * that is ahead does no harm: its block is still unacknowledged, so the agent sends it again (I2, I6).
 * The header is one sector, written as a whole. The file's blocks are allocated when it is made or
 * grows, since a full disk would otherwise kill the process that touches the map.
 */
#include "receiver/have.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "common/bitmap.h"
#include "common/os_file.h"
#include "common/os_io.h"
#include "common/os_thread.h"
#include "common/wire.h"

#define HAVE_MAGIC	"BFHAVE1\0"
#define BITS_OFFSET	4096u
#define CHECKED_BYTES	offsetof(struct have_header, checksum)
#define PAGE_BYTES	4096u
#define BLOCKS_PER_WORD 64
#define FILE_MODE	0600

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bits and header are used as they lie");

struct have_header {
	char magic[8];
	uint64_t size_bytes;
	uint8_t replica_id[HAVE_REPLICA_ID_LEN];
	uint64_t epoch;
	uint32_t checksum;
} __attribute__((packed));
static_assert(sizeof(struct have_header) == 44, "the format");

struct have {
	int fd;
	void *map;
	size_t map_bytes;
	struct bitmap bits;
	uint64_t had_blocks; /* set bits; atomic */
	struct os_mutex commit_lock;
	struct have_header header; /* under commit_lock once open; the id only by have_renew */
	int commit_error;	   /* a failed sync is final: nobody knows what it left behind */
};

static uint64_t blocks_of(uint64_t size_bytes)
{
	return size_bytes / HAVE_BLOCK_BYTES + (size_bytes % HAVE_BLOCK_BYTES != 0);
}

static uint64_t file_bytes_of(uint64_t size_bytes)
{
	uint64_t bits_bytes = bitmap_words(blocks_of(size_bytes)) * sizeof(uint64_t);

	return BITS_OFFSET + (bits_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static uint32_t header_checksum(const struct have_header *header)
{
	return (uint32_t)XXH3_64bits(header, CHECKED_BYTES);
}

/* Writes the header and makes it durable, together with all that was written before. */
static int write_header(int fd, struct have_header *header)
{
	int error;

	header->checksum = header_checksum(header);
	error = os_pwrite_all(fd, header, sizeof(*header), 0);
	if (error)
		return error;
	return fdatasync(fd) < 0 ? -errno : 0;
}

static int set_damaged(const char *path, const char *what, struct fault *fault)
{
	return fault_set(fault, FAULT_STOP, EBADMSG,
			 "%s is damaged (%s): remove it, and the whole disk is compared again",
			 path, what);
}

static int read_header(int fd, const char *path, struct have_header *ret_header,
		       struct fault *fault)
{
	struct have_header header;
	struct stat st;
	ssize_t got = pread(fd, &header, sizeof(header), 0);

	if (got < 0 || fstat(fd, &st) < 0)
		return fault_set(fault, FAULT_STOP, errno, "%s cannot be read: %s", path,
				 strerror(errno));
	if (got != (ssize_t)sizeof(header) ||
	    memcmp(header.magic, HAVE_MAGIC, sizeof(header.magic)) != 0)
		return set_damaged(path, "no have bitmap", fault);
	if (header.checksum != header_checksum(&header))
		return set_damaged(path, "its checksum is wrong", fault);
	if (header.size_bytes == 0 || header.size_bytes > WIRE_DISK_BYTES_MAX)
		return set_damaged(path, "an impossible disk size", fault);
	if ((uint64_t)st.st_size < file_bytes_of(header.size_bytes))
		return set_damaged(path, "it ends too early", fault);
	*ret_header = header;
	return 0;
}

/* posix_fallocate, since a hole in the map kills us when the disk is full. */
static int reserve(int fd, uint64_t size_bytes)
{
	return -posix_fallocate(fd, 0, (off_t)file_bytes_of(size_bytes));
}

/* A new file appears under its name only when it is whole. */
static int create_file(const char *path, uint64_t size_bytes, int *ret_fd)
{
	struct have_header header = {.magic = HAVE_MAGIC, .size_bytes = size_bytes};
	char temporary[PATH_MAX], folder[PATH_MAX];
	int fd, error;

	if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	snprintf(folder, sizeof(folder), "%s", path);
	fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
	if (fd < 0)
		return -errno;
	os_random(header.replica_id, sizeof(header.replica_id));
	error = reserve(fd, size_bytes);
	if (!error)
		error = write_header(fd, &header);
	if (!error && fsync(fd) < 0)
		error = -errno;
	if (!error && rename(temporary, path) < 0)
		error = -errno;
	if (!error)
		error = os_folder_sync(dirname(folder));
	if (error) {
		close(fd);
		unlink(temporary);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

static int open_file(const char *path, uint64_t size_bytes, int *ret_fd, bool *ret_is_new,
		     struct fault *fault)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	bool is_new = fd < 0 && errno == ENOENT;
	int error = fd < 0 ? -errno : 0;

	if (is_new)
		error = create_file(path, size_bytes, &fd);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s cannot be %s: %s", path,
				 is_new ? "made" : "opened", strerror(-error));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		error = fault_set(fault, FAULT_STOP, errno, "%s is in use by another receiver",
				  path);
		close(fd);
		return error;
	}
	*ret_fd = fd;
	*ret_is_new = is_new;
	return 0;
}

static int map_bits(struct have *have, uint64_t size_bytes)
{
	size_t bytes = file_bytes_of(size_bytes);
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, have->fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	have->map = map;
	have->map_bytes = bytes;
	have->bits.words = (uint64_t *)((char *)map + BITS_OFFSET);
	have->bits.bits = blocks_of(size_bytes);
	return 0;
}

/* Space first, then the size that counts on it. The old last block may have been a short one: what it
 * has become was never copied whole. */
static int grow(struct have *have, const char *path, uint64_t size_bytes, struct fault *fault)
{
	uint64_t old_bytes = have->header.size_bytes;
	int error = reserve(have->fd, size_bytes);

	if (!error)
		error = map_bits(have, size_bytes);
	if (!error && old_bytes % HAVE_BLOCK_BYTES != 0)
		bitmap_clear(&have->bits, old_bytes / HAVE_BLOCK_BYTES, 1);
	if (!error && fsync(have->fd) < 0)
		error = -errno;
	if (!error) {
		have->header.size_bytes = size_bytes;
		error = write_header(have->fd, &have->header);
	}
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s cannot grow with its disk: %s",
				 path, strerror(-error));
	return 0;
}

static int load(struct have *have, const char *path, uint64_t size_bytes, struct fault *fault)
{
	int error = read_header(have->fd, path, &have->header, fault);

	if (error)
		return error;
	if (size_bytes < have->header.size_bytes)
		return fault_set(
			fault, FAULT_STOP, EINVAL,
			"the disk has %llu bytes, its replica was made of %llu: a disk that "
			"shrank is another disk; remove the machine and enrol it again",
			(unsigned long long)size_bytes,
			(unsigned long long)have->header.size_bytes);
	if (size_bytes > have->header.size_bytes)
		error = grow(have, path, size_bytes, fault);
	else if (map_bits(have, size_bytes) < 0)
		error = fault_set(fault, FAULT_RETRY, errno, "%s cannot be mapped: %s", path,
				  strerror(errno));
	if (error)
		return error;
	have->had_blocks = bitmap_count(&have->bits);
	return 0;
}

int have_open(const char *path, uint64_t size_bytes, struct have **ret_have, bool *ret_is_new,
	      struct fault *fault)
{
	struct have *have;
	bool is_new = false;
	int error;

	if (size_bytes == 0 || size_bytes > WIRE_DISK_BYTES_MAX)
		return fault_set(fault, FAULT_STOP, EINVAL, "%s: no disk has %llu bytes", path,
				 (unsigned long long)size_bytes);
	have = calloc(1, sizeof(*have));
	if (!have)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "%s: out of memory", path);
	os_mutex_init(&have->commit_lock);
	have->fd = -1;
	error = open_file(path, size_bytes, &have->fd, &is_new, fault);
	if (!error)
		error = load(have, path, size_bytes, fault);
	if (error) {
		have_close(have);
		return error;
	}
	*ret_have = have;
	*ret_is_new = is_new;
	return 0;
}

void have_close(struct have *have)
{
	if (!have)
		return;
	if (have->map)
		munmap(have->map, have->map_bytes);
	if (have->fd >= 0)
		close(have->fd);
	os_mutex_fini(&have->commit_lock);
	free(have);
}

const uint8_t *have_replica_id(const struct have *have)
{
	return have->header.replica_id;
}

uint64_t have_epoch(const struct have *have)
{
	struct have *mutable_have = (struct have *)have;
	uint64_t epoch;

	os_mutex_lock(&mutable_have->commit_lock);
	epoch = have->header.epoch;
	os_mutex_unlock(&mutable_have->commit_lock);
	return epoch;
}

uint64_t have_size_bytes(const struct have *have)
{
	return have->header.size_bytes;
}

uint64_t have_count_bytes(const struct have *have)
{
	uint64_t tail_bytes = have->header.size_bytes % HAVE_BLOCK_BYTES;
	uint64_t bytes = __atomic_load_n(&have->had_blocks, __ATOMIC_RELAXED) * HAVE_BLOCK_BYTES;

	if (tail_bytes != 0 && bytes != 0 && bitmap_test(&have->bits, have->bits.bits - 1))
		bytes -= HAVE_BLOCK_BYTES - tail_bytes;
	return bytes;
}

/* The blocks that a range touches; a range that is not inside the disk is cut. False when none. */
static bool blocks_touched(const struct have *have, uint64_t offset, uint64_t length,
			   uint64_t *ret_first, uint64_t *ret_end)
{
	uint64_t size_bytes = have->header.size_bytes;

	if (offset >= size_bytes || length == 0)
		return false;
	if (length > size_bytes - offset)
		length = size_bytes - offset;
	*ret_first = offset / HAVE_BLOCK_BYTES;
	*ret_end = (offset + length - 1) / HAVE_BLOCK_BYTES + 1;
	return true;
}

/* The bits of [first, end) that lie in the word that has bit first. */
static uint64_t word_mask(uint64_t first, uint64_t end)
{
	uint64_t mask = ~0ull << (first % BLOCKS_PER_WORD);
	uint64_t word_end = (first / BLOCKS_PER_WORD + 1) * BLOCKS_PER_WORD;

	if (end < word_end)
		mask &= ~0ull >> (word_end - end);
	return mask;
}

static uint64_t next_word(uint64_t block)
{
	return (block / BLOCKS_PER_WORD + 1) * BLOCKS_PER_WORD;
}

void have_mark(struct have *have, uint64_t offset, uint64_t length)
{
	uint64_t block, end;
	uint64_t added = 0;

	if (!blocks_touched(have, offset, length, &block, &end))
		return;
	for (; block < end; block = next_word(block)) {
		uint64_t mask = word_mask(block, end);
		uint64_t *word = &have->bits.words[block / BLOCKS_PER_WORD];

		/* Most marks repeat earlier ones: leave the page clean then. */
		if ((__atomic_load_n(word, __ATOMIC_RELAXED) & mask) == mask)
			continue;
		added += (uint64_t)__builtin_popcountll(
			mask & ~__atomic_fetch_or(word, mask, __ATOMIC_RELAXED));
	}
	__atomic_fetch_add(&have->had_blocks, added, __ATOMIC_RELAXED);
}

bool have_test_all(const struct have *have, uint64_t offset, uint64_t length)
{
	uint64_t block, end;

	if (!blocks_touched(have, offset, length, &block, &end))
		return true;
	for (; block < end; block = next_word(block)) {
		uint64_t mask = word_mask(block, end);
		const uint64_t *word = &have->bits.words[block / BLOCKS_PER_WORD];

		if ((__atomic_load_n(word, __ATOMIC_RELAXED) & mask) != mask)
			return false;
	}
	return true;
}

bool have_test_any(const struct have *have, uint64_t offset, uint64_t length)
{
	uint64_t block, end;

	return blocks_touched(have, offset, length, &block, &end) &&
	       bitmap_test_any(&have->bits, block, end - block);
}

static int commit_locked(struct have *have, uint64_t epoch)
{
	struct have_header header = have->header;
	int error;

	if (have->commit_error)
		return have->commit_error;
	if (epoch < header.epoch)
		return -EINVAL; /* epochs grow */
	/* The bits, which the map has dirtied ... */
	error = fdatasync(have->fd) < 0 ? -errno : 0;
	/* ... and only then the epoch that vouches for them. */
	header.epoch = epoch;
	if (!error)
		error = write_header(have->fd, &header);
	if (error)
		have->commit_error = error;
	else
		have->header = header;
	return error;
}

int have_commit(struct have *have, uint64_t epoch)
{
	int error;

	os_mutex_lock(&have->commit_lock);
	error = commit_locked(have, epoch);
	os_mutex_unlock(&have->commit_lock);
	return error;
}

int have_commit_marks(struct have *have)
{
	int error;

	os_mutex_lock(&have->commit_lock);
	error = commit_locked(have, have->header.epoch);
	os_mutex_unlock(&have->commit_lock);
	return error;
}

int have_renew(struct have *have)
{
	struct have_header header;
	int error;

	os_mutex_lock(&have->commit_lock);
	header = have->header;
	os_random(header.replica_id, sizeof(header.replica_id));
	error = have->commit_error ? have->commit_error : write_header(have->fd, &header);
	if (error)
		have->commit_error = error;
	else
		have->header = header;
	os_mutex_unlock(&have->commit_lock);
	return error;
}
