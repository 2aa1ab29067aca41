/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What peek.bpf.c and its user share. */
#ifndef BLKFERRY_AGENT_BPF_PEEK_SHARED_H
#define BLKFERRY_AGENT_BPF_PEEK_SHARED_H

#include <linux/types.h>

#define PEEK_WORDS 8
#define PEEK_TRIES 128 /* in one run */

struct peek {
	__u64 wanted[PEEK_WORDS];
	__u64 first, step; /* first, first - step, ... */
	__u32 tries;
	__u32 reserved;
	__u64 found; /* the address, when a run returns 1 */
};

#endif
