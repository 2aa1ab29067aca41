// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Targets on this machine: a sparse file (file:) or a block device (block:). Requests run at once, in
 * the call that starts them, through the page cache; flush is fdatasync.
 *
 * A file is locked as a whole, with the kind of lock that QEMU takes too: a virtual machine cannot be
 * started on it while it is replicated, nor the other way round. A block device is opened exclusively,
 * so the kernel refuses one that is mounted.
 */
#include "receiver/target.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/os_file.h"
#include "common/os_io.h"
#include "receiver/target_ops.h"

#define CHANNELS_MAX	  64
#define BLOCK_BYTES	  512
#define FILE_MODE	  0600
#define PUNCH_PROBE_BYTES 4096

struct target_file {
	struct target base;
	int fd;
	bool is_device;
};

static struct target_file *file_of(struct target_channel *channel)
{
	return (struct target_file *)channel->target;
}

static void file_close(struct target *target)
{
	struct target_file *file = (struct target_file *)target;

	if (file->fd >= 0)
		close(file->fd);
	target_fini(target);
	free(file);
}

static int file_channel_open(struct target *target, struct target_channel **ret_channel,
			     struct fault *fault)
{
	struct target_channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "%s: out of memory",
				 target->info.text);
	target_channel_init(channel, target);
	*ret_channel = channel;
	return 0;
}

static void file_channel_close(struct target_channel *channel)
{
	(void)channel; /* nothing is ever under way */
}

/* The three return 0 or a positive errno. */
static int zero_piece(const struct target_file *file, uint64_t offset, uint64_t length)
{
	uint64_t range[2] = {offset, length};
	int result;

	if (file->is_device)
		result = ioctl(file->fd, BLKZEROOUT, range);
	else
		result = fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (off_t)offset, (off_t)length);
	return result < 0 ? errno : 0;
}

static int zero_as_data(int fd, uint64_t offset, uint64_t length)
{
	while (length > 0) {
		uint64_t piece = length < TARGET_DATA_PIECE_BYTES ? length
								  : TARGET_DATA_PIECE_BYTES;
		int error = -os_pwrite_all(fd, target_zeroes, piece, offset);

		if (error)
			return error;
		offset += piece;
		length -= piece;
	}
	return 0;
}

static int zero_all(const struct target_file *file, const struct target_request *request)
{
	uint64_t offset = request->offset;
	uint64_t left = request->length;

	while (left > 0) {
		uint64_t piece = left < TARGET_ZERO_PIECE_BYTES ? left : TARGET_ZERO_PIECE_BYTES;
		int error = request->is_as_data ? EOPNOTSUPP : zero_piece(file, offset, piece);

		/* EINVAL: a device with 4096-byte sectors, and a range of smaller ones */
		if (error == EOPNOTSUPP || error == EINVAL)
			error = zero_as_data(file->fd, offset, piece);
		if (error)
			return error;
		offset += piece;
		left -= piece;
	}
	return 0;
}

static void file_start(struct target_channel *channel, struct target_request *request)
{
	const struct target_file *file = file_of(channel);
	int error = EINVAL;

	switch (request->kind) {
	case TARGET_WRITE:
		error = -os_pwrite_all(file->fd, request->data, request->length, request->offset);
		break;
	case TARGET_READ:
		error = -os_pread_all(file->fd, request->room, request->length, request->offset);
		break;
	case TARGET_ZERO:
		error = zero_all(file, request);
		break;
	}
	if (error)
		target_channel_say(channel, "%s of %llu bytes at %llu: %s%s",
				   target_request_name(request->kind),
				   (unsigned long long)request->length,
				   (unsigned long long)request->offset, strerror(error),
				   error == ENOSPC ? " (make room on the target's storage)" : "");
	target_request_end(channel, request, error);
}

static int file_progress(struct target_channel *channel, uint64_t deadline_ns)
{
	(void)channel;
	(void)deadline_ns;
	return 0;
}

static int file_flush(struct target_channel *channel, uint64_t deadline_ns)
{
	(void)deadline_ns; /* fdatasync cannot be given up */
	if (fdatasync(file_of(channel)->fd) < 0) {
		int error = errno;

		target_channel_say(channel, "flush: %s", strerror(error));
		return -error;
	}
	return 0;
}

static const struct target_ops file_ops = {
	.name = "file",
	.close = file_close,
	.channel_open = file_channel_open,
	.channel_close = file_channel_close,
	.start = file_start,
	.progress = file_progress,
	.flush = file_flush,
};

static struct target_file *file_new(const char *scheme, const char *path, struct fault *fault)
{
	struct target_file *file = calloc(1, sizeof(*file));

	if (!file) {
		fault_set(fault, FAULT_RETRY, ENOMEM, "%s: out of memory", path);
		return NULL;
	}
	target_init(&file->base, &file_ops);
	file->fd = -1;
	snprintf(file->base.info.text, sizeof(file->base.info.text), "%s:%s", scheme, path);
	snprintf(file->base.info.path, sizeof(file->base.info.path), "%s", path);
	file->base.info.can_flush = true;
	file->base.info.can_zero = true;
	file->base.info.channels_max = CHANNELS_MAX;
	return file;
}

/* Two names of one file are one file. */
static int claim_inode(struct target_file *file, const struct stat *st, struct fault *fault)
{
	char identity[64];
	unsigned long long device = file->is_device ? 0 : st->st_dev;
	unsigned long long node = file->is_device ? st->st_rdev : st->st_ino;

	snprintf(identity, sizeof(identity), "%s %llx:%llx", file->is_device ? "block" : "file",
		 device, node);
	return target_claim(&file->base, identity, fault);
}

/* The new name must be durable before the file is trusted. */
static int sync_new_file(int fd, const char *path)
{
	char folder[PATH_MAX];

	if (fsync(fd) < 0)
		return -errno;
	snprintf(folder, sizeof(folder), "%s", path);
	return os_folder_sync(dirname(folder));
}

static int create_file(struct target_file *file, const char *path, uint64_t size_bytes,
		       struct fault *fault)
{
	int error;

	file->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
	if (file->fd < 0)
		return fault_set(fault, FAULT_STOP, errno, "%s cannot be made: %s%s", path,
				 strerror(errno),
				 errno == ENOENT ? " (does its folder exist?)" : "");
	error = ftruncate(file->fd, (off_t)size_bytes) < 0 ? -errno : sync_new_file(file->fd, path);
	if (error) {
		unlink(path);
		return fault_set(fault, FAULT_STOP, -error, "%s cannot be made with %llu bytes: %s",
				 path, (unsigned long long)size_bytes, strerror(-error));
	}
	return 0;
}

static int set_open_fault(const char *path, int error, struct fault *fault)
{
	const char *advice = "";

	if (error == EBUSY)
		advice = ": it is mounted, or another program (LVM, RAID, a virtual machine) has "
			 "it: "
			 "free it or give another device";
	else if (error == EROFS || error == EACCES || error == EPERM)
		advice = " (it must be writable for the receiver)";
	else if (error == EISDIR)
		advice = ": give the path of a file in it";
	return fault_set(fault, FAULT_STOP, error, "%s cannot be opened: %s%s", path,
			 strerror(error), advice);
}

static int lock_file(int fd, const char *path, struct fault *fault)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return fault_set(fault, FAULT_STOP, EBUSY,
				 "%s is in use by another program: another receiver, or a virtual "
				 "machine that runs from it; end that first",
				 path);
	log_warning("%s cannot be locked (%s), ignoring: nothing else may write to it", path,
		    strerror(errno));
	return 0;
}

static int use_file(struct target_file *file, const char *path, uint64_t size_bytes,
		    struct fault *fault)
{
	struct target_info *info = &file->base.info;
	struct stat st;
	int error;

	if (fstat(file->fd, &st) < 0)
		return set_open_fault(path, errno, fault);
	if (!S_ISREG(st.st_mode))
		return fault_set(fault, FAULT_STOP, EINVAL, "%s is not a regular file%s%s", path,
				 S_ISBLK(st.st_mode) ? ": for a device give block:" : "",
				 S_ISBLK(st.st_mode) ? path : "");
	error = claim_inode(file, &st, fault);
	if (!error)
		error = lock_file(file->fd, path, fault);
	if (!error)
		error = target_check_size(info->text, (uint64_t)st.st_size, size_bytes, fault);
	if (error)
		return error;
	info->size_bytes = (uint64_t)st.st_size;
	info->block_bytes = 1;
	target_identify_file(file->fd, info->file_identity, sizeof(info->file_identity));
	info->is_known_zero = target_fd_is_hole(file->fd);
	/* A hole punched behind the end changes nothing and tells whether it can be done. */
	info->can_zero = fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, st.st_size,
				   PUNCH_PROBE_BYTES) == 0;
	return 0;
}

int target_file_open(const char *path, uint64_t size_bytes, struct target **ret_target,
		     struct fault *fault)
{
	struct target_file *file = file_new("file", path, fault);
	int error = 0;

	if (!file)
		return -ENOMEM;
	file->fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (file->fd < 0)
		error = errno == ENOENT ? create_file(file, path, size_bytes, fault)
					: set_open_fault(path, errno, fault);
	if (!error)
		error = use_file(file, path, size_bytes, fault);
	if (error) {
		file_close(&file->base);
		return error;
	}
	*ret_target = &file->base;
	return 0;
}

static int use_device(struct target_file *file, const char *path, uint64_t size_bytes,
		      struct fault *fault)
{
	struct target_info *info = &file->base.info;
	struct stat st;
	uint64_t device_bytes;
	int is_read_only = 0;
	int error;

	if (fstat(file->fd, &st) < 0 || !S_ISBLK(st.st_mode))
		return fault_set(fault, FAULT_STOP, ENOTBLK,
				 "%s is not a block device: for a file give file:%s", path, path);
	if (ioctl(file->fd, BLKGETSIZE64, &device_bytes) < 0 ||
	    ioctl(file->fd, BLKROGET, &is_read_only) < 0)
		return set_open_fault(path, errno, fault);
	if (is_read_only)
		return fault_set(
			fault, FAULT_STOP, EROFS,
			"%s is read-only: make it writable (blockdev --setrw), or give another "
			"target",
			path);
	error = claim_inode(file, &st, fault);
	if (error)
		return error;
	info->size_bytes = device_bytes - device_bytes % BLOCK_BYTES;
	info->block_bytes = BLOCK_BYTES;
	return target_check_size(info->text, info->size_bytes, size_bytes, fault);
}

int target_block_open(const char *path, uint64_t size_bytes, struct target **ret_target,
		      struct fault *fault)
{
	struct target_file *file = file_new("block", path, fault);
	struct stat st;
	int error;

	if (!file)
		return -ENOMEM;
	file->is_device = true;
	/* O_EXCL means nothing for a regular file, and opening a FIFO would wait: look first. */
	if (stat(path, &st) == 0 && !S_ISBLK(st.st_mode)) {
		error = fault_set(fault, FAULT_STOP, ENOTBLK,
				  "%s is not a block device: for a file give file:%s", path, path);
	} else {
		file->fd = open(path, O_RDWR | O_CLOEXEC | O_EXCL);
		error = file->fd < 0 ? set_open_fault(path, errno, fault)
				     : use_device(file, path, size_bytes, fault);
	}
	if (error) {
		file_close(&file->base);
		return error;
	}
	*ret_target = &file->base;
	return 0;
}
