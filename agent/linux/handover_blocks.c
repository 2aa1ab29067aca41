/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads and writes the handover's blocks on the disk; see handover_place.h. */
#include "agent/linux/handover_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct handover_block *handover_new_blocks(void)
{
	size_t bytes = (size_t)HANDOVER_BLOCKS * HANDOVER_BLOCK_BYTES;
	void *memory;

	if (posix_memalign(&memory, HANDOVER_BLOCK_BYTES, bytes) != 0)
		return NULL;
	memset(memory, 0, bytes);
	return memory;
}

int handover_open_disk(const char *path, int *ret_fd, struct fault *fault)
{
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		return fault_set(fault, FAULT_RESYNC, errno, "cannot open %s: %s", path,
				 strerror(errno));
	*ret_fd = fd;
	return 0;
}

static bool holds_all(const struct block_device *partition, const struct handover_plan *plan)
{
	for (uint32_t i = 0; i < plan->extents; i++) {
		uint64_t end = plan->extent[i].offset + plan->extent[i].length;

		if (plan->extent[i].offset < partition->start_bytes ||
		    end > partition->start_bytes + partition->size_bytes)
			return false;
	}
	return true;
}

static int open_partition(const struct handover_plan *plan, const char *path,
			  struct handover_plan *ret_place)
{
	struct block_tree tree;
	int disk, fd = -1;

	if (tree_load(&system_roots_default, &tree) < 0)
		return -1;
	disk = tree_find_path(&tree, path);
	for (unsigned int i = 0; i < tree.count && disk >= 0 && fd < 0; i++) {
		const struct block_device *partition = &tree.devices[i];
		char node[SYSFS_NAME_MAX + 8];

		if (partition->parent != disk || !holds_all(partition, plan))
			continue;
		snprintf(node, sizeof(node), "/dev/%s", partition->name);
		for (char *at = node; *at; at++)
			if (*at == '!')
				*at = '/';
		fd = open(node, O_RDWR | O_DSYNC | O_DIRECT | O_CLOEXEC);
		*ret_place = *plan;
		for (uint32_t k = 0; k < plan->extents; k++)
			ret_place->extent[k].offset -= partition->start_bytes;
	}
	tree_fini(&tree);
	return fd;
}

int handover_open_place(const struct handover_plan *plan, const char *path,
			struct handover_plan *ret_place, int *ret_fd, struct fault *fault)
{
	/* A kernel may refuse to open what is mounted for writing, but not the disk that it lies on. */
	int fd = open_partition(plan, path, ret_place);

	if (fd < 0) {
		*ret_place = *plan;
		fd = open(path, O_RDWR | O_DSYNC | O_DIRECT | O_CLOEXEC);
	}
	if (fd < 0)
		return fault_set(fault, FAULT_RESYNC, errno, "cannot open %s: %s", path,
				 strerror(errno));
	*ret_fd = fd;
	return 0;
}

/* How many blocks from index on lie together on the disk, at most `most`. */
static uint32_t run_of(const struct handover_plan *plan, uint32_t index, uint32_t most)
{
	uint64_t offset = handover_plan_offset(plan, index);
	uint32_t count = 1;

	while (count < most && count < HANDOVER_PIECE_BYTES / HANDOVER_BLOCK_BYTES &&
	       handover_plan_offset(plan, index + count) ==
		       offset + (uint64_t)count * HANDOVER_BLOCK_BYTES)
		count++;
	return count;
}

typedef ssize_t transfer_fn(int fd, struct handover_block *blocks, size_t bytes, off_t offset);

static ssize_t read_piece(int fd, struct handover_block *blocks, size_t bytes, off_t offset)
{
	return pread(fd, blocks, bytes, offset);
}

static ssize_t write_piece(int fd, struct handover_block *blocks, size_t bytes, off_t offset)
{
	return pwrite(fd, blocks, bytes, offset);
}

static int transfer(int fd, const struct handover_plan *plan, uint32_t first, uint32_t count,
		    struct handover_block *blocks, transfer_fn *move)
{
	for (uint32_t i = first, run; i < first + count; i += run) {
		size_t bytes;
		ssize_t done;

		run = run_of(plan, i, first + count - i);
		bytes = (size_t)run * HANDOVER_BLOCK_BYTES;
		done = move(fd, &blocks[i], bytes, (off_t)handover_plan_offset(plan, i));
		if (done < 0)
			return -errno;
		if ((size_t)done != bytes)
			return -EIO;
	}
	return 0;
}

int handover_read(int fd, const struct handover_plan *plan, uint32_t first, uint32_t count,
		  struct handover_block *blocks, struct fault *fault)
{
	int error = transfer(fd, plan, first, count, blocks, read_piece);

	if (error)
		return fault_set(fault, FAULT_RESYNC, -error,
				 "the record of the last stop cannot be read from %s: %s",
				 plan->disk_path, strerror(-error));
	return 0;
}

int handover_write(int fd, const struct handover_plan *plan, uint32_t first, uint32_t count,
		   struct handover_block *blocks, struct fault *fault)
{
	struct handover_block *there = handover_new_blocks();
	int error = there ? handover_read(fd, plan, first, count, there, fault)
			  : fault_set(fault, FAULT_RESYNC, ENOMEM, "out of memory");

	for (uint32_t i = first; !error && i < first + count; i++) {
		if (!handover_block_is_ours(&there[i], plan->file_id, i))
			error = fault_set(fault, FAULT_RESYNC, EPERM,
					  "what lies on %s where the record of a stop belongs is "
					  "something else: run 'blkferry-agent initramfs'",
					  plan->disk_path);
	}
	free(there);
	if (error)
		return error;
	error = transfer(fd, plan, first, count, blocks, write_piece);
	if (!error && fdatasync(fd) < 0)
		error = -errno;
	if (error)
		return fault_set(fault, FAULT_RESYNC, -error, "cannot write to %s: %s",
				 plan->disk_path, strerror(-error));
	return 0;
}

int handover_set_state(int fd, const struct handover_plan *plan, enum handover_state state,
		       const char *text, struct fault *fault)
{
	struct handover_block *blocks = handover_new_blocks(), wanted = {0};
	int error = blocks ? handover_read(fd, plan, 0, 1, blocks, fault)
			   : fault_set(fault, FAULT_RESYNC, ENOMEM, "out of memory");

	if (!error) {
		/* A torn block is none whose generation counts: what follows it is another one's. */
		uint64_t generation =
			handover_block_is_whole(blocks, plan->file_id, 0) ? blocks->generation : 0;

		handover_block_fill(&wanted, plan->file_id, generation, 0, state, text,
				    text ? (uint32_t)strlen(text) : 0);
		blocks[0] = wanted;
		error = handover_write(fd, plan, 0, 1, blocks, fault);
	}
	if (!error) {
		memset(&blocks[0], 0, sizeof(blocks[0]));
		error = handover_read(fd, plan, 0, 1, blocks, fault);
	}
	if (!error && memcmp(&blocks[0], &wanted, sizeof(wanted)) != 0)
		error = fault_set(fault, FAULT_RESYNC, EIO,
				  "%s does not keep what is written to it", plan->disk_path);
	free(blocks);
	return error;
}
