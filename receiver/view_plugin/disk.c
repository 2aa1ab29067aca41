// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The read path of a view; see disk.h.
 *
 *   here                          the receiver's applier
 *   read the target               set the block's bit (its old contents are durable)
 *   look at the bit               overwrite the target
 *
 * A clear bit, seen after the read, says that the overwriting had not begun when the read ended.
 */
#include "receiver/view_plugin/disk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "receiver/view_plugin/link.h"
#include "receiver/view_plugin/source.h"
#include "receiver/view_wire.h"

/* Two ranges that the receiver is asked for are one when so few blocks lie between them. */
#define NEAR_BLOCKS 4u

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the map's words are read as numbers");

struct view_disk {
	unsigned int number;
	uint64_t size_bytes, block_count;
	struct source *source; /* NULL: none */
	struct link *link;
	const _Atomic uint64_t *map; /* bit n % 64 of word n / 64: block n was overwritten */
	size_t map_bytes;
};

static int map_open(struct view_disk *disk, const char *path, uint64_t offset, struct fault *fault)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map;

	if (fd < 0)
		return fault_set(fault, FAULT_STOP, errno, "map %s: %s", path, strerror(errno));
	disk->map_bytes = (disk->block_count + 7) / 8;
	if (fstat(fd, &st) < 0 || offset % 4096 || offset > (uint64_t)st.st_size ||
	    disk->map_bytes > (uint64_t)st.st_size - offset) {
		close(fd);
		return fault_set(fault, FAULT_STOP, EINVAL, "map %s is too small for the disk",
				 path);
	}
	map = mmap(NULL, disk->map_bytes, PROT_READ, MAP_SHARED, fd, (off_t)offset);
	close(fd);
	if (map == MAP_FAILED)
		return fault_set(fault, FAULT_STOP, errno, "map %s: %s", path, strerror(errno));
	disk->map = map;
	return 0;
}

int view_disk_open(const struct view_disk_setup *setup, struct view_disk **ret_disk,
		   struct fault *fault)
{
	struct view_disk *disk = calloc(1, sizeof(*disk));
	int error = 0;

	if (!disk)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	disk->number = setup->number;
	disk->size_bytes = setup->size_bytes;
	disk->block_count = (setup->size_bytes + VIEW_BLOCK_BYTES - 1) / VIEW_BLOCK_BYTES;
	if (setup->target) {
		error = map_open(disk, setup->map_path, setup->map_offset, fault);
		if (!error)
			error = source_open(setup->target, setup->size_bytes, &disk->source, fault);
	}
	if (!error)
		error = link_open(setup->socket_path, setup->number, &disk->link, fault);
	if (error) {
		view_disk_close(disk);
		return error;
	}
	*ret_disk = disk;
	return 0;
}

void view_disk_close(struct view_disk *disk)
{
	if (!disk)
		return;
	link_close(disk->link);
	source_close(disk->source);
	if (disk->map)
		munmap((void *)disk->map, disk->map_bytes);
	free(disk);
}

/* The first block from..end-1 whose bit is `wanted`; end when there is none. */
static uint64_t find_bit(const struct view_disk *disk, uint64_t from, uint64_t end, bool wanted)
{
	while (from < end) {
		uint64_t word = atomic_load_explicit(&disk->map[from / 64], memory_order_acquire);
		uint64_t hits = (wanted ? word : ~word) >> from % 64;

		if (hits) {
			from += (uint64_t)__builtin_ctzll(hits);
			return from < end ? from : end;
		}
		from += 64 - from % 64;
	}
	return end;
}

/* The next blocks that were overwritten, at or after *from; what lies between two near ones is taken along.
 * False: no more before end. */
static bool next_overwritten(const struct view_disk *disk, uint64_t *from, uint64_t end,
			     uint64_t *ret_end)
{
	uint64_t first = find_bit(disk, *from, end, true), last = first, next = first;

	if (first == end)
		return false;
	while (next < end && next - last <= NEAR_BLOCKS) {
		last = find_bit(disk, next, end, false);
		next = find_bit(disk, last, end, true);
	}
	*from = first;
	*ret_end = last;
	return true;
}

/* What of first..end (bytes, whole blocks or the disk's end) lies in offset..offset+length goes to data. */
static int ask_receiver(struct view_disk *disk, char *data, uint64_t offset, uint32_t length,
			uint64_t first, uint64_t end, struct fault *fault)
{
	uint64_t from = first > offset ? first : offset;
	uint64_t until = end < offset + length ? end : offset + length;
	char *bounce;
	int error;

	assert(first < end);
	if (from == first && until == end)
		return link_read(disk->link, data + (from - offset), first, (uint32_t)(end - first),
				 fault);
	bounce = malloc(end - first);
	if (!bounce)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	error = link_read(disk->link, bounce, first, (uint32_t)(end - first), fault);
	if (!error)
		memcpy(data + (from - offset), bounce + (from - first), until - from);
	free(bounce);
	return error;
}

static int ask_blocks(struct view_disk *disk, char *data, uint64_t offset, uint32_t length,
		      uint64_t first_block, uint64_t end_block, struct fault *fault)
{
	uint64_t end = end_block * VIEW_BLOCK_BYTES;

	return ask_receiver(disk, data, offset, length, first_block * VIEW_BLOCK_BYTES,
			    end < disk->size_bytes ? end : disk->size_bytes, fault);
}

int view_disk_read(struct view_disk *disk, void *data, uint64_t offset, uint32_t length,
		   struct fault *fault)
{
	uint64_t block = offset / VIEW_BLOCK_BYTES, end_block, run_end;
	struct fault ignored = {0};

	if (length == 0)
		return 0;
	if (offset > disk->size_bytes || length > disk->size_bytes - offset)
		return fault_set(fault, FAULT_STOP, EINVAL, "a read beyond the disk's end");
	end_block = (offset + length - 1) / VIEW_BLOCK_BYTES + 1;
	/* A target that cannot be read here: the receiver has connections of its own, and whole undo records. */
	if (!disk->source || source_read(disk->source, data, offset, length, &ignored))
		return ask_blocks(disk, data, offset, length, block, end_block, fault);
	atomic_thread_fence(memory_order_seq_cst); /* the map after the bytes */
	while (next_overwritten(disk, &block, end_block, &run_end)) {
		int error = ask_blocks(disk, data, offset, length, block, run_end, fault);

		if (error)
			return error;
		block = run_end;
	}
	return 0;
}

bool view_disk_knows_holes(const struct view_disk *disk)
{
	return disk->source && source_knows_holes(disk->source);
}

bool view_disk_is_zero(const struct view_disk *disk, uint64_t offset, uint64_t limit,
		       uint64_t *ret_length)
{
	uint64_t block = offset / VIEW_BLOCK_BYTES, end_block, length, until;
	bool is_zero = source_is_hole(disk->source, offset, limit, &length);

	if (is_zero) {
		atomic_thread_fence(memory_order_seq_cst); /* as in view_disk_read */
		end_block = (offset + length - 1) / VIEW_BLOCK_BYTES + 1;
		until = find_bit(disk, block, end_block, true);
		if (until == block) {
			is_zero = false;
			until = find_bit(disk, block, end_block, false);
		}
		if (until < end_block)
			length = until * VIEW_BLOCK_BYTES - offset;
	}
	*ret_length = length;
	return is_zero;
}

int view_disk_lifeline(const struct view_disk *disk)
{
	return link_lifeline(disk->link);
}
