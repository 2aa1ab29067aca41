/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests on their way: noted at issue, forgotten when a program sees them complete. What is still
 * noted when its tag is used again has completed without being seen, and is marked then; what is still
 * noted when user space takes bits counts as written (agent/linux/tracker_pending.c).
 */
#ifndef BLKFERRY_AGENT_BPF_TRACKER_PENDING_H
#define BLKFERRY_AGENT_BPF_TRACKER_PENDING_H

/* A name that no other request of its tag has; 0 where the kernel keeps no times (iostats off). */
static __always_inline __u64 request_life(struct request *rq)
{
	return bpf_core_field_exists(rq->start_time_ns) ? rq->start_time_ns : 0;
}

/* The note of a request; NULL where it has no tag, or one that did not exist when tracking began. */
static __always_inline struct tracker_request *pending_of(struct tracker_slot *slot,
							  struct request *rq)
{
	__u32 tag = rq->tag; /* -1, none, is too large */
	__u32 at = rq->mq_hctx->queue_num * slot->pending_tags + tag;
	__u32 key = slot->pending_first + at;

	if (tag >= slot->pending_tags || at >= slot->pending_count)
		return 0;
	return bpf_map_lookup_elem(&pending, &key);
}

/* Marks what an earlier request left noted. While capture is on that is a hole: its bytes are not in
 * the ring. */
static __always_inline void mark_noted(__u32 index, struct tracker_slot *slot, __u64 noted,
				       __u64 mode)
{
	if (noted == TRACKER_PENDING_UNKNOWN)
		suspect(slot, TRACKER_SUSPECT_MISSED);
	else
		mark_sectors(index, tracker_pending_start(noted), tracker_pending_end(noted));
	if (mode == TRACKER_CAPTURE_ON)
		count_hole(TRACKER_HOLE_UNSEEN);
}

static __always_inline __u64 describe(struct request *rq, __u32 kind)
{
	__u64 start = rq->__sector;

	if (kind == TRACKER_OP_APPEND || (kind == TRACKER_OP_RANGES && rq->bio != rq->biotail))
		return TRACKER_PENDING_UNKNOWN;
	return tracker_pending(start, start + (((__u64)rq->__data_len + 511) >> 9));
}

static __always_inline void note_issue(__u32 index, struct tracker_slot *slot, struct request *rq,
				       __u32 kind, struct tracker_cpu *cpu, __u64 mode)
{
	struct tracker_request *request = pending_of(slot, rq);
	__u64 noted, life, former;
	bool is_same;

	if (!rq->__data_len)
		return;
	if (!request) {
		/* Its completion could be missed without a trace. */
		if (slot->pending_count)
			suspect(slot, TRACKER_SUSPECT_NO_NOTE);
		return;
	}
	life = request_life(rq);
	former = *(volatile __u64 *)&request->life;
	noted = __sync_lock_test_and_set(&request->note, describe(rq, kind));
	if (!noted) {
		*(volatile __u64 *)&request->life = life ? life : former + 1;
		return;
	}
	/* The same request is issued again after a requeue; any other means a completion unseen. Without
	 * times a requeue cannot be told from it. */
	is_same = noted == describe(rq, kind) && (!life || life == former);
	if (!is_same && cpu)
		cpu->rescued++;
	if (!is_same || !life || mode != TRACKER_CAPTURE_ON)
		mark_noted(index, slot, noted, mode);
	/* Last: to user space another life says that the former request is settled, its hole counted. */
	__sync_lock_test_and_set(&request->life, life ? life : former + 1);
}

/* After the marking or the capture: a request must be in one or the other at any time. */
static __always_inline void note_completion(__u32 index, struct tracker_slot *slot,
					    struct request *rq, __u32 kind, __u32 done_bytes,
					    __u64 mode)
{
	struct tracker_request *request = pending_of(slot, rq);
	__u64 noted, life;

	if (!request)
		return;
	noted = *(volatile __u64 *)&request->note;
	if (!noted)
		return;
	life = request_life(rq);
	/* Not this one's: its completion was missed, and so was this one's issue. */
	if (life ? life != *(volatile __u64 *)&request->life : noted != describe(rq, kind))
		mark_noted(index, slot, noted, mode);
	if (done_bytes >= rq->__data_len)
		*(volatile __u64 *)&request->note = 0;
}

/* A read that has the tag of a noted write says as well that this has completed unseen. It is worth a look
 * while capture is on, for nothing can be confirmed as long as that note stands. Flushes borrow the tag of a
 * write, but only of one that is not on its way. */
static __always_inline void settle_by_read(__u32 index, struct request *rq, struct tracker_cpu *cpu)
{
	struct tracker_slot *slot = slot_of(index);
	struct tracker_request *request = pending_of(slot, rq);
	__u64 noted;

	if (!request)
		return;
	noted = *(volatile __u64 *)&request->note;
	if (!noted)
		return;
	if (cpu)
		cpu->rescued++;
	mark_noted(index, slot, noted, TRACKER_CAPTURE_ON);
	__sync_lock_test_and_set(&request->note, 0);
}

#endif
