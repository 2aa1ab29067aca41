/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Setting dirty bits and suspicions: the only code that writes what user space reads. */
#ifndef BLKFERRY_AGENT_BPF_TRACKER_MARK_H
#define BLKFERRY_AGENT_BPF_TRACKER_MARK_H

/* The sizes of these maps are set before loading. todo is user space's alone: it is here
 * to be pinned with the rest. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} dirty SEC(".maps"), coarse SEC(".maps"), todo SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tracker_request);
} pending SEC(".maps");

struct tracker_state state SEC(".data.state");

/* 0 where the kernel lacks what capture needs, or nobody wants it: then the verifier drops its code. */
const volatile __u8 can_capture;

/* The index is masked by an instruction that the compiler cannot see through. Else it leaves the mask out
 * where it has compared the index before, and the verifiers of older kernels (6.1) do not follow: the
 * comparison was of one copy in a register, and what they know of another, on the stack, is nothing. */
static __always_inline struct tracker_slot *slot_of(__u32 index)
{
	__u64 bounded = index;

	asm volatile("%0 &= %1" : "+r"(bounded) : "i"(TRACKER_SLOTS_MAX - 1));
	return &state.slots[bounded];
}

/* Most bits are set already when a busy block is written again: testing first spares the other
 * CPUs a cache line. A bit that user space clears between the test and here is no loss: the write had
 * completed before the test, and its block is read after the clearing (I1, I2). */
static __always_inline void or_word(__u64 *word, __u64 mask)
{
	if ((*(volatile __u64 *)word & mask) != mask)
		__sync_fetch_and_or(word, mask);
}

static __always_inline __u64 capture_mode(void)
{
	if (!can_capture)
		return TRACKER_CAPTURE_OFF;
	return *(volatile __u64 *)&state.capture.mode;
}

/* After the bits were set. The exchange orders the two for all processors. */
static __always_inline void count_hole(__u64 reason)
{
	__sync_lock_test_and_set(&state.capture.last_hole, reason);
	__sync_fetch_and_add(&state.capture.holes, 1);
}

static __always_inline void suspect(struct tracker_slot *slot, __u64 reason)
{
	or_word(&slot->suspect, reason);
}

/* Sets bits first..last of a slot; they span at most TRACKER_CHUNK_WORDS words and one. */
__noinline int mark_bits(__u32 index, __u64 first, __u64 last)
{
	struct tracker_slot *slot = slot_of(index);
	__u64 first_word = first >> 6, last_word = last >> 6;

	for (__u32 i = 0; i <= TRACKER_CHUNK_WORDS; i++) {
		__u64 at = first_word + i;
		__u64 mask = ~0ull;
		__u32 key = slot->dirty_word + at;
		__u64 *word;

		if (at > last_word)
			break;
		if (at == first_word)
			mask &= ~0ull << (first & 63);
		if (at == last_word)
			mask &= ~0ull >> (63 - (last & 63));
		word = bpf_map_lookup_elem(&dirty, &key);
		if (word)
			or_word(word, mask);
		else
			suspect(slot, TRACKER_SUSPECT_OUT_OF_RANGE);
	}
	return 0;
}

/* Sets the chunks first..last of a slot. */
__noinline int mark_chunks(__u32 index, __u64 first, __u64 last)
{
	struct tracker_slot *slot = slot_of(index);

	if (last - first >= TRACKER_CHUNKS_MAX)
		suspect(slot, TRACKER_SUSPECT_OUT_OF_RANGE);
	for (__u32 i = 0; i < TRACKER_CHUNKS_MAX; i++) {
		__u64 chunk = first + i;
		__u32 key = slot->coarse_word + (chunk >> 6);
		__u64 *word;

		if (chunk > last)
			break;
		word = bpf_map_lookup_elem(&coarse, &key);
		if (word)
			or_word(word, 1ull << (chunk & 63));
		else
			suspect(slot, TRACKER_SUSPECT_OUT_OF_RANGE);
	}
	return 0;
}

/* Marks the sectors [start, end) of a slot. What lies past the end of the disk as we know it (it grew)
 * makes it suspect. */
__noinline int mark_sectors(__u32 index, __u64 start, __u64 end)
{
	struct tracker_slot *slot = slot_of(index);
	__u64 first, last, first_chunk, last_chunk;

	if (start == end)
		return 0;
	if (end > slot->sectors || start > end) {
		suspect(slot, TRACKER_SUSPECT_OUT_OF_RANGE);
		if (start >= slot->sectors || start > end)
			return 0;
		end = slot->sectors;
	}
	first = start >> (slot->sector_shift & 63);
	last = (end - 1) >> (slot->sector_shift & 63);
	if ((last >> 6) - (first >> 6) <= TRACKER_CHUNK_WORDS)
		return mark_bits(index, first, last);

	/* Long: by bits up to the next chunk, by chunks, and by bits again. */
	first_chunk = (first >> 6) / TRACKER_CHUNK_WORDS + 1;
	last_chunk = (last >> 6) / TRACKER_CHUNK_WORDS;
	mark_bits(index, first, first_chunk * TRACKER_CHUNK_WORDS * 64 - 1);
	if (first_chunk < last_chunk)
		mark_chunks(index, first_chunk, last_chunk - 1);
	return mark_bits(index, last_chunk * TRACKER_CHUNK_WORDS * 64, last);
}

#endif
