/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bpf tracker: sees every request complete and marks what it wrote. README.md in this folder
 * says why there are three programs that do the same, and why none of them is ever enough alone.
 */
#include "agent/bpf/kernel_types.h"
#include "agent/bpf/tracker_shared.h"

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "agent/bpf/tracker_mark.h"
#include "agent/bpf/tracker_pending.h"

#include "agent/bpf/capture.h"

/* enum tracker_op_kind by operation; user space fills it before loading. */
const volatile __u8 op_kinds[256];

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tracker_cpu);
} percpu SEC(".maps");

static __always_inline __u64 device_of(struct request *rq)
{
	struct gendisk *disk;

	if (bpf_core_field_exists(rq->q->disk))
		disk = rq->q->disk;
	else
		disk = ((struct request___rq_disk *)rq)->rq_disk;
	/* No disk (an NVMe admin queue): the loads give 0, and no tracked disk is 0:0. */
	return tracker_device_key(disk->major, disk->first_minor);
}

/* The slot of a device, or TRACKER_SLOTS_MAX when it is not tracked. User space refuses a set of disks
 * that needs longer probing. */
static __always_inline __u32 find_slot(__u64 key)
{
	__u32 at = tracker_device_hash(key);

	for (int i = 0; i < TRACKER_PROBES_MAX; i++, at++) {
		struct tracker_device *device = &state.devices[at % TRACKER_DEVICES_SIZE];

		if (device->key == key)
			return device->slot;
		if (!device->key)
			break;
	}
	return TRACKER_SLOTS_MAX;
}

/* Notes a read for user space, which has asked for it. */
static __always_inline void note_read(struct request *rq, __u32 done_bytes, __u32 program)
{
	struct tracker_selftest *test = &state.selftest;
	struct tracker_sighting *seen = &test->seen[program];

	if (device_of(rq) != test->device)
		return;
	if (rq->__sector != test->sector) {
		seen->other_sector = rq->__sector;
		seen->other_count++;
		return;
	}
	seen->sector = rq->__sector;
	seen->bytes = rq->__data_len;
	seen->bio_sector = rq->bio->bi_iter.bi_sector;
	seen->bio_bytes = rq->bio->bi_iter.bi_size;
	seen->done_bytes = done_bytes;
	seen->op = rq->cmd_flags & 0xff;
	if (program == TRACKER_ISSUE) {
		struct bio_vec *vector = rq->bio->bi_io_vec;

		seen->request = (__u64)rq;
		seen->page = (__u64)vector->bv_page;
		seen->page_offset = vector->bv_offset;
	}
	seen->count++;
}

/* The usual case, cheaply: one bio, within one word, marked already (by the program before). */
static __always_inline bool is_marked(struct tracker_slot *slot, struct bio *bio)
{
	__u64 start = bio->bi_iter.bi_sector;
	__u64 end = start + (bio->bi_iter.bi_size >> 9);
	__u64 first = start >> (slot->sector_shift & 63);
	__u64 last = (end - 1) >> (slot->sector_shift & 63);
	__u32 key = slot->dirty_word + (first >> 6);
	__u64 mask = ~0ull << (first & 63) & ~0ull >> (63 - (last & 63));
	__u64 *word;

	if (end <= start || end > slot->sectors || first >> 6 != last >> 6)
		return false;
	word = bpf_map_lookup_elem(&dirty, &key);
	return word && (*(volatile __u64 *)word & mask) == mask;
}

/* Marks what a list of bios covers, of a request that begins at `start`. Each has its own sector: the ranges of a
 * discard need not touch. A function of its own, with plain numbers: so the verifier follows its loop once, not once
 * for each path that leads here. */
__noinline int mark_list(__u32 index, __u64 first, __u64 start, __u64 sectors, __u32 kind)
{
	struct bio *bio = (struct bio *)first;
	__u64 from = start, end = start;

	for (int i = 0; i < TRACKER_BIOS_MAX && bio; i++) {
		__u64 sector = BPF_CORE_READ(bio, bi_iter.bi_sector);

		if (sector != end) {
			mark_sectors(index, from, end);
			from = sector;
			end = sector;
		}
		end += ((__u64)BPF_CORE_READ(bio, bi_iter.bi_size) + 511) >> 9;
		bio = BPF_CORE_READ(bio, bi_next);
	}
	mark_sectors(index, from, end);
	if (bio) {
		if (kind == TRACKER_OP_RANGES)
			suspect(slot_of(index), TRACKER_SUSPECT_TOO_MANY_BIOS);
		mark_sectors(index, start, start + sectors);
	}
	return 0;
}

/* Marks what the request's bios cover: all of them, also where only a part has completed; the rest is marked
 * again in its turn. A flush sequence completes its request a second time, with nothing left in the bios. */
static __always_inline void mark_bios(__u32 index, struct tracker_slot *slot, struct request *rq,
				      __u32 kind)
{
	struct bio *bio = rq->bio;
	__u64 start = rq->__sector, sectors = ((__u64)rq->__data_len + 511) >> 9;

	if (bio && bio->bi_next) {
		mark_list(index, (__u64)BPF_CORE_READ(rq, bio), start, sectors, kind);
		return;
	}
	if (bio) {
		if (is_marked(slot, bio))
			return;
		start = bio->bi_iter.bi_sector;
		sectors = ((__u64)bio->bi_iter.bi_size + 511) >> 9;
	}
	mark_sectors(index, start, start + sectors);
}

static __always_inline void look_at_write(__u32 index, struct tracker_slot *slot,
					  struct request *rq, __u32 kind, __u64 error,
					  __u32 done_bytes, __u32 program, struct tracker_cpu *cpu)
{
	__u64 mode = capture_mode();
	bool is_captured = can_capture && mode == TRACKER_CAPTURE_ON && kind != TRACKER_OP_RANGES;
	__u32 hole = TRACKER_HOLE_NONE;
	bool has_swap = false;
	bool is_whole = !error && done_bytes >= rq->__data_len;
	/* What failed comes again under the same name: it leaves none. */
	__u64 token = is_captured && program != TRACKER_ISSUE && is_whole ? capture_token(index, rq)
									  : 0;

	/* The program before did it all. The first never believes that: a name might be used again. */
	if (token && program != TRACKER_COMPLETE_1 && cpu->captured == token)
		return;
	if (kind == TRACKER_OP_APPEND)
		mark_sectors(index, rq->__sector,
			     rq->__sector + (((__u64)rq->__data_len + 511) >> 9));
	if (is_captured && program != TRACKER_ISSUE)
		hole = capture_request(index, rq, kind, !is_whole, program, &has_swap);
	/* In one place: the verifier follows every path through this, again for each place that it is in. */
	if (!is_captured || hole != TRACKER_HOLE_NONE || has_swap)
		mark_bios(index, slot, rq, kind);
	if (hole != TRACKER_HOLE_NONE)
		count_hole(hole);
	if (program == TRACKER_ISSUE)
		note_issue(index, slot, rq, kind, cpu, mode);
	else
		note_completion(index, slot, rq, kind, done_bytes, mode);
	if (token)
		cpu->captured = token;
}

static __always_inline void look(struct request *rq, __u64 error, __u32 done_bytes, __u32 program,
				 struct tracker_cpu *cpu)
{
	__u32 kind = op_kinds[rq->cmd_flags & 0xff];
	struct tracker_slot *slot;
	__u32 index;

	if (kind == TRACKER_OP_NONE) {
		if (state.selftest.is_armed)
			note_read(rq, done_bytes, program);
		if (program != TRACKER_ISSUE || capture_mode() != TRACKER_CAPTURE_ON)
			return;
	}
	index = find_slot(device_of(rq));
	if (index >= TRACKER_SLOTS_MAX)
		return;
	slot = slot_of(index);
	if (program == TRACKER_COMPLETE_1 && cpu)
		cpu->writes[index] += kind != TRACKER_OP_NONE;

	switch (kind) {
	case TRACKER_OP_NONE:
		settle_by_read(index, rq, cpu);
		break;
	case TRACKER_OP_APPEND:
	case TRACKER_OP_WRITE:
	case TRACKER_OP_ZEROES:
	case TRACKER_OP_SAME:
	case TRACKER_OP_RANGES:
		if (cpu)
			look_at_write(index, slot, rq, kind, error, done_bytes, program, cpu);
		break;
	case TRACKER_OP_COMMAND_IN:
		if (!rq->__data_len)
			suspect(slot, TRACKER_SUSPECT_COMMAND);
		break;
	case TRACKER_OP_COMMAND_OUT:
		suspect(slot, TRACKER_SUSPECT_COMMAND);
		break;
	case TRACKER_OP_ZONE_RESET:
		suspect(slot, TRACKER_SUSPECT_ZONE_RESET);
		break;
	default:
		suspect(slot, TRACKER_SUSPECT_UNKNOWN_OP);
		break;
	}
}

static __always_inline int complete(__u64 *ctx, __u32 program)
{
	__u32 zero = 0;
	struct tracker_cpu *cpu = bpf_map_lookup_elem(&percpu, &zero);
	__u32 me = (__u32)bpf_get_current_pid_tgid() + 1;

	if (!cpu)
		return 0;
	/* Interrupts have the pid of whom they interrupt. Another task inside means that handlers are
	 * preempted here, and then three programs are not enough to be sure (README.md). */
	for (__u32 other = 0; other < TRACKER_COMPLETES; other++) {
		__u32 who = *(volatile __u32 *)&cpu->inside[other];

		if (other != program && who && who != me)
			cpu->preempted++;
	}
	cpu->inside[program] = me;
	look((struct request *)ctx[0], ctx[1], ctx[2], program, cpu);
	cpu->inside[program] = 0;
	return 0;
}

SEC("tp_btf/block_rq_complete")
int complete_1(__u64 *ctx)
{
	return complete(ctx, TRACKER_COMPLETE_1);
}

SEC("tp_btf/block_rq_complete")
int complete_2(__u64 *ctx)
{
	return complete(ctx, TRACKER_COMPLETE_2);
}

SEC("tp_btf/block_rq_complete")
int complete_3(__u64 *ctx)
{
	return complete(ctx, TRACKER_COMPLETE_3);
}

/* The second look: what is issued and never seen to complete counts as written. */
static __always_inline int issued(struct request *rq)
{
	__u32 zero = 0;

	look(rq, 0, 0, TRACKER_ISSUE, bpf_map_lookup_elem(&percpu, &zero));
	return 0;
}

/* User space loads the one of the two that fits the tracepoint: until 5.11 the queue came first. */
SEC("tp_btf/block_rq_issue")
int issue(__u64 *ctx)
{
	return issued((struct request *)ctx[0]);
}

SEC("tp_btf/block_rq_issue")
int issue_with_queue(__u64 *ctx)
{
	return issued((struct request *)ctx[1]);
}

char LICENSE[] SEC("license") = "GPL";
