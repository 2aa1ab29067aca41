/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An nbdkit plugin that writes to a file and logs what it wrote (README.md). One request at a time, so
 * that the log's order is the order in which the contents changed.
 *
 * Parameters: file=IMAGE log=LOG
 */
#define NBDKIT_API_VERSION 2
#define THREAD_MODEL	   NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nbdkit-plugin.h>
#include <xxhash.h>

#include "tests/oracle/oracle_log.h"

static char *image_path, *log_path;
static int image_fd = -1, log_fd = -1;

static int oracle_config(const char *key, const char *value)
{
	char **path;

	if (strcmp(key, "file") == 0) {
		path = &image_path;
	} else if (strcmp(key, "log") == 0) {
		path = &log_path;
	} else {
		nbdkit_error("unknown parameter %s: file=IMAGE and log=LOG", key);
		return -1;
	}
	free(*path);
	*path = nbdkit_absolute_path(value);
	return *path ? 0 : -1;
}

static int oracle_get_ready(void)
{
	if (!image_path || !log_path) {
		nbdkit_error("file=IMAGE and log=LOG are needed");
		return -1;
	}
	image_fd = open(image_path, O_RDWR | O_CLOEXEC);
	log_fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (image_fd < 0 || log_fd < 0) {
		nbdkit_error("%s: %m", image_fd < 0 ? image_path : log_path);
		return -1;
	}
	return 0;
}

static void *oracle_open(int readonly)
{
	return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t oracle_get_size(void *handle)
{
	struct stat status;

	if (fstat(image_fd, &status) < 0) {
		nbdkit_error("%s: %m", image_path);
		return -1;
	}
	return status.st_size;
}

static int transfer(ssize_t moved, uint32_t count)
{
	if (moved == (ssize_t)count)
		return 0;
	if (moved >= 0)
		errno = EIO;
	nbdkit_error("%m");
	return -1;
}

static int oracle_pread(void *handle, void *buffer, uint32_t count, uint64_t offset, uint32_t flags)
{
	return transfer(pread(image_fd, buffer, count, (off_t)offset), count);
}

static int oracle_pwrite(void *handle, const void *buffer, uint32_t count, uint64_t offset,
			 uint32_t flags)
{
	uint32_t sectors = count / ORACLE_SECTOR_BYTES;
	struct oracle_entry *entries;
	int result;

	if (count % ORACLE_SECTOR_BYTES || offset % ORACLE_SECTOR_BYTES) {
		nbdkit_error("%u bytes at %llu are not whole sectors", count,
			     (unsigned long long)offset);
		errno = EINVAL;
		return -1;
	}
	if (transfer(pwrite(image_fd, buffer, count, (off_t)offset), count) < 0)
		return -1;
	entries = malloc(sectors * sizeof(*entries));
	if (!entries) {
		nbdkit_error("out of memory");
		return -1;
	}
	for (uint32_t i = 0; i < sectors; i++)
		entries[i] = (struct oracle_entry){
			.sector = offset / ORACLE_SECTOR_BYTES + i,
			.hash = XXH3_64bits((const char *)buffer + i * ORACLE_SECTOR_BYTES,
					    ORACLE_SECTOR_BYTES),
		};
	result = transfer(write(log_fd, entries, sectors * sizeof(*entries)),
			  sectors * (uint32_t)sizeof(*entries));
	free(entries);
	return result;
}

static int oracle_flush(void *handle, uint32_t flags)
{
	if (fdatasync(image_fd) == 0)
		return 0;
	nbdkit_error("%m");
	return -1;
}

static struct nbdkit_plugin plugin = {
	.name = "oracle",
	.description = "writes to a file and logs what was written",
	.config = oracle_config,
	.get_ready = oracle_get_ready,
	.open = oracle_open,
	.get_size = oracle_get_size,
	.pread = oracle_pread,
	.pwrite = oracle_pwrite,
	.flush = oracle_flush,
};

NBDKIT_REGISTER_PLUGIN(plugin)
