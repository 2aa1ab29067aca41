// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds nbdkit-blkferry-plugin.so; see view_plugin_path.h. */
#include "receiver/view_plugin_path.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/os_file.h"

#define PLUGIN_FILE "nbdkit-blkferry-plugin.so"

int view_plugin_path(char *ret_path, size_t size, struct fault *fault)
{
	static const char *const folders[] = {"", "../lib/blkferry/"};
	char program[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
	char *slash;

	if (length <= 0)
		return fault_set(fault, FAULT_STOP, errno, "/proc/self/exe: %s", strerror(errno));
	program[length] = '\0';
	slash = strrchr(program, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		int used = snprintf(ret_path, size, "%s/%s%s", program, folders[i], PLUGIN_FILE);

		if (used > 0 && (size_t)used < size && os_file_exists(ret_path))
			return 0;
	}
	return fault_set(fault, FAULT_STOP, ENOENT,
			 "nbdkit's plugin for views, " PLUGIN_FILE
			 ", is not installed beside %s, nor in ../lib/blkferry of it",
			 program);
}
