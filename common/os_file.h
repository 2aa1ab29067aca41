/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small files: whole reads, atomic durable writes, folders, locks. Paths are UTF-8. */
#ifndef BLKFERRY_COMMON_OS_FILE_H
#define BLKFERRY_COMMON_OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads a whole file of at most limit bytes; adds a NUL after the end that ret_size does not
 * count. The caller frees *ret_data. -EFBIG when it is larger. */
int os_file_read(const char *path, size_t limit, char **ret_data, size_t *ret_size);
/* The same with the rest of an open file. */
int os_file_read_fd(int fd, size_t limit, char **ret_data, size_t *ret_size);

bool os_file_exists(const char *path);

/* Replaces path by data: written to a temporary beside it, fsynced, renamed, folder fsynced.
 * mode is like 0600. After 0 is returned the new content survives a power cut; after a failure the
 * old content is untouched. */
int os_file_write_atomic(const char *path, const void *data, size_t size, unsigned int mode);

/* Like mkdir -p; folders that it makes get mode. */
int os_folder_make(const char *path, unsigned int mode);
/* Removes path and all below it; a path that is not there is success. Does not follow links. */
int os_folder_remove(const char *path);
/* fsyncs a folder, so that names created, renamed or removed in it are durable. */
int os_folder_sync(const char *path);

/* Takes an exclusive lock on path (created if needed), held until closed or the process ends.
 * Returns 0, -EWOULDBLOCK when another process has it, or -errno. */
int os_file_lock(const char *path, int *ret_fd);
/* Makes a folder as os_folder_make does, and takes the lock of whoever owns it: on the file "lock" in it. */
int os_folder_lock(const char *path, unsigned int mode, int *ret_fd);

/* Fills buffer with random bytes from the operating system; aborts if it cannot. */
void os_random(void *buffer, size_t size);

#endif
