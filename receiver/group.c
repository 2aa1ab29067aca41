// SPDX-License-Identifier: GPL-2.0-or-later
/* Giving files to the control group; see group.h. */
#include "receiver/group.h"

#include <errno.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWNERS_RIGHTS 0700u

int group_give(const char *path, const char *group, unsigned int mode)
{
	struct group entry, *found = NULL;
	char buffer[4096];
	int error = getgrnam_r(group, &entry, buffer, sizeof(buffer), &found);

	if (!error && !found)
		error = ENOENT;
	if (!error && chown(path, (uid_t)-1, entry.gr_gid))
		error = errno;
	if (chmod(path, error ? mode & OWNERS_RIGHTS : mode) && !error)
		error = errno;
	return -error;
}
