/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Capture: the bytes of a completed write go into the ring, in pieces, before its writer is told (I4). What
 * cannot be captured is a hole: its bits are set, and then it is counted (README.md).
 */
#ifndef BLKFERRY_AGENT_BPF_CAPTURE_H
#define BLKFERRY_AGENT_BPF_CAPTURE_H

/* Steps through the bios of one request: a step a piece, or a bio without any. */
#define CAPTURE_STEPS_MAX 16384u
#define CAPTURE_BIOS_MAX  1024u

/* The size is set before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct capture_small {
	struct tracker_record head;
	__u8 data[TRACKER_PIECE_SMALL_BYTES];
};

struct capture_full {
	struct tracker_record head;
	__u8 data[TRACKER_PIECE_BYTES];
};

/* Where a program is in the request that it captures. It stands in a map, not on the stack: the verifiers
 * before 6.7 take what the stack holds at first for constants in the callback, and drop its other branches.
 * There is one for each program and CPU: the kernel never runs a program twice at a time on a CPU. */
struct capture_walk {
	__u64 next;		      /* bio */
	__u64 vectors;		      /* of this bio */
	__u64 address;		      /* of the segment's rest, in the direct map */
	__u64 offset;		      /* on the disk, of what comes next; bytes */
	__u64 captured;		      /* bytes that were captured, or left out as swap */
	__u32 index, done;	      /* the next vector, and how much of it is to be skipped */
	__u32 bio_left, segment_left; /* bytes */
	__u32 slot, bios;
	__u32 hole; /* enum tracker_hole; 0: not at the end yet */
	__u32 has_swap;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TRACKER_COMPLETES);
	__type(key, __u32);
	__type(value, struct capture_walk);
} walks SEC(".maps");

/* The only reader of this counter who matters is the one who reads the record: a hole that was counted
 * before the record's place was reserved is in it. */
static __always_inline void fill_head(struct tracker_record *head, struct capture_walk *walk,
				      __u32 kind, __u64 length)
{
	head->offset = walk->offset;
	head->length = length;
	head->holes = *(volatile __u64 *)&state.capture.holes;
	head->slot = walk->slot;
	head->kind = kind;
}

__noinline int put_full(struct capture_walk *walk, __u64 length)
{
	struct capture_full *record;
	long error;

	if (!walk)
		return TRACKER_HOLE_UNKNOWN;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record)
		return TRACKER_HOLE_RING_FULL;
	fill_head(&record->head, walk, TRACKER_RECORD_DATA, length);
	if (length == TRACKER_PIECE_BYTES)
		error = bpf_probe_read_kernel(record->data, TRACKER_PIECE_BYTES,
					      (void *)walk->address);
	else
		error = bpf_probe_read_kernel(record->data, length & (TRACKER_PIECE_BYTES - 1),
					      (void *)walk->address);
	if (error) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return TRACKER_HOLE_UNKNOWN;
	}
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

__noinline int put_small(struct capture_walk *walk)
{
	struct capture_small *record;

	if (!walk)
		return TRACKER_HOLE_UNKNOWN;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record)
		return TRACKER_HOLE_RING_FULL;
	fill_head(&record->head, walk, TRACKER_RECORD_DATA, TRACKER_PIECE_SMALL_BYTES);
	if (bpf_probe_read_kernel(record->data, TRACKER_PIECE_SMALL_BYTES, (void *)walk->address)) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return TRACKER_HOLE_UNKNOWN;
	}
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

/* Begins with the next bio. What cannot be read counts as zero bytes long, and is missed in the sum. */
__noinline int enter_bio(struct capture_walk *walk)
{
	struct bio___offset *renamed;
	struct bio *bio;

	if (!walk)
		return TRACKER_HOLE_UNKNOWN;
	bio = (struct bio *)walk->next;
	renamed = (struct bio___offset *)bio;
	if (walk->bios++ >= CAPTURE_BIOS_MAX)
		return TRACKER_HOLE_UNKNOWN;
	if (bpf_core_field_exists(bio->bi_crypt_context) && BPF_CORE_READ(bio, bi_crypt_context))
		return TRACKER_HOLE_ENCRYPTED;
	walk->vectors = (__u64)BPF_CORE_READ(bio, bi_io_vec);
	walk->offset = BPF_CORE_READ(bio, bi_iter.bi_sector) << 9;
	walk->bio_left = BPF_CORE_READ(bio, bi_iter.bi_size);
	walk->index = BPF_CORE_READ(bio, bi_iter.bi_idx);
	if (bpf_core_field_exists(bio->bi_iter.bi_bvec_done))
		walk->done = BPF_CORE_READ(bio, bi_iter.bi_bvec_done);
	else
		walk->done = BPF_CORE_READ(renamed, bi_iter.bi_offset);
	if (bpf_core_enum_value_exists(enum req_flag_bits, __REQ_SWAP) &&
	    BPF_CORE_READ(bio, bi_opf) >> bpf_core_enum_value(enum req_flag_bits, __REQ_SWAP) & 1) {
		/* The contents of swap are worthless to anybody else: bits only. */
		walk->has_swap = 1;
		walk->captured += walk->bio_left;
		walk->bio_left = 0;
	}
	walk->next = (__u64)BPF_CORE_READ(bio, bi_next);
	return 0;
}

/* Begins with the next vector: physically contiguous, and so in the direct map. */
__noinline int enter_vector(struct capture_walk *walk)
{
	__u64 page, from, base = state.capture.vmemmap_base;
	__u64 size = state.capture.page_struct_bytes;
	struct bio_vec *vector;
	__u32 length;

	if (!walk)
		return TRACKER_HOLE_UNKNOWN;
	vector = (struct bio_vec *)(walk->vectors +
				    walk->index * bpf_core_type_size(struct bio_vec));
	page = (__u64)BPF_CORE_READ(vector, bv_page);
	length = BPF_CORE_READ(vector, bv_len);
	from = (__u64)BPF_CORE_READ(vector, bv_offset) + walk->done;
	if (length <= walk->done || page < base || !size)
		return TRACKER_HOLE_UNKNOWN;
	walk->segment_left = length - walk->done;
	if (walk->segment_left > walk->bio_left)
		walk->segment_left = walk->bio_left;
	/* Pieces are whole sectors. */
	if (walk->segment_left % 512)
		return TRACKER_HOLE_UNKNOWN;
	walk->address = state.capture.direct_map_base + ((page - base) / size << 12) + from;
	walk->index++;
	walk->done = 0;
	return 0;
}

static __always_inline __u32 take_step(struct capture_walk *walk)
{
	__u32 hole = 0, length;

	if (!walk->bio_left) {
		hole = enter_bio(walk);
		if (hole)
			return hole;
	}
	if (walk->bio_left) {
		if (!walk->segment_left)
			hole = enter_vector(walk);
		if (hole)
			return hole;
		length = walk->segment_left;
		if (length > TRACKER_PIECE_BYTES)
			length = TRACKER_PIECE_BYTES;
		hole = (__u32)(length == TRACKER_PIECE_SMALL_BYTES ? put_small(walk)
								   : put_full(walk, length));
		if (hole)
			return hole;
		walk->address += length;
		walk->offset += length;
		walk->captured += length;
		walk->segment_left -= length;
		walk->bio_left -= length;
	}
	return walk->bio_left || walk->next ? 0 : TRACKER_HOLE_NONE;
}

static long capture_step(__u32 number, void *context)
{
	struct capture_walk *walk = *(struct capture_walk **)context;

	walk->hole = take_step(walk);
	return walk->hole != 0;
}

/* The three programs do the same work. Whoever did it leaves the request's name behind, for those who come
 * after him on the same CPU: so a name must never be used again. 0: it has none, and all of them work. A
 * completion in parts is one event a part: position and length tell them apart. */
static __always_inline __u64 capture_token(__u32 index, struct request *rq)
{
	__u64 life = request_life(rq);
	__u64 place = (__u64)index << 32 | (__u32)rq->tag;

	if (!life)
		return 0;
	return (life * 0x9e3779b97f4a7c15ull ^ place) * 0xff51afd7ed558ccdull ^ rq->__sector << 24 ^
	       rq->__data_len;
}

/* Captures the bios of a request of that length. Returns the hole, and CAPTURE_HAS_SWAP. A function of its own,
 * with plain numbers: so the verifier looks at it once, not once for each path that leads here. */
#define CAPTURE_HAS_SWAP 256
__noinline int capture_bios(__u64 bio, __u64 bytes, __u32 index, __u32 program)
{
	__u32 key = program;
	struct capture_walk *walk = bpf_map_lookup_elem(&walks, &key);
	__u32 hole;

	if (!walk || !bio)
		return TRACKER_HOLE_UNKNOWN;
	walk->next = bio;
	walk->captured = 0;
	walk->bio_left = 0;
	walk->segment_left = 0;
	walk->slot = index;
	walk->bios = 0;
	walk->hole = 0;
	walk->has_swap = 0;
	bpf_loop(CAPTURE_STEPS_MAX, capture_step, &walk, 0);
	hole = walk->hole;
	if (!hole || (hole == TRACKER_HOLE_NONE && walk->captured != bytes))
		hole = TRACKER_HOLE_UNKNOWN;
	return (int)(walk->has_swap ? hole | CAPTURE_HAS_SWAP : hole);
}

static __always_inline __u32 capture_zeroes(__u32 index, struct request *rq)
{
	struct tracker_record *record;

	if (!rq->bio || rq->bio != rq->biotail || rq->bio->bi_iter.bi_size != rq->__data_len)
		return TRACKER_HOLE_UNKNOWN;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record)
		return TRACKER_HOLE_RING_FULL;
	record->offset = rq->bio->bi_iter.bi_sector << 9;
	record->length = rq->__data_len;
	record->holes = *(volatile __u64 *)&state.capture.holes;
	record->slot = index;
	record->kind = TRACKER_RECORD_ZERO;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return TRACKER_HOLE_NONE;
}

/* Captures a request that completes. TRACKER_HOLE_NONE, or why it could not: then its bits are to be set,
 * and the hole counted. Without room the mode changes first: what follows would be a stream with a hole in
 * it that grows. */
static __always_inline __u32 capture_request(__u32 index, struct request *rq, __u32 kind,
					     bool has_failed, __u32 program, bool *ret_has_swap)
{
	__u32 hole = TRACKER_HOLE_UNKNOWN;

	if (!rq->__data_len)
		return TRACKER_HOLE_NONE; /* a flush sequence ends: it was captured before */
	if (has_failed)
		return TRACKER_HOLE_FAILED_WRITE;
	if (kind == TRACKER_OP_WRITE) {
		hole = (__u32)capture_bios((__u64)BPF_CORE_READ(rq, bio), rq->__data_len, index,
					   program);
		*ret_has_swap = hole & CAPTURE_HAS_SWAP;
		hole &= CAPTURE_HAS_SWAP - 1;
	} else if (kind == TRACKER_OP_ZEROES) {
		hole = capture_zeroes(index, rq);
	}
	if (hole == TRACKER_HOLE_RING_FULL)
		__sync_val_compare_and_swap(&state.capture.mode, TRACKER_CAPTURE_ON,
					    TRACKER_CAPTURE_FULL);
	return hole;
}

#endif
