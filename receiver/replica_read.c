// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The history's look at the targets: what a block holds before it is overwritten. Small reads, and many: where
 * the target is a file or device that this machine sees, they go to it directly, since a server's answer would take
 * twenty times as long for each. What was written through the server and has completed is seen there.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/os_io.h"
#include "receiver/replica_internal.h"

static void on_read(void *context, int error)
{
	*(int *)context = error;
}

static int read_channel(struct target_channel *channel, void *data, uint64_t offset,
			uint32_t length)
{
	int result = 0;
	int error = target_channel_read(channel, data, offset, length, on_read, &result);

	if (!error)
		error = target_channel_drain(channel, TARGET_STALL_NS);
	return error ? error : -result;
}

/* The descriptor or channel for this disk. The lock is held. */
static int open_reader(struct replica *replica, unsigned int slot)
{
	struct target *target = replica->disks[slot].target;
	const char *path = target_info(target)->path;

	if (replica->read_fds[slot] >= 0 || replica->readers[slot])
		return 0;
	if (path[0])
		replica->read_fds[slot] = open(path, O_RDONLY | O_CLOEXEC);
	if (replica->read_fds[slot] >= 0)
		return 0;
	return target_channel_open(target, &replica->readers[slot], NULL);
}

int replica_read(void *context, unsigned int slot, void *data, uint64_t offset, uint32_t length)
{
	struct replica *replica = context;
	int fd, error;

	if (slot >= replica->disk_count || !replica->disks[slot].target)
		return -ENODEV;
	os_mutex_lock(&replica->read_lock);
	error = open_reader(replica, slot);
	fd = replica->read_fds[slot];
	if (!error && fd < 0)
		error = read_channel(replica->readers[slot], data, offset, length);
	os_mutex_unlock(&replica->read_lock);
	if (!error && fd >= 0)
		error = os_pread_all(fd, data, length, offset);
	return error;
}

void replica_close_readers(struct replica *replica)
{
	for (unsigned int i = 0; i < WIRE_DISKS_MAX; i++) {
		if (replica->read_fds[i] >= 0)
			close(replica->read_fds[i]);
		if (replica->readers[i])
			target_channel_close(replica->readers[i]);
		replica->read_fds[i] = -1;
		replica->readers[i] = NULL;
	}
}
