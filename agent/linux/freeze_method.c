/* SPDX-License-Identifier: GPL-2.0-or-later */
/* FIFREEZE, FITHAW, and read-only remounts of a super block by file descriptor (no path look-up). */
#include "agent/linux/freeze_method.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/fs.h>

/* glibc before 2.36 has neither these nor their constants in sys/mount.h. */
#ifndef FSPICK_EMPTY_PATH
#define FSPICK_CLOEXEC		 0x1
#define FSPICK_EMPTY_PATH	 0x8
#define FSCONFIG_SET_FLAG	 0
#define FSCONFIG_CMD_RECONFIGURE 7
#endif

enum freeze_method freeze_method_of(const char *type)
{
	/* Those whose super_operations have freeze_fs or freeze_super. */
	static const char *const by_ioctl[] = {"ext2",	 "ext3",     "ext4",	"xfs",
					       "btrfs",	 "f2fs",     "jfs",	"gfs2",
					       "nilfs2", "reiserfs", "bcachefs"};
	/* No journal and no daemon behind: read-only means that no write follows. */
	static const char *const by_read_only[] = {"vfat", "msdos",   "exfat", "ntfs3",
						   "hfs",  "hfsplus", "udf",   "minix"};

	for (size_t i = 0; i < sizeof(by_ioctl) / sizeof(by_ioctl[0]); i++)
		if (strcmp(type, by_ioctl[i]) == 0)
			return FREEZE_BY_IOCTL;
	for (size_t i = 0; i < sizeof(by_read_only) / sizeof(by_read_only[0]); i++)
		if (strcmp(type, by_read_only[i]) == 0)
			return FREEZE_BY_READ_ONLY;
	return FREEZE_IMPOSSIBLE;
}

/* Changes the super block alone: mount(2) with MS_REMOUNT would reset the mount's flags too. */
static int reconfigure(int fd, const char *flag)
{
	int context = (int)syscall(SYS_fspick, fd, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC);
	int result = 0;

	if (context < 0)
		return -errno;
	if (syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, flag, NULL, 0) < 0 ||
	    syscall(SYS_fsconfig, context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		result = -errno;
	close(context);
	return result;
}

int freeze_method_freeze(enum freeze_method method, int fd)
{
	switch (method) {
	case FREEZE_BY_IOCTL:
		return ioctl(fd, FIFREEZE, 0) < 0 ? -errno : 0;
	case FREEZE_BY_READ_ONLY:
		if (syncfs(fd) < 0)
			return -errno;
		return reconfigure(fd, "ro");
	case FREEZE_IMPOSSIBLE:
		break;
	}
	return -EOPNOTSUPP;
}

int freeze_method_thaw(enum freeze_method method, int fd)
{
	switch (method) {
	case FREEZE_BY_IOCTL:
		return ioctl(fd, FITHAW, 0) < 0 && errno != EINVAL ? -errno : 0;
	case FREEZE_BY_READ_ONLY:
		return reconfigure(fd, "rw");
	case FREEZE_IMPOSSIBLE:
		break;
	}
	return 0;
}
