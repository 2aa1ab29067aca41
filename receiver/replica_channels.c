// SPDX-License-Identifier: GPL-2.0-or-later
/* Channels to all disks of a replica: for who writes to them in the replica's order, the applier or a rollback. */
#include <string.h>

#include "receiver/replica_internal.h"

int replica_channels_open(struct replica *replica, struct target_channel *channels[WIRE_DISKS_MAX],
			  struct fault *fault)
{
	int error = 0;

	for (unsigned int i = 0; !error && i < replica->disk_count; i++)
		if (replica->disks[i].target)
			error = target_channel_open(replica->disks[i].target, &channels[i], fault);
	return error;
}

int replica_channels_flush(struct replica *replica,
			   struct target_channel *const channels[WIRE_DISKS_MAX],
			   struct fault *fault)
{
	for (unsigned int i = 0; i < replica->disk_count; i++) {
		int error;

		if (!channels[i])
			continue;
		error = target_channel_flush(channels[i], TARGET_STALL_NS);
		if (error)
			return fault_set(fault, FAULT_RETRY, -error,
					 "flushing the target of disk %u failed: %s", i,
					 target_channel_error(channels[i]));
		error = have_commit_marks(replica->disks[i].have);
		if (error)
			return fault_set(fault, FAULT_RETRY, -error,
					 "cannot store what the replica has: %s", strerror(-error));
	}
	return 0;
}

void replica_channels_close(struct target_channel *channels[WIRE_DISKS_MAX], uint64_t stall_ns)
{
	for (unsigned int i = 0; i < WIRE_DISKS_MAX; i++) {
		if (!channels[i])
			continue;
		(void)target_channel_drain(channels[i], stall_ns);
		target_channel_close(channels[i]);
	}
}
