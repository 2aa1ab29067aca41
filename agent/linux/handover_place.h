/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the handover lies: a file that the file system makes and never touches again, whose blocks are read and
 * written where they are on the disk. So it can be written when the root file system is read-only already, and read
 * before anything is mounted, as hibernation does with a swap file.
 *
 * What keeps a foreign block from being written over: the file's addresses are asked for again while its file
 * system is read-only and they cannot change any more (handover_locate), and each block on the disk has to say that
 * it is that block of that file before it is written (handover_write).
 */
#ifndef BLKFERRY_AGENT_LINUX_HANDOVER_PLACE_H
#define BLKFERRY_AGENT_LINUX_HANDOVER_PLACE_H

#include "agent/handover.h"
#include "agent/linux/disks_tree.h"
#include "agent/linux/dm_mapping.h"

/* The largest piece that is read or written at a time. */
#define HANDOVER_PIECE_BYTES (1u << 20)

/* Makes the file if it is not there or is none. ext4 and XFS only: others may move a file's blocks. */
int handover_make_file(const char *path, uint8_t ret_file_id[16], struct fault *fault);
/* Fills the plan's disk and extents. With FIEMAP and what lies below the file system. */
int handover_locate(const char *path, struct handover_plan *plan, struct fault *fault);
bool handover_is_same_place(const struct handover_plan *a, const struct handover_plan *b);
int handover_read_plan(const char *path, struct handover_plan *ret_plan, struct fault *fault);
/* Finds the plan's disk again, whatever it is called now. -ENODEV when it is not there. */
int handover_find_disk(const struct handover_plan *plan, char ret_path[128], struct fault *fault);

/* A zeroed array of HANDOVER_BLOCKS blocks, aligned for direct I/O; NULL without memory. free() it. */
struct handover_block *handover_new_blocks(void);
/* For reading, with O_DIRECT. */
int handover_open_disk(const char *path, int *ret_fd, struct fault *fault);
/* For reading and writing: with each write, what lies in the disk's cache is flushed. Opens the partition that the blocks
 * are in, where there is one: when a whole disk that was open for writing is closed, udev has its partition table
 * read again, and for a moment there are no partitions. *ret_place is the plan with offsets for that descriptor. */
int handover_open_place(const struct handover_plan *plan, const char *path,
			struct handover_plan *ret_place, int *ret_fd, struct fault *fault);
int handover_read(int fd, const struct handover_plan *plan, uint32_t first, uint32_t count,
		  struct handover_block *blocks, struct fault *fault);
/* Writes blocks[first .. first + count) after it has seen that those on the disk are ours. -EPERM if not. */
int handover_write(int fd, const struct handover_plan *plan, uint32_t first, uint32_t count,
		   struct handover_block *blocks, struct fault *fault);
/* Writes block 0 anew, with that state and a sentence as payload, and reads it back: it is durable then. */
int handover_set_state(int fd, const struct handover_plan *plan, enum handover_state state,
		       const char *text, struct fault *fault);

#endif
