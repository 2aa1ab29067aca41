/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Capture's ring, mode and holes, as the agent uses them; see agent/capture.h. */
#include "agent/capture.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "agent/linux/capture_internal.h"
#include "common/log.h"

static_assert((int)TRACKER_CAPTURE_OFF == (int)CAPTURE_OFF &&
		      (int)TRACKER_CAPTURE_ON == (int)CAPTURE_ON &&
		      (int)TRACKER_CAPTURE_FULL == (int)CAPTURE_FULL,
	      "modes");
static_assert((int)TRACKER_RECORD_DATA == (int)CAPTURE_DATA &&
		      (int)TRACKER_RECORD_ZERO == (int)CAPTURE_ZERO &&
		      TRACKER_PIECE_BYTES == CAPTURE_PIECE_BYTES,
	      "records");
static_assert((int)TRACKER_HOLE_NONE == (int)CAPTURE_HOLE_NONE &&
		      (int)TRACKER_HOLE_RING_FULL == (int)CAPTURE_HOLE_RING_FULL &&
		      (int)TRACKER_HOLE_FAILED_WRITE == (int)CAPTURE_HOLE_FAILED_WRITE &&
		      (int)TRACKER_HOLE_UNSEEN == (int)CAPTURE_HOLE_UNSEEN &&
		      (int)TRACKER_HOLE_UNKNOWN == (int)CAPTURE_HOLE_UNKNOWN &&
		      (int)TRACKER_HOLE_ENCRYPTED == (int)CAPTURE_HOLE_ENCRYPTED,
	      "holes");

const char *capture_why_not(enum capture_availability availability)
{
	switch (availability) {
	case CAPTURE_READY:
		return "capture can be had";
	case CAPTURE_UNWANTED:
		return "capture is switched off in agent.ini";
	case CAPTURE_NO_LOOP:
		return "this kernel's BPF has no loops (bpf_loop): it needs Linux 5.17";
	case CAPTURE_REFUSED:
		return "the kernel refuses the BPF programs that capture (it may be locked down)";
	case CAPTURE_PAGE_SIZE:
		return "this kernel's pages are not of 4096 bytes";
	case CAPTURE_NO_ADDRESS:
		return "/proc/self/pagemap does not tell where in memory a page lies";
	case CAPTURE_NO_SIGHTING:
		return "a read that was to show where the kernel keeps its pages was not seen";
	case CAPTURE_NO_MAP:
		return "the kernel's map of all memory was not found";
	case CAPTURE_WRONG:
		return "a page was not where the kernel's map of all memory should have it";
	case CAPTURE_SELFTEST:
		return "self-test: what was written was not what was captured";
	case CAPTURE_NO_NOTES:
		return "a disk has more hardware queues than this agent can follow the requests of";
	}
	return "it is not known whether this kernel can capture";
}

const char *capture_hole_name(enum capture_hole hole)
{
	switch (hole) {
	case CAPTURE_HOLE_NONE:
		return "none";
	case CAPTURE_HOLE_RING_FULL:
		return "ring full";
	case CAPTURE_HOLE_FAILED_WRITE:
		return "failed write";
	case CAPTURE_HOLE_UNSEEN:
		return "unseen completion";
	case CAPTURE_HOLE_UNKNOWN:
		return "write of an unknown kind";
	case CAPTURE_HOLE_ENCRYPTED:
		return "inline encryption";
	}
	return "unknown";
}

void capture_init(struct capture *capture, struct tracker_set *set, const unsigned int *slots,
		  unsigned int count)
{
	*capture = (struct capture){.set = set, .count = count};
	memcpy(capture->slots, slots, count * sizeof(*slots));
}

static struct tracker_capture *state_of(const struct capture *capture)
{
	return &capture->set->state->capture;
}

uint64_t capture_stream_id(const struct capture *capture)
{
	return state_of(capture)->stream_id;
}

uint64_t capture_ring_bytes(const struct capture *capture)
{
	return capture->set->ring.bytes;
}

/* Updating a map of maps is what the kernel offers for this: it waits until no program can still be using
 * the map that was replaced (commit 1ae80cf31938). */
int capture_wait_for_programs(void)
{
	int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "wait_inner", 4, 4, 1, NULL);
	int outer = -1, r = 0;
	uint32_t zero = 0;

	if (inner < 0)
		return -errno;
	LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = (uint32_t)inner);
	outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "wait_outer", 4, 4, 1, &options);
	if (outer < 0 || bpf_map_update_elem(outer, &zero, &inner, BPF_ANY) < 0)
		r = -errno;
	if (outer >= 0)
		close(outer);
	close(inner);
	return r;
}

static void suspect_all(struct tracker_set *set)
{
	for (unsigned int i = 0; i < set->state->header.slots; i++)
		__atomic_fetch_or(&set->state->slots[i].suspect, TRACKER_SUSPECT_MISSED,
				  __ATOMIC_SEQ_CST);
}

static void change_mode(struct tracker_set *set, enum capture_mode mode)
{
	int r;

	__atomic_store_n(&set->state->capture.mode, (uint64_t)mode, __ATOMIC_SEQ_CST);
	r = capture_wait_for_programs();
	if (r < 0) {
		/* A program may still do what the former mode asked for: a bit or a record that nobody
		 * expects. Compare everything (I3). */
		log_error("cannot wait for the BPF programs: %s; all disks will be compared",
			  strerror(-r));
		suspect_all(set);
	}
}

void capture_turn_off(struct tracker_set *set)
{
	change_mode(set, CAPTURE_OFF);
}

void capture_start(struct capture *capture)
{
	if (capture_get_mode(capture) != CAPTURE_ON)
		change_mode(capture->set, CAPTURE_ON);
}

void capture_stop(struct capture *capture)
{
	capture_turn_off(capture->set);
}

enum capture_mode capture_get_mode(const struct capture *capture)
{
	return (enum capture_mode)__atomic_load_n(&state_of(capture)->mode, __ATOMIC_SEQ_CST);
}

uint64_t capture_produced(const struct capture *capture)
{
	return capture_ring_produced(&capture->set->ring);
}

uint64_t capture_released(const struct capture *capture)
{
	return capture_ring_released(&capture->set->ring);
}

/* The ring is the kernel's; nobody should be able to damage it. If it is, its writes are lost (I3). */
static void declare_damaged(struct capture *capture, uint64_t position)
{
	suspect_all(capture->set);
	if (capture->is_damaged)
		return;
	capture->is_damaged = true;
	log_error("the ring of captured writes is damaged at position %" PRIu64
		  ": all disks will be compared",
		  position);
}

static bool find_disk(const struct capture *capture, unsigned int slot, unsigned int *ret_disk)
{
	for (unsigned int i = 0; i < capture->count; i++) {
		if (capture->slots[i] == slot) {
			*ret_disk = i;
			return true;
		}
	}
	return false;
}

static bool lies_on_disk(const struct tracker_set *set, const struct tracker_record *head)
{
	return head->offset + head->length <= set->state->slots[head->slot].sectors * 512;
}

bool capture_next(struct capture *capture, uint64_t *position, struct capture_record *ret_record)
{
	struct tracker_record head;
	unsigned int disk;
	uint64_t start;

	for (;;) {
		switch (capture_ring_next(&capture->set->ring, position, &start, &head,
					  ret_record->data)) {
		case CAPTURE_FOUND_NOTHING:
			return false;
		case CAPTURE_FOUND_DAMAGE:
			/* Once: it stays where it is until somebody spills. */
			if (!capture->is_damaged)
				declare_damaged(capture, *position);
			return false;
		case CAPTURE_FOUND_RECORD:
			break;
		}
		if (find_disk(capture, head.slot, &disk) && lies_on_disk(capture->set, &head))
			break;
		/* The disk has grown under the tracker, or the slot is none: as the bits do, say so. */
		declare_damaged(capture, start);
	}
	ret_record->kind = (enum capture_kind)head.kind;
	ret_record->disk = disk;
	ret_record->offset = head.offset;
	ret_record->length = head.length;
	ret_record->position = start;
	ret_record->end = *position;
	ret_record->holes = head.holes;
	return true;
}

void capture_release(struct capture *capture, uint64_t position)
{
	capture_ring_release(&capture->set->ring, position);
}

static void list_record(const struct tracker_slot *slot, struct bitmap *todo,
			const struct tracker_record *head)
{
	merge_bytes(slot, todo, head->offset, head->offset + head->length);
}

int capture_spill(struct capture *capture, uint64_t position, struct fault *fault)
{
	struct tracker_set *set = capture->set;
	struct tracker_record head;
	uint64_t start, end;
	enum capture_found found;

	(void)fault;
	capture_stop(capture);
	/* No program is at work in the ring now: nothing is busy, and nothing comes after this. */
	end = capture_produced(capture);
	while (position != end) {
		struct bitmap todo;

		found = capture_ring_next(&set->ring, &position, &start, &head, NULL);
		if (found == CAPTURE_FOUND_NOTHING && position == end)
			break; /* void ones to the end */
		if (found != CAPTURE_FOUND_RECORD || head.slot >= set->state->header.slots ||
		    !lies_on_disk(set, &head)) {
			declare_damaged(capture, position);
			if (found != CAPTURE_FOUND_RECORD)
				break;
			continue;
		}
		todo = set_todo(set, head.slot);
		list_record(&set->state->slots[head.slot], &todo, &head);
	}
	/* After the bits: killed before this, the next spill does it again. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	capture_release(capture, end);
	capture->is_damaged = false;
	return 0;
}

bool capture_merge(struct tracker_set *to, unsigned int slot, const struct tracker_set *from,
		   unsigned int from_slot)
{
	const struct tracker_slot *info = &to->state->slots[slot];
	struct bitmap todo = set_todo(to, slot);
	uint64_t position, start, end;
	struct tracker_record head;

	if (!from->ring.data)
		return true;
	position = capture_ring_released(&from->ring);
	end = capture_ring_produced(&from->ring);
	while (position != end) {
		enum capture_found found =
			capture_ring_next(&from->ring, &position, &start, &head, NULL);

		if (found == CAPTURE_FOUND_NOTHING && position == end)
			break;
		if (found != CAPTURE_FOUND_RECORD)
			return false;
		if (head.slot == from_slot)
			list_record(info, &todo, &head);
	}
	return true;
}

uint64_t capture_holes(const struct capture *capture)
{
	return __atomic_load_n(&state_of(capture)->holes, __ATOMIC_SEQ_CST);
}

enum capture_hole capture_last_hole(const struct capture *capture)
{
	return (enum capture_hole)__atomic_load_n(&state_of(capture)->last_hole, __ATOMIC_SEQ_CST);
}

int capture_take(struct capture *capture, unsigned int disk, struct fault *fault)
{
	(void)fault;
	merge_take_seen(capture->set, capture->slots[disk]);
	return 0;
}
