// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VBDs: making one, finding one; and which /dev/xvdX is it? Names are given in the order in which disks come; the number that the pool gave the
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

int xcp_vbd_give(struct xapi *xapi, const char *vm, const char *vdi, unsigned int index,
		 struct fault *fault)
{
	char ref[XAPI_REF_MAX], vbd[XAPI_REF_MAX] = "", device[8];
	int error = xapi_get_text(xapi, "VDI.get_by_uuid", vdi, ref, sizeof(ref), fault);

	if (!error)
		error = xcp_vbd_find(xapi, vm, ref, vbd, fault);
	if (error || vbd[0])
		return error;
	snprintf(device, sizeof(device), "%u", xcp_device_of(index));
	return xapi_callf(xapi, NULL, fault, "VBD.create",
			  "[{s:s, s:s, s:s, s:b, s:s, s:s, s:b, s:b, s:{}, s:s, s:{}}]", "VM", vm,
			  "VDI", ref, "userdevice", device, "bootable", index == 0, "mode", "RW",
			  "type", "Disk", "unpluggable", 1, "empty", 0, "other_config",
			  "qos_algorithm_type", "", "qos_algorithm_params");
}

int xcp_vbd_find(struct xapi *xapi, const char *vm, const char *vdi_ref, char *ret_vbd,
		 struct fault *fault)
{
	json_t *vbds;
	int error = xapi_callf(xapi, &vbds, fault, "VDI.get_VBDs", "[s]", vdi_ref);

	ret_vbd[0] = '\0';
	if (error)
		return error;
	for (size_t i = 0; !error && i < json_array_size(vbds); i++) {
		const char *vbd = json_string_value(json_array_get(vbds, i));
		char owner[XAPI_REF_MAX];

		if (!vbd)
			continue;
		error = xapi_get_text(xapi, "VBD.get_VM", vbd, owner, sizeof(owner), fault);
		if (!error && strcmp(owner, vm) == 0)
			snprintf(ret_vbd, XAPI_REF_MAX, "%s", vbd);
	}
	json_decref(vbds);
	return error;
}
