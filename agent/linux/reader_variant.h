/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the variants of the reader share: the table behind agent/reader.h. For reader*.c and tests. */
#ifndef BLKFERRY_AGENT_LINUX_READER_VARIANT_H
#define BLKFERRY_AGENT_LINUX_READER_VARIANT_H

#include "agent/reader.h"

#define READER_LENGTH_MAX (1u << 20)
#define READER_DEPTH_MAX  512

struct reader_ops {
	const char *name;
	void (*submit)(struct reader *reader, struct read_request *request);
	struct read_request *(*wait)(struct reader *reader);
	void (*free)(struct reader *reader);
};

/* The first member of every variant's struct. */
struct reader {
	const struct reader_ops *ops;
};

/* As reader_new, of that variant or not at all. reader_uring_new fails with what
 * io_uring_setup(2) failed with, and -EOPNOTSUPP when the kernel's io_uring has no plain read. */
int reader_uring_new(const int *fds, unsigned int disks, unsigned int depth,
		     struct reader **ret_reader);
int reader_pread_new(const int *fds, unsigned int disks, unsigned int depth,
		     struct reader **ret_reader);

#endif
