/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The canary: a block of a file in the agent's state folder is written, its address on the disk is asked
 * of the file system (FIEMAP), and exactly there a dirty bit has to appear. It proves the whole chain
 * (file system, partition, disk, program, bitmap) with a write, where the state folder happens to lie on a
 * tracked disk; where it does not, or where the chain cannot be followed (device mapper, btrfs), it is
 * left out. While capture is on, its bytes have to come out of the ring instead.
 */
#include "agent/linux/tracker_set.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/fiemap.h>
#include <linux/fs.h>

#include "agent/linux/capture_ring.h"
#include "agent/linux/sysfs.h"
#include "common/os_file.h"

#define CANARY_BYTES 4096u
#define CANARY_NAME  "canary"

/* Not at an address that can be compared. */
#define EXTENT_UNFIT                                                                               \
	(FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |                  \
	 FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE |    \
	 FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_UNWRITTEN)

/* Where the device that a file system is on begins, on which disk. -ENOENT when it is no disk and
 * no partition. */
static int find_disk(dev_t device, uint32_t *ret_major, uint32_t *ret_minor, uint64_t *ret_start)
{
	char path[128], text[32];
	uint64_t start = 0;
	int r;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/start", major(device), minor(device));
	r = sysfs_read_text(path, text, sizeof(text));
	if (r == -ENOENT) { /* a whole disk, or none */
		*ret_major = major(device);
		*ret_minor = minor(device);
		*ret_start = 0;
		return 0;
	}
	if (r == 0)
		r = sysfs_parse_number(text, &start);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major(device), minor(device));
	r = sysfs_read_text(path, text, sizeof(text));
	if (r == 0)
		r = sysfs_parse_device(text, ret_major, ret_minor);
	if (r == 0)
		*ret_start = start * 512;
	return r;
}

static int find_slot(const struct tracker_set *set, uint32_t disk_major, uint32_t disk_minor)
{
	for (unsigned int i = 0; i < set->state->header.slots; i++) {
		if (set->state->slots[i].major == disk_major &&
		    set->state->slots[i].minor == disk_minor)
			return (int)i;
	}
	return -1;
}

static int write_block(int fd, const void *block)
{
	ssize_t done = pwrite(fd, block, CANARY_BYTES, 0);

	if (done < 0)
		return -errno;
	return done == CANARY_BYTES ? 0 : -EIO;
}

/* Byte address of the file's block on its file system's device. -ENOENT when that is not to be had. */
static int locate(int fd, uint64_t *ret_address)
{
	union {
		struct fiemap map;
		char space[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} request = {.map = {
			     .fm_length = CANARY_BYTES,
			     .fm_flags = FIEMAP_FLAG_SYNC,
			     .fm_extent_count = 1,
		     }};
	const struct fiemap_extent *extent = request.map.fm_extents;

	if (ioctl(fd, FS_IOC_FIEMAP, &request) < 0)
		return -ENOENT;
	if (request.map.fm_mapped_extents != 1 || (extent->fe_flags & EXTENT_UNFIT) ||
	    extent->fe_logical != 0 || extent->fe_length < CANARY_BYTES)
		return -ENOENT;
	*ret_address = extent->fe_physical;
	return 0;
}

/* Do the records from position on hold the whole block at that address? What is being filled comes to an end
 * soon: it was reserved before the write was reported done. */
static bool is_in_ring(const struct tracker_set *set, unsigned int slot, uint64_t address,
		       const uint8_t *block, uint64_t position)
{
	uint8_t data[TRACKER_PIECE_BYTES];
	struct tracker_record head;
	uint64_t start, found = 0;

	while (capture_ring_next(&set->ring, &position, &start, &head, data) ==
	       CAPTURE_FOUND_RECORD) {
		uint64_t first = head.offset > address ? head.offset : address;
		uint64_t end = head.offset + head.length;

		if (end > address + CANARY_BYTES)
			end = address + CANARY_BYTES;
		if (head.slot != slot || head.kind != TRACKER_RECORD_DATA || first >= end)
			continue;
		if (memcmp(data + (first - head.offset), block + (first - address), end - first) !=
		    0)
			return false;
		found += end - first;
	}
	return found >= CANARY_BYTES;
}

/* Writes the block twice: the first time to have an address, the second to look at its bit, which
 * is moved away (to todo, where it loses nothing) in between. A file system that writes elsewhere each time
 * is followed: only the address after the second write counts. */
static int write_and_look(struct tracker_set *set, unsigned int slot, uint64_t start, int fd,
			  const void *block, bool *ret_was_run, struct fault *fault)
{
	const struct tracker_slot *info = &set->state->slots[slot];
	struct bitmap dirty = set_dirty(set, slot);
	uint64_t address, first, last, position;
	int r = write_block(fd, block);

	if (r < 0 || locate(fd, &address) < 0)
		return 0;
	merge_take_seen(set, slot);
	position = capture_ring_produced(&set->ring);
	r = write_block(fd, block);
	if (r < 0 || locate(fd, &address) < 0)
		return 0;
	first = (start + address) / layout_block_bytes(info);
	last = (start + address + CANARY_BYTES - 1) / layout_block_bytes(info);
	*ret_was_run = true;
	if (last < info->bits && bitmap_test_any(&dirty, first, 1) &&
	    bitmap_test_any(&dirty, last, 1))
		return 0;
	if (is_in_ring(set, slot, start + address, block, position))
		return 0;
	return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
			 "self-test: a block was written at byte %" PRIu64
			 " of disk %u:%u, and neither a dirty bit nor its bytes appeared",
			 start + address, info->major, info->minor);
}

int selftest_canary(struct tracker_set *set, const char *state_folder, bool *ret_was_run,
		    struct fault *fault)
{
	char path[SET_PATH_MAX];
	uint32_t disk_major, disk_minor;
	uint64_t start = 0;
	struct stat st;
	void *block;
	int slot, fd, r;

	if (stat(state_folder, &st) < 0 ||
	    find_disk(st.st_dev, &disk_major, &disk_minor, &start) < 0)
		return 0;
	slot = find_slot(set, disk_major, disk_minor);
	if (slot < 0 ||
	    snprintf(path, sizeof(path), "%s/" CANARY_NAME, state_folder) >= (int)sizeof(path))
		return 0;
	fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_SYNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return 0;
	if (posix_memalign(&block, CANARY_BYTES, CANARY_BYTES) != 0) {
		close(fd);
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	}
	os_random(block, CANARY_BYTES);
	r = write_and_look(set, (unsigned int)slot, start, fd, block, ret_was_run, fault);
	free(block);
	close(fd);
	return r;
}
