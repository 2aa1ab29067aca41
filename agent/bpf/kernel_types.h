/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few kernel fields that the tracker reads. The offsets are those of the running kernel (CO-RE);
 * a field that some kernels lack has a flavour (___name) and is tested for before it is used.
 */
#ifndef BLKFERRY_AGENT_BPF_KERNEL_TYPES_H
#define BLKFERRY_AGENT_BPF_KERNEL_TYPES_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct gendisk {
	int major;
	int first_minor;
};

struct request_queue {
	struct gendisk *disk; /* since 5.15 */
};

struct bvec_iter {
	__u64 bi_sector;
	unsigned int bi_size;
};

struct bio {
	struct bio *bi_next;
	struct bvec_iter bi_iter;
};

struct blk_mq_hw_ctx {
	unsigned int queue_num;
};

struct request {
	struct request_queue *q;
	struct blk_mq_hw_ctx *mq_hctx;
	int tag;
	unsigned int cmd_flags;
	unsigned int __data_len;
	__u64 __sector;
	struct bio *bio;
	struct bio *biotail;
};

struct request___rq_disk {
	struct gendisk *rq_disk; /* until 5.16 */
};

#pragma clang attribute pop

#endif
