// SPDX-License-Identifier: GPL-2.0-or-later
/* Replacing single files, atomically and with all that belongs to them; see keep.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>

#include "agent/linux/check/keep.h"
#include "common/os_file.h"
#include "common/os_io.h"

#define COPY_STEP   65536
#define XATTRS_MAX  65536
#define FOLDER_MODE 0755
#define COPY_SPARES                                                                                \
	"/.blkferry-XXXXXX" /* a dot: no tool reads such files in a folder of settings */

static void format_digest(XXH128_hash_t hash, char ret_digest[KEEP_DIGEST_MAX])
{
	snprintf(ret_digest, KEEP_DIGEST_MAX, "%016llx%016llx", (unsigned long long)hash.high64,
		 (unsigned long long)hash.low64);
}

void keep_digest_text(const char *text, char ret_digest[KEEP_DIGEST_MAX])
{
	format_digest(XXH3_128bits(text, strlen(text)), ret_digest);
}

int keep_digest(const char *path, char ret_digest[KEEP_DIGEST_MAX])
{
	XXH3_state_t *state;
	XXH128_hash_t hash;
	char buffer[COPY_STEP];
	ssize_t got = 0;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	ret_digest[0] = '\0';
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	state = XXH3_createState();
	if (!state) {
		close(fd);
		return -ENOMEM;
	}
	XXH3_128bits_reset(state);
	while ((got = read(fd, buffer, sizeof(buffer))) > 0 || (got < 0 && errno == EINTR))
		if (got > 0)
			XXH3_128bits_update(state, buffer, (size_t)got);
	got = got < 0 ? -errno : 0;
	hash = XXH3_128bits_digest(state);
	XXH3_freeState(state);
	close(fd);
	if (got == 0)
		format_digest(hash, ret_digest);
	return (int)got;
}

static int copy_bytes(int from, int to)
{
	char buffer[COPY_STEP];
	ssize_t got;
	int error = 0;

	while (!error && ((got = read(from, buffer, sizeof(buffer))) != 0)) {
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0)
			error = os_write_all(to, buffer, (size_t)got);
	}
	return error;
}

/* SELinux labels, access lists. What the file system cannot hold is not there to be lost. */
static int copy_xattrs(int from, int to)
{
	char *names = malloc(XATTRS_MAX), *value = malloc(XATTRS_MAX);
	ssize_t size = names && value ? flistxattr(from, names, XATTRS_MAX) : -1;
	int error = names && value ? 0 : -ENOMEM;

	for (char *name = names; !error && size > 0 && name < names + size;
	     name += strlen(name) + 1) {
		ssize_t length = fgetxattr(from, name, value, XATTRS_MAX);

		if (length >= 0 && fsetxattr(to, name, value, (size_t)length, 0) != 0 &&
		    errno != ENOTSUP && errno != EPERM)
			error = -errno;
	}
	free(names);
	free(value);
	return error;
}

/* FAT has neither owner nor mode, and says EPERM. */
static int copy_owner(int to, const struct stat *status)
{
	if (fchown(to, status->st_uid, status->st_gid) != 0 && errno != EPERM)
		return -errno;
	if (fchmod(to, status->st_mode & 07777) != 0 && errno != EPERM)
		return -errno;
	return 0;
}

static int finish(int fd, int error, const char *temporary, const char *path, char *folder)
{
	if (!error && fsync(fd) != 0)
		error = -errno;
	if (close(fd) != 0 && !error)
		error = -errno;
	if (!error && rename(temporary, path) != 0)
		error = -errno;
	if (error)
		unlink(temporary);
	return error ? error : os_folder_sync(folder[0] ? folder : "/");
}

/* Opens a file to write in the folder of path. */
static int open_temporary(const char *path, char folder[PATH_MAX], char temporary[PATH_MAX],
			  int *ret_fd)
{
	const char *slash = strrchr(path, '/');

	if (!slash || snprintf(folder, PATH_MAX, "%.*s", (int)(slash - path), path) >= PATH_MAX ||
	    snprintf(temporary, PATH_MAX, "%s" COPY_SPARES, folder) >= PATH_MAX)
		return -ENAMETOOLONG;
	*ret_fd = mkostemp(temporary, O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

int keep_copy(const char *from, const char *to)
{
	char folder[PATH_MAX], temporary[PATH_MAX];
	struct stat status;
	int in, out, error;

	in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (in < 0)
		return -errno;
	error = fstat(in, &status) != 0 ? -errno : S_ISREG(status.st_mode) ? 0 : -EINVAL;
	if (!error)
		error = open_temporary(to, folder, temporary, &out);
	if (error) {
		close(in);
		return error;
	}
	error = copy_bytes(in, out);
	if (!error)
		error = copy_owner(out, &status);
	if (!error)
		error = copy_xattrs(in, out);
	if (!error) {
		const struct timespec times[2] = {status.st_atim, status.st_mtim};

		if (futimens(out, times) != 0 && errno != EPERM)
			error = -errno;
	}
	close(in);
	return finish(out, error, temporary, to, folder);
}

static int make_folder_of(const char *path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (!slash || slash == path)
		return 0;
	if (snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path) >= PATH_MAX)
		return -ENAMETOOLONG;
	return os_folder_make(folder, FOLDER_MODE);
}

int keep_replace(const char *path, const char *text, const char *from, unsigned int mode)
{
	struct stat status = {.st_mode = mode, .st_uid = geteuid(), .st_gid = getegid()};
	char folder[PATH_MAX], temporary[PATH_MAX];
	int old, in = -1, out, error;

	if (!text) {
		in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
		if (in < 0)
			return -errno;
	}
	error = make_folder_of(path);
	if (!error)
		error = open_temporary(path, folder, temporary, &out);
	if (error) {
		if (in >= 0)
			close(in);
		return error;
	}
	error = text ? os_write_all(out, text, strlen(text)) : copy_bytes(in, out);
	if (in >= 0)
		close(in);
	old = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (!error && old >= 0) {
		error = fstat(old, &status) != 0 ? -errno : copy_xattrs(old, out);
	}
	if (old >= 0)
		close(old);
	if (!error)
		error = copy_owner(out, &status);
	return finish(out, error, temporary, path, folder);
}
