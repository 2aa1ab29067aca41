// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads and writes that go on until all is done; see os_io.h. */
#include "common/os_io.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int64_t os_read_up_to(int fd, void *buffer, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = read(fd, (char *)buffer + done, size - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (int64_t)done;
}

int64_t os_pread_up_to(int fd, void *buffer, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = pread(fd, (char *)buffer + done, size - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (int64_t)done;
}

int os_pread_all(int fd, void *buffer, size_t size, uint64_t offset)
{
	int64_t got = os_pread_up_to(fd, buffer, size, offset);

	if (got < 0)
		return (int)got;
	return (uint64_t)got == size ? 0 : -EIO;
}

int os_write_all(int fd, const void *data, size_t size)
{
	const char *from = data;

	while (size > 0) {
		ssize_t put = write(fd, from, size);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -ENOSPC;
		from += put;
		size -= (size_t)put;
	}
	return 0;
}

int os_pwrite_all(int fd, const void *data, size_t size, uint64_t offset)
{
	const char *from = data;

	while (size > 0) {
		ssize_t put = pwrite(fd, from, size, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -ENOSPC;
		from += put;
		size -= (size_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

int os_send_all(int fd, const void *data, size_t size)
{
	const char *from = data;

	while (size > 0) {
		ssize_t put = send(fd, from, size, MSG_NOSIGNAL);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EPIPE;
		from += put;
		size -= (size_t)put;
	}
	return 0;
}

int os_receive_all(int fd, void *buffer, size_t size)
{
	char *to = buffer;

	while (size > 0) {
		ssize_t got = recv(fd, to, size, MSG_WAITALL);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -ECONNRESET;
		to += got;
		size -= (size_t)got;
	}
	return 0;
}
