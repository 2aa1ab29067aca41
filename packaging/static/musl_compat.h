/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Included before every file of the static programs: what Debian 12's musl (1.2.3) lacks of the kernel's calls. */
#ifndef BLKFERRY_PACKAGING_STATIC_MUSL_COMPAT_H
#define BLKFERRY_PACKAGING_STATIC_MUSL_COMPAT_H

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef STATX_BTIME
#include <linux/types.h>
/* The kernel's header defines these, too, in its own words. */
#undef S_IFMT
#undef S_IFSOCK
#undef S_IFLNK
#undef S_IFREG
#undef S_IFBLK
#undef S_IFDIR
#undef S_IFCHR
#undef S_IFIFO
#undef S_ISUID
#undef S_ISGID
#undef S_ISVTX
#undef S_ISLNK
#undef S_ISREG
#undef S_ISDIR
#undef S_ISCHR
#undef S_ISBLK
#undef S_ISFIFO
#undef S_ISSOCK
#undef S_IRWXU
#undef S_IRUSR
#undef S_IWUSR
#undef S_IXUSR
#undef S_IRWXG
#undef S_IRGRP
#undef S_IWGRP
#undef S_IXGRP
#undef S_IRWXO
#undef S_IROTH
#undef S_IWOTH
#undef S_IXOTH
#include <linux/stat.h>

static inline int statx(int folder, const char *path, int flags, unsigned int mask,
			struct statx *ret_file)
{
	return (int)syscall(SYS_statx, folder, path, flags, mask, ret_file);
}
#endif

#endif
