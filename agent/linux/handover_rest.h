/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the agent leaves, when it ends, for whoever records a clean stop (handover_save.c): which ranges of the disks
 * show later whether anybody used them, and which others may write unseen. It is written while all file systems are
 * still mounted and all volumes active, to RUN_FOLDER/rest, which no restart outlives; and it goes when the agent
 * begins again, before that forgets any block.
 */
#ifndef BLKFERRY_AGENT_LINUX_HANDOVER_REST_H
#define BLKFERRY_AGENT_LINUX_HANDOVER_REST_H

#include "agent/handover.h"
#include "agent/linux/disks_tree.h"

#define REST_PATH_MAX	   256
#define REST_TEXT_MAX	   256
#define REST_WATCHED_MAX   (512ull << 20) /* bytes to be digested at a stop and at a start */
#define REST_RESENT_MAX	   (2ull << 30) /* of one partition that firmware or boot loaders write to */
#define REST_SMALL_BYTES   (32ull << 20) /* what is not known, but small, is digested as a whole */
#define REST_HEAD_BYTES	   (1ull << 20)
#define REST_FS_HEAD_BYTES (128ull << 10)

enum rest_kind {
	REST_WATCH = 1, /* digest it */
	REST_RESEND,	/* list it as changed, whatever it holds */
};

struct rest_range {
	uint32_t kind; /* enum rest_kind */
	uint32_t major, minor;
	uint32_t reserved;
	uint64_t offset, length;
};

struct rest {
	uint64_t magic;
	uint32_t version;
	uint32_t count;
	uint64_t bitmap_bytes, ring_bytes; /* struct tracker_options */
	char pin_folder[128];
	char file_path[REST_PATH_MAX]; /* of the handover */
	char plan_path[REST_PATH_MAX];
	char refusal[REST_TEXT_MAX]; /* why a restart will be followed by a comparison; "" */
	struct rest_range ranges[HANDOVER_WATCHES_MAX];
	uint64_t checksum;
};

/* What a device begins with, as far as it matters here. */
enum rest_content {
	REST_EXT = 1,
	REST_XFS,
	REST_BTRFS,
	REST_FAT,
	REST_SWAP,
	REST_CONTAINER, /* an LVM volume, LUKS: what lies in it is looked at by itself */
	REST_BLANK,
	REST_UNKNOWN,
};
#define REST_LOOK_BYTES (128u << 10)

/* bytes: the first REST_LOOK_BYTES of a device (fewer: as many as it has). */
enum rest_content rest_classify(const uint8_t *bytes, size_t size);
/* Where the log of an XFS lies on its device, by its super block. -EINVAL when it lies on another one, or when the
 * super block makes no sense. */
int rest_find_xfs_log(const uint8_t *bytes, size_t size, uint64_t *ret_offset,
		      uint64_t *ret_length);

/* Fills the ranges, or `refusal`. disks: those that are tracked. */
void rest_survey(const struct tracked_disk *disks, unsigned int count, struct rest *rest);
/* Takes the bytes of [offset, offset + length) of that disk out of all ranges of a kind. False without room. */
bool rest_leave_out(struct rest *rest, enum rest_kind kind, uint32_t major, uint32_t minor,
		    uint64_t offset, uint64_t length);

void rest_path(const char *run_folder, char ret_path[REST_PATH_MAX]);
int rest_write(const char *run_folder, struct rest *rest, struct fault *fault);
/* -ENOENT when the agent has not ended, or not in order; -EBADMSG. The caller frees. */
int rest_read(const char *run_folder, struct rest **ret_rest, struct fault *fault);

#endif
