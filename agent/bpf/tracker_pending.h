/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests on their way: noted at issue, forgotten when a program sees them complete. What is still
 * noted when its tag is used again has completed without being seen, and is marked then; what is still
 * noted when user space takes bits counts as written (agent/linux/tracker_pending.c).
 */
#ifndef BLKFERRY_AGENT_BPF_TRACKER_PENDING_H
#define BLKFERRY_AGENT_BPF_TRACKER_PENDING_H

/* The note of a request; NULL where it has no tag, or one that did not exist when tracking began. */
static __always_inline __u64 *pending_of(struct tracker_slot *slot, struct request *rq)
{
	__u32 tag = rq->tag; /* -1, none, is too large */
	__u32 at = rq->mq_hctx->queue_num * slot->pending_tags + tag;
	__u32 key = slot->pending_first + at;

	if (tag >= slot->pending_tags || at >= slot->pending_count)
		return 0;
	return bpf_map_lookup_elem(&pending, &key);
}

/* Marks what an earlier request left noted. */
static __always_inline void mark_noted(__u32 index, struct tracker_slot *slot, __u64 noted)
{
	if (noted == TRACKER_PENDING_UNKNOWN)
		suspect(slot, TRACKER_SUSPECT_MISSED);
	else
		mark_sectors(index, tracker_pending_start(noted), tracker_pending_end(noted));
}

static __always_inline __u64 describe(struct request *rq, __u32 kind)
{
	__u64 start = rq->__sector;

	if (kind == TRACKER_OP_APPEND || (kind == TRACKER_OP_RANGES && rq->bio != rq->biotail))
		return TRACKER_PENDING_UNKNOWN;
	return tracker_pending(start, start + (((__u64)rq->__data_len + 511) >> 9));
}

static __always_inline void note_issue(__u32 index, struct tracker_slot *slot, struct request *rq,
				       __u32 kind, struct tracker_cpu *cpu)
{
	__u64 *note = pending_of(slot, rq);
	__u64 noted;

	if (!note || !rq->__data_len)
		return;
	noted = *(volatile __u64 *)note;
	*(volatile __u64 *)note = describe(rq, kind);
	if (!noted)
		return;
	/* The same request is issued again after a requeue; any other means a completion unseen. */
	if (noted != describe(rq, kind) && cpu)
		cpu->rescued++;
	mark_noted(index, slot, noted);
}

/* After the marking: a request must be in one or the other at any time. */
static __always_inline void note_completion(__u32 index, struct tracker_slot *slot,
					    struct request *rq, __u32 kind, __u32 done_bytes)
{
	__u64 *note = pending_of(slot, rq);
	__u64 noted;

	if (!note)
		return;
	noted = *(volatile __u64 *)note;
	if (!noted)
		return;
	/* Not this one's: its completion was missed, and so was this one's issue. */
	if (noted != describe(rq, kind))
		mark_noted(index, slot, noted);
	if (done_bytes >= rq->__data_len)
		*(volatile __u64 *)note = 0;
}

#endif
