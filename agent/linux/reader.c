/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chooses the variant of the reader, and opens disks for it. */
#include "agent/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent/linux/reader_variant.h"

int reader_new(const int *fds, unsigned int disks, unsigned int depth, struct reader **ret_reader)
{
	int result;

	if (depth == 0 || depth > READER_DEPTH_MAX || disks == 0)
		return -EINVAL;
	/* Whatever io_uring fails with (EPERM by sysctl or seccomp, ENOSYS, ENOMEM by a lock limit),
	 * pread may still do; where it is memory that lacks, pread says so too. */
	result = reader_uring_new(fds, disks, depth, ret_reader);
	if (result < 0)
		result = reader_pread_new(fds, disks, depth, ret_reader);
	return result;
}

void reader_free(struct reader *reader)
{
	if (reader)
		reader->ops->free(reader);
}

const char *reader_name(const struct reader *reader)
{
	return reader->ops->name;
}

void reader_submit(struct reader *reader, struct read_request *request)
{
	reader->ops->submit(reader, request);
}

struct read_request *reader_wait(struct reader *reader)
{
	return reader->ops->wait(reader);
}

int reader_open_disk(const char *path, int *ret_fd, struct fault *fault)
{
	/* O_DIRECT: what the page cache of the device holds is not what the disk holds. */
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		return fault_set(fault,
				 errno == ENOMEM || errno == EMFILE ? FAULT_RETRY : FAULT_STOP,
				 errno, "cannot open %s for reading: %s", path, strerror(errno));
	*ret_fd = fd;
	return 0;
}

void reader_close_disk(int fd)
{
	close(fd);
}
