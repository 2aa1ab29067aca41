/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks for known contents in kernel memory, at a series of addresses: how capture finds the kernel's map of
 * all memory (agent/linux/capture_calibrate.c). Run on request, never attached.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "agent/bpf/peek_shared.h"

struct peek peek;

SEC("syscall")
int look_for(void *ctx)
{
	__u64 words[PEEK_WORDS];

	for (__u32 i = 0; i < PEEK_TRIES && i < peek.tries; i++) {
		__u64 address = peek.first - (__u64)i * peek.step;
		__u64 difference = 0;

		if (bpf_probe_read_kernel(words, sizeof(words), (void *)address))
			continue;
		for (__u32 k = 0; k < PEEK_WORDS; k++)
			difference |= words[k] ^ peek.wanted[k];
		if (!difference) {
			peek.found = address;
			return 1;
		}
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
