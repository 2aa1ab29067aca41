/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads and writes that go on until all is done: a system call may do a part only, or be interrupted by a
 * signal. For blocking descriptors. Functions return 0 or -errno where nothing else is said.
 */
#ifndef BLKFERRY_COMMON_OS_IO_H
#define BLKFERRY_COMMON_OS_IO_H

#include <stddef.h>
#include <stdint.h>

/* Read until size bytes or the end. Return how many bytes, or -errno. */
int64_t os_read_up_to(int fd, void *buffer, size_t size);
int64_t os_pread_up_to(int fd, void *buffer, size_t size, uint64_t offset);
/* Reads size bytes; -EIO when the file ends before. */
int os_pread_all(int fd, void *buffer, size_t size, uint64_t offset);

/* After a failure any part may be written. -ENOSPC also where a write takes nothing and gives no error. */
int os_write_all(int fd, const void *data, size_t size);
int os_pwrite_all(int fd, const void *data, size_t size, uint64_t offset);

/* On a socket. A peer that is gone is -EPIPE or -ECONNRESET, never a signal. */
int os_send_all(int fd, const void *data, size_t size);
int os_receive_all(int fd, void *buffer, size_t size);

#endif
