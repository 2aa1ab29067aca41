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

struct bio_vec {
	struct page *bv_page;
	unsigned int bv_len;
	unsigned int bv_offset;
};

struct bvec_iter {
	__u64 bi_sector;
	unsigned int bi_size;
	unsigned int bi_idx;
	unsigned int bi_bvec_done; /* until 7.2 */
};

struct bio {
	struct bio *bi_next;
	struct bvec_iter bi_iter;
	struct bio_vec *bi_io_vec;
	unsigned int bi_opf;
	void *bi_crypt_context; /* only with inline encryption */
};

struct bvec_iter___offset {
	unsigned int bi_offset; /* since 7.3: bi_bvec_done by another name */
};

struct bio___offset {
	struct bvec_iter___offset bi_iter;
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
	__u64 start_time_ns; /* of its allocation; 0 where nobody keeps times */
};

struct request___rq_disk {
	struct gendisk *rq_disk; /* until 5.16 */
};

#pragma clang attribute pop

enum req_flag_bits {
	__REQ_SWAP = 24, /* the running kernel's number is asked for (CO-RE) */
};

#endif
