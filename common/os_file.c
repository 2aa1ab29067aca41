// SPDX-License-Identifier: GPL-2.0-or-later
/* Small files, folders, locks and random bytes; see os_file.h. */
#include "common/os_file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/os_io.h"

#define READ_STEP_BYTES 4096
#define WALK_OPEN_MAX	16 /* descriptors that a walk of a tree may hold open */

/* Sizes in /proc are not told by stat: so grow as it comes. */
int os_file_read_fd(int fd, size_t limit, char **ret_data, size_t *ret_size)
{
	size_t size = 0, room = 0;
	char *data = NULL;

	for (;;) {
		ssize_t got;

		if (room - size < READ_STEP_BYTES) {
			size_t larger = (room + READ_STEP_BYTES) * 2;
			char *grown = realloc(data, larger + 1);

			if (!grown) {
				free(data);
				return -ENOMEM;
			}
			data = grown;
			room = larger;
		}
		got = read(fd, data + size, room - size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || size + (size_t)got > limit) {
			int error = got < 0 ? -errno : -EFBIG;

			free(data);
			return error;
		}
		if (got == 0)
			break;
		size += (size_t)got;
	}
	data[size] = '\0';
	*ret_data = data;
	*ret_size = size;
	return 0;
}

int os_file_read(const char *path, size_t limit, char **ret_data, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int error;

	if (fd < 0)
		return -errno;
	error = os_file_read_fd(fd, limit, ret_data, ret_size);
	close(fd);
	return error;
}

static int sync_parent(const char *path)
{
	char copy[PATH_MAX];

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return -ENAMETOOLONG;
	return os_folder_sync(dirname(copy));
}

bool os_file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

int os_file_write_atomic(const char *path, const void *data, size_t size, unsigned int mode)
{
	char temporary[PATH_MAX];
	int fd, error;

	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	fd = mkostemp(temporary, O_CLOEXEC); /* 0600 until it has its content */
	if (fd < 0)
		return -errno;
	error = os_write_all(fd, data, size);
	if (!error && fchmod(fd, mode) != 0)
		error = -errno;
	if (!error && fsync(fd) != 0)
		error = -errno;
	if (close(fd) != 0 && !error)
		error = -errno;
	if (!error && rename(temporary, path) != 0)
		error = -errno;
	if (error) {
		unlink(temporary);
		return error;
	}
	return sync_parent(path);
}

int os_folder_make(const char *path, unsigned int mode)
{
	char part[PATH_MAX];
	size_t length = strlen(path);
	struct stat status;

	if (length == 0)
		return -ENOENT;
	if (length >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t end = 1; end <= length; end++) {
		if (path[end] != '/' && path[end] != '\0')
			continue;
		memcpy(part, path, end);
		part[end] = '\0';
		if (mkdir(part, mode) == 0) {
			int error = sync_parent(part);

			if (error)
				return error;
		} else if (errno != EEXIST) {
			/* A read-only parent says EROFS also for a folder that is there. */
			int error = -errno;

			if (stat(part, &status) != 0 || !S_ISDIR(status.st_mode))
				return error;
		}
	}
	if (stat(path, &status) != 0)
		return -errno;
	return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	(void)status;
	(void)kind;
	(void)walk;
	return remove(path) == 0 || errno == ENOENT ? 0 : -errno;
}

int os_folder_remove(const char *path)
{
	int error = nftw(path, remove_one, WALK_OPEN_MAX, FTW_DEPTH | FTW_PHYS);

	if (error == -1) /* nftw itself, which sets errno; -EPERM from remove_one is -1 as well */
		return errno == ENOENT ? 0 : -errno;
	return error;
}

int os_folder_sync(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) != 0)
		error = -errno;
	close(fd);
	return error;
}

int os_file_lock(const char *path, int *ret_fd)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

int os_folder_lock(const char *path, unsigned int mode, int *ret_fd)
{
	char lock[PATH_MAX];
	int error;

	if (snprintf(lock, sizeof(lock), "%s/lock", path) >= (int)sizeof(lock))
		return -ENAMETOOLONG;
	error = os_folder_make(path, mode);
	return error ? error : os_file_lock(lock, ret_fd);
}

void os_random(void *buffer, size_t size)
{
	char *at = buffer;

	while (size > 0) {
		ssize_t got = getrandom(at, size, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			fprintf(stderr, "blkferry: no random bytes from the kernel: %s\n",
				strerror(errno));
			abort();
		}
		at += got;
		size -= (size_t)got;
	}
}
