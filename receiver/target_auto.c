// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Targets that need no set-up: a sparse file in the storage folder, served by an nbdkit that the receiver
 * starts, and from there on an NBD target like any other. The nbdkit outlives the receiver, and other
 * NBD clients can read from its socket.
 *
 *   NAME.raw    the data, as large as the disk
 *   NAME.sock   where nbdkit listens
 *   NAME.pid    its process
 *   NAME.lock   held while the target is open: one user at a time starts, ends and grows
 *   NAME.clean  there when the last user waited for the end of all its writes. When it is not there, the
 *               nbdkit that still runs may have old writes to execute, and is ended before new ones are
 *               begun. It need not be durable: no nbdkit outlives the machine that it runs on.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/os_file.h"
#include "receiver/nbdkit_server.h"
#include "receiver/target_ops.h"

#define FOLDER_MODE 0700
#define FILE_MODE   0600

#define AUTO_ARGUMENTS 6

/* What prepare_file finds out. */
struct auto_file {
	bool is_hole;
	char identity[sizeof(((struct target_info *)0)->file_identity)];
};

struct auto_paths {
	char raw[PATH_MAX];
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char pid[PATH_MAX];
	char lock[PATH_MAX];
	char clean[PATH_MAX];
};

static int make_paths(const char *folder, const char *name, struct auto_paths *ret_paths,
		      struct fault *fault)
{
	size_t folder_max = sizeof(ret_paths->socket) - strlen("/.sock") - 1;
	size_t length = strlen(folder) + strlen(name);

	if (folder[0] != '/')
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "the storage folder \"%s\" must be a full path", folder);
	if (length > folder_max)
		return fault_set(
			fault, FAULT_STOP, ENAMETOOLONG,
			"%s/%s.sock is too long for a socket (%zu characters at most): use a "
			"shorter storage folder or name",
			folder, name, sizeof(ret_paths->socket) - 1);
	snprintf(ret_paths->raw, sizeof(ret_paths->raw), "%s/%s.raw", folder, name);
	snprintf(ret_paths->socket, sizeof(ret_paths->socket), "%s/%s.sock", folder, name);
	snprintf(ret_paths->pid, sizeof(ret_paths->pid), "%s/%s.pid", folder, name);
	snprintf(ret_paths->lock, sizeof(ret_paths->lock), "%s/%s.lock", folder, name);
	snprintf(ret_paths->clean, sizeof(ret_paths->clean), "%s/%s.clean", folder, name);
	return 0;
}

/* The nbdkit of these paths; arguments has room for AUTO_ARGUMENTS, and lives as long as it. */
static struct nbdkit_server server_of(const struct auto_paths *paths,
				      const char *arguments[AUTO_ARGUMENTS])
{
	unsigned int used = 0;

	/* Four threads a connection: more only cost context switches when measured on two cores. */
	arguments[used++] = "--threads=4";
	arguments[used++] = "--unix";
	arguments[used++] = paths->socket;
	arguments[used++] = "file";
	arguments[used++] = paths->raw;
	arguments[used++] = NULL;
	return (struct nbdkit_server){.what = paths->raw,
				      .socket_path = paths->socket,
				      .pid_path = paths->pid,
				      .arguments = arguments};
}

/* Whoever forgets a target removes its lock file: a lock on a removed file is worth nothing. */
static bool is_still_named(int fd, const char *path)
{
	struct stat held, named;

	return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev &&
	       held.st_ino == named.st_ino;
}

static int lock_name(const struct auto_paths *paths, int *ret_fd, struct fault *fault)
{
	int fd;
	int error = os_file_lock(paths->lock, &fd);

	if (!error && !is_still_named(fd, paths->lock)) {
		close(fd);
		error = -EWOULDBLOCK;
	}
	if (error == -EWOULDBLOCK)
		return fault_set(
			fault, FAULT_STOP, EBUSY,
			"%s is in use by another session or receiver: give each receiver a "
			"storage folder of its own",
			paths->raw);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s cannot be locked: %s", paths->lock,
				 strerror(-error));
	*ret_fd = fd;
	return 0;
}

static int grow_file(int fd, const char *folder, uint64_t size_bytes, struct auto_file *ret_file)
{
	struct stat st;
	struct auto_file file = {.is_hole = target_fd_is_hole(fd)};

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size < size_bytes && ftruncate(fd, (off_t)size_bytes) < 0)
		return -errno;
	if (fsync(fd) < 0)
		return -errno;
	target_identify_file(fd, file.identity, sizeof(file.identity));
	*ret_file = file;
	return os_folder_sync(folder);
}

/* Makes the file, or makes it larger when the disk has grown. */
static int prepare_file(const char *folder, const char *path, uint64_t size_bytes,
			struct auto_file *ret_file, struct fault *fault)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	int error = fd < 0 ? -errno : grow_file(fd, folder, size_bytes, ret_file);

	if (fd >= 0)
		close(fd);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s cannot be made with %llu bytes: %s",
				 path, (unsigned long long)size_bytes, strerror(-error));
	return 0;
}

static void fill_info(struct target *target, const struct auto_paths *paths, const char *uri,
		      const struct auto_file *file)
{
	struct target_info *info = &target->info;

	snprintf(info->text, sizeof(info->text), "%.*s", (int)sizeof(info->text) - 1, uri);
	snprintf(info->path, sizeof(info->path), "%.*s", (int)sizeof(info->path) - 1, paths->raw);
	memcpy(info->file_identity, file->identity, sizeof(info->file_identity));
	info->is_known_zero =
		file->is_hole; /* the file is ours, and knows better than the server */
	info->is_foreign = false;
}

/* From here on there may be writes under way, until target_close says otherwise. */
static int begin_use(struct target *target, const struct auto_paths *paths, struct fault *fault)
{
	if (unlink(paths->clean) < 0 && errno != ENOENT)
		return fault_set(fault, FAULT_STOP, errno, "%s cannot be removed: %s", paths->clean,
				 strerror(errno));
	target->clean_path = strdup(paths->clean);
	return target->clean_path ? 0 : fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
}

static int open_locked(const char *folder, const struct auto_paths *paths, uint64_t size_bytes,
		       struct target **ret_target, struct fault *fault)
{
	const char *arguments[AUTO_ARGUMENTS];
	struct nbdkit_server server = server_of(paths, arguments);
	char uri[NBDKIT_URI_MAX];
	enum nbdkit_server_use use = os_file_exists(paths->clean) ? NBDKIT_SERVER_REUSE
								  : NBDKIT_SERVER_RESTART;
	struct target *target;
	struct auto_file file = {0};
	int error = prepare_file(folder, paths->raw, size_bytes, &file, fault);

	if (!error)
		error = nbdkit_server_ensure(&server, use, fault);
	if (error)
		return error;
	nbdkit_server_uri(paths->socket, uri, sizeof(uri));
	error = target_nbd_open(uri, size_bytes, &target, fault);
	if (error)
		return error;
	fill_info(target, paths, uri, &file);
	error = begin_use(target, paths, fault);
	if (error) {
		target_close(target);
		return error;
	}
	*ret_target = target;
	return 0;
}

int target_auto_open(const char *storage_folder, const char *name, uint64_t size_bytes,
		     struct target **ret_target, struct fault *fault)
{
	struct auto_paths paths;
	struct target *target;
	int lock_fd;
	int error = make_paths(storage_folder, name, &paths, fault);

	if (error)
		return error;
	error = os_folder_make(storage_folder, FOLDER_MODE);
	if (error)
		return fault_set(fault, FAULT_STOP, -error,
				 "the storage folder %s cannot be made: %s", storage_folder,
				 strerror(-error));
	error = lock_name(&paths, &lock_fd, fault);
	if (error)
		return error;
	error = open_locked(storage_folder, &paths, size_bytes, &target, fault);
	if (error) {
		close(lock_fd);
		return error;
	}
	target->lock_fd = lock_fd;
	*ret_target = target;
	return 0;
}

static int remove_files(const char *folder, const struct auto_paths *paths, struct fault *fault)
{
	if (unlink(paths->raw) < 0 && errno != ENOENT)
		return fault_set(fault, FAULT_STOP, errno, "%s cannot be removed: %s", paths->raw,
				 strerror(errno));
	(void)os_folder_sync(
		folder); /* ignoring: a file that comes back after a power cut harms nothing */
	return 0;
}

int target_auto_forget(const char *storage_folder, const char *name, bool remove_data,
		       struct fault *fault)
{
	struct auto_paths paths;
	const char *arguments[AUTO_ARGUMENTS];
	struct nbdkit_server server;
	int lock_fd;
	int error = make_paths(storage_folder, name, &paths, fault);

	if (error)
		return error;
	if (access(storage_folder, F_OK) < 0 && errno == ENOENT)
		return 0; /* nothing was ever stored */
	error = lock_name(&paths, &lock_fd, fault);
	if (error)
		return error;
	server = server_of(&paths, arguments);
	error = nbdkit_server_end(&server, fault);
	if (!error)
		unlink(paths.clean);
	if (!error && remove_data)
		error = remove_files(storage_folder, &paths, fault);
	if (!error)
		unlink(paths.lock);
	close(lock_fd);
	return error;
}
