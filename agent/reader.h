/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the source: O_DIRECT, several reads under way, completions in any order. Variants:
 * reader_uring.c (io_uring) and reader_pread.c (plain pread, where io_uring is forbidden). One reader
 * belongs to one thread.
 */
#ifndef BLKFERRY_AGENT_READER_H
#define BLKFERRY_AGENT_READER_H

#include <stddef.h>
#include <stdint.h>

#include "common/fault.h"

struct reader;

/* A read. The caller owns it and buffer until it comes back from reader_wait. */
struct read_request {
	unsigned int disk;
	uint64_t offset; /* multiple of the disk's logical block */
	uint32_t length; /* multiple of it, at most 1 MiB */
	void *buffer;	 /* aligned to 4096 */
	int error; /* set on completion: 0, or a positive errno; a short read past the end is EIO */
	void *context;
};

/* fds[i] is disk i opened O_RDONLY | O_DIRECT; depth is how many reads may be under way. Falls back
 * from io_uring to pread by itself. */
int reader_new(const int *fds, unsigned int disks, unsigned int depth, struct reader **ret_reader);
void reader_free(struct reader *reader);
const char *reader_name(const struct reader *reader); /* "io_uring" or "pread" */

/* Queues a read; at most depth may be queued and not yet returned by reader_wait. */
void reader_submit(struct reader *reader, struct read_request *request);
/* Starts what was queued and waits for one completion. NULL when none is under way. */
struct read_request *reader_wait(struct reader *reader);

/* Opens a disk for reading with O_DIRECT. */
int reader_open_disk(const char *path, int *ret_fd, struct fault *fault);
void reader_close_disk(int fd);

#endif
