/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Digests of ranges of a disk, read past every cache. */
#ifndef BLKFERRY_AGENT_LINUX_HANDOVER_WATCH_H
#define BLKFERRY_AGENT_LINUX_HANDOVER_WATCH_H

#include <stdint.h>

/* fd: open with O_DIRECT; offset and length: whole logical blocks. 0 or -errno. */
int watch_digest(int fd, uint64_t offset, uint64_t length, uint8_t ret_digest[16]);

#endif
