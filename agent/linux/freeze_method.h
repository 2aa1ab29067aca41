/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making one file system stand still. Most can be frozen (FIFREEZE). For simple ones that cannot, such as
 * the FAT of an EFI system partition, remounting the super block read-only does as well: it writes
 * back all, and is refused by the kernel while a file is open for writing.
 */
#ifndef BLKFERRY_AGENT_LINUX_FREEZE_METHOD_H
#define BLKFERRY_AGENT_LINUX_FREEZE_METHOD_H

enum freeze_method { FREEZE_BY_IOCTL = 1, FREEZE_BY_READ_ONLY, FREEZE_IMPOSSIBLE };

/* By the type in mountinfo. What is not known is FREEZE_IMPOSSIBLE. */
enum freeze_method freeze_method_of(const char *type);

/* fd is any file of the file system. 0 or -errno: -EBUSY when it is frozen already, or has a file
 * open for writing (read-only). May block for as long as somebody is stuck writing to it. */
int freeze_method_freeze(enum freeze_method method, int fd);
/* 0, also when it is not frozen; or -errno. */
int freeze_method_thaw(enum freeze_method method, int fd);

#endif
