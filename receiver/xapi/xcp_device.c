// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which /dev/xvdX is it? Names are given in the order in which disks come; the number that the pool gave the
 * disk is in the device's name on the xenstore bus: /sys/block/xvdb/device/nodename says device/vbd/51728.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_file.h"
#include "receiver/xapi/xcp_internal.h"

int xcp_device_find(const char *sys_block, unsigned int id, char *ret_name, size_t size)
{
	char wanted[48], path[512];
	DIR *folder = opendir(sys_block);
	struct dirent *entry;
	int error = -ENOENT;

	snprintf(wanted, sizeof(wanted), "device/vbd/%u", id);
	while (folder && error && (entry = readdir(folder))) {
		char *text;
		size_t length;

		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= size)
			continue;
		snprintf(path, sizeof(path), "%.200s/%s/device/nodename", sys_block, entry->d_name);
		if (os_file_read(path, 128, &text, &length))
			continue;
		text[strcspn(text, "\n")] = '\0';
		if (strcmp(text, wanted) == 0) {
			strcpy(ret_name, entry->d_name);
			error = 0;
		}
		free(text);
	}
	if (folder)
		closedir(folder);
	return error;
}
