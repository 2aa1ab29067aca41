// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Targets in an XCP-ng pool, xcp:VDI-UUID: the VDI is attached to the VM in which this runs (receiver/xapi/), and from
 * there on a block device or an NBD server like any other. It stays attached when the target is closed: attaching
 * takes seconds, and an agent comes back at once. The cutover, removal and the next start of the receiver detach it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "receiver/target_ops.h"
#include "receiver/xapi/xcp.h"

static int open_attached(const char *uri, uint64_t size_bytes, struct target **ret_target,
			 struct fault *fault)
{
	static const char block[] = "block:";

	if (strncmp(uri, block, strlen(block)) == 0)
		return target_block_open(uri + strlen(block), size_bytes, ret_target, fault);
	return target_nbd_open(uri, size_bytes, ret_target, fault);
}

int target_xcp_open(const char *vdi, const char *name, uint64_t size_bytes,
		    struct target **ret_target, struct fault *fault)
{
	char uri[TARGET_URI_MAX + 1];
	struct target *target;
	int error;

	if (!vdi[0])
		return fault_set(fault, FAULT_RETRY, ENODEV,
				 "there is no disk for it in the pool yet: 'blkferry xcp create "
				 "%.*s --sr STORAGE' makes it",
				 (int)(strrchr(name, '-') ? strrchr(name, '-') - name : 0), name);
	error = xcp_attach(vdi, uri, sizeof(uri), fault);
	if (error)
		return error;
	error = open_attached(uri, size_bytes, &target, fault);
	if (error)
		return error;
	error = xcp_confirm(vdi, uri, fault);
	if (error) {
		target_close(target);
		return error;
	}
	snprintf(target->info.text, sizeof(target->info.text), "xcp:%s (%.200s)", vdi, uri);
	snprintf(target->info.file_identity, sizeof(target->info.file_identity), "VDI %s", vdi);
	*ret_target = target;
	return 0;
}
