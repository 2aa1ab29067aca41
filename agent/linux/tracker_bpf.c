/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bpf tracker behind tracker.h: goes on with the set that is pinned, or puts a new one in its
 * place, and answers from its maps.
 */
#include "agent/tracker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/capture_internal.h"
#include "agent/linux/tracker_set.h"
#include "common/log.h"

struct tracker_bpf_variant {
	struct tracker tracker;
	struct tracker_set set;
	char pin_folder[SET_PATH_MAX];
	unsigned int count;
	unsigned int slots[TRACKER_DISKS_MAX]; /* of disk i */
	struct capture capture;
};

static struct tracker_bpf_variant *self(struct tracker *tracker)
{
	return (struct tracker_bpf_variant *)tracker;
}

static struct tracker_slot *slot_of(struct tracker *tracker, unsigned int disk)
{
	return &self(tracker)->set.state->slots[self(tracker)->slots[disk]];
}

static const char *broken_text(enum tracker_broken broken)
{
	switch (broken) {
	case TRACKER_BROKEN_FRESH:
		return "tracking has only just begun";
	case TRACKER_BROKEN_SIZE:
		return "the disk's size changed";
	case TRACKER_BROKEN_SEQUENCE:
		return "the disk was taken away and attached again";
	case TRACKER_BROKEN_LAYOUT:
		return "another version of the agent left its tracking in a form this one cannot "
		       "read";
	case TRACKER_BROKEN_PINS:
		return "what an earlier agent left in the kernel is not whole";
	}
	return "tracking was broken";
}

static const char *suspect_text(uint64_t suspect)
{
	if (suspect & TRACKER_SUSPECT_MISSED)
		return "the kernel skipped the tracker's programs, a write may have been missed";
	if (suspect & TRACKER_SUSPECT_NO_NOTE)
		return "the disk has got more queues: a write may have been missed";
	if (suspect & TRACKER_SUSPECT_COMMAND)
		return "a passthrough command (SG_IO, nvme) may have written anywhere";
	if (suspect & TRACKER_SUSPECT_ZONE_RESET)
		return "zones of the disk were reset";
	if (suspect & TRACKER_SUSPECT_OUT_OF_RANGE)
		return "something was written past the end of the disk: it has grown";
	if (suspect & TRACKER_SUSPECT_TOO_MANY_BIOS)
		return "a discard had more ranges than the tracker can follow";
	return "the kernel used an operation that this agent does not know";
}

static uint32_t bpf_block_bytes(struct tracker *tracker, unsigned int disk)
{
	return (uint32_t)layout_block_bytes(slot_of(tracker, disk));
}

static void bpf_bitmaps(struct tracker *tracker, unsigned int disk, struct bitmap *ret_dirty,
			struct bitmap *ret_todo)
{
	*ret_dirty = set_dirty(&self(tracker)->set, self(tracker)->slots[disk]);
	*ret_todo = set_todo(&self(tracker)->set, self(tracker)->slots[disk]);
}

static struct tracker_disk_memory *bpf_memory(struct tracker *tracker, unsigned int disk)
{
	return set_memory(&self(tracker)->set, self(tracker)->slots[disk]);
}

static int bpf_take(struct tracker *tracker, unsigned int disk, struct fault *fault)
{
	(void)fault;
	merge_take(&self(tracker)->set, self(tracker)->slots[disk]);
	return 0;
}

static int bpf_poll(struct tracker *tracker, unsigned int disk,
		    struct tracker_disk_state *ret_state, struct fault *fault)
{
	static const uint8_t none[TRACKER_REPLICA_ID_LEN];
	struct tracker_bpf_variant *bpf = self(tracker);
	const struct tracker_slot *slot = slot_of(tracker, disk);
	struct tracker_disk_state state = {0};
	uint64_t suspect;
	int r = misses_look(&bpf->set, fault);

	if (r == 0) {
		r = misses_writes(&bpf->set, bpf->slots[disk], &state.writes);
		if (r < 0)
			fault_set(fault, FAULT_RETRY, -r, "cannot read the tracker's counters: %s",
				  strerror(-r));
	}
	if (r < 0)
		return r;
	if (!iostats_look(&bpf->set, bpf->slots[disk]))
		state.note =
			"its iostats are off and cannot be switched on: checkpoints may be late";
	suspect = __atomic_load_n(&slot->suspect, __ATOMIC_SEQ_CST);
	if (suspect & TRACKER_SUSPECT_NO_NOTE && pending_has_outgrown(slot))
		return fault_set(
			fault, FAULT_RETRY, ESTALE,
			"disk %u:%u has other queues now: tracking gets more room for them",
			slot->major, slot->minor);
	state.is_suspect = suspect != 0;
	state.is_continuous = memcmp(bpf_memory(tracker, disk)->replica_id, none, sizeof(none)) !=
			      0;
	if (!state.is_continuous)
		state.why = broken_text((enum tracker_broken)slot->broken);
	else if (state.is_suspect)
		state.why = suspect_text(suspect);
	state.dirty_blocks = merge_count_dirty(&bpf->set, bpf->slots[disk]);
	*ret_state = state;
	return 0;
}

static void bpf_clear_suspect(struct tracker *tracker, unsigned int disk)
{
	__atomic_store_n(&slot_of(tracker, disk)->suspect, 0, __ATOMIC_SEQ_CST);
}

static uint64_t bpf_memory_bytes(struct tracker *tracker)
{
	return self(tracker)->set.bytes;
}

static uint64_t bpf_missed_runs(struct tracker *tracker)
{
	uint64_t total = 0;

	/* What the kernel skipped and counted, and what it skipped and did not count. */
	if (misses_rescued(&self(tracker)->set, &total) < 0)
		total = 0;
	for (int i = 0; i < TRACKER_PROGRAMS; i++) {
		uint64_t misses = 0;

		if (misses_count(&self(tracker)->set, (enum tracker_program)i, &misses) == 0)
			total += misses;
	}
	return total;
}

static struct capture *bpf_capture(struct tracker *tracker, const char **ret_why_not)
{
	enum capture_availability availability =
		(enum capture_availability)self(tracker)->set.state->capture.availability;

	if (availability == CAPTURE_READY)
		return &self(tracker)->capture;
	*ret_why_not = capture_why_not(availability);
	return NULL;
}

static void bpf_close(struct tracker *tracker)
{
	if (!tracker)
		return;
	set_close(&self(tracker)->set);
	free(tracker);
}

static void bpf_remove(struct tracker *tracker)
{
	struct fault fault;

	if (tracker_bpf_remove_pins(self(tracker)->pin_folder, &fault) < 0)
		log_warning("%s, ignoring", fault.text);
	bpf_close(tracker);
}

static const struct tracker_ops bpf_ops = {
	.kind = TRACKER_BPF,
	.name = "bpf",
	.block_bytes = bpf_block_bytes,
	.bitmaps = bpf_bitmaps,
	.memory = bpf_memory,
	.take = bpf_take,
	.poll = bpf_poll,
	.clear_suspect = bpf_clear_suspect,
	.memory_bytes = bpf_memory_bytes,
	.missed_runs = bpf_missed_runs,
	.capture = bpf_capture,
	.close = bpf_close,
	.remove = bpf_remove,
};

/* Is the set made by this build, for exactly these disks, with bits as fine as they would be now? */
static bool set_fits(const struct tracker_set *set, const struct tracker_options *options,
		     const struct tracked_disk *disks, unsigned int count)
{
	const struct tracker_header *header = &set->state->header;
	struct tracker_slot slots[TRACKER_SLOTS_MAX] = {0};
	uint64_t dirty_words, coarse_words, pending_words;

	if (header->programs_hash != set_programs_hash() || header->slots != count ||
	    layout_plan(disks, count, options->bitmap_bytes, slots, &dirty_words, &coarse_words,
			NULL) < 0 ||
	    dirty_words != header->dirty_words ||
	    set->state->capture.ring_bytes != set_ring_bytes(options))
		return false;
	pending_plan(slots, count, &pending_words);
	for (unsigned int i = 0; i < count; i++) {
		int slot = merge_find(set, &disks[i]);

		if (slot < 0 || !merge_is_same(&set->state->slots[slot], &disks[i]) ||
		    set->state->slots[slot].sector_shift != slots[i].sector_shift ||
		    set->state->slots[slot].pending_tags != slots[i].pending_tags ||
		    set->state->slots[slot].pending_count != slots[i].pending_count)
			return false;
	}
	return true;
}

static int run_selftest(struct tracker_set *set, const struct kernel_facts *facts,
			const struct tracker_options *options, const struct tracked_disk *disks,
			unsigned int count, struct fault *fault)
{
	bool was_run = false;
	int r = 0;

	for (unsigned int i = 0; i < count && r == 0; i++)
		r = selftest_read(set, facts, &disks[i], fault);
	if (r == 0)
		r = selftest_canary(set, options->state_folder, &was_run, fault);
	if (r == 0 && !was_run)
		log_debug("tracker: %s is not on a tracked disk, so no canary was written there",
			  options->state_folder);
	return r;
}

/* Finds out whether the new set can capture; nothing that it cannot do is the tracker's fault. The bytes of
 * a canary have to come out of the ring, where there can be one; what else is captured meanwhile becomes bits. */
static void prepare_capture(struct tracker_set *set, const struct tracker_options *options,
			    const struct tracked_disk *disks, unsigned int count)
{
	struct tracker_capture *state = &set->state->capture;
	enum capture_availability found = (enum capture_availability)state->availability;
	unsigned int slots[TRACKER_DISKS_MAX];
	struct capture capture;
	struct fault fault;
	bool was_run = false;

	if (found == CAPTURE_READY) {
		found = CAPTURE_NO_SIGHTING;
		for (unsigned int i = 0; i < count && found == CAPTURE_NO_SIGHTING; i++)
			found = calibrate(set, &disks[i]);
	}
	if (found == CAPTURE_READY) {
		for (unsigned int i = 0; i < count; i++)
			slots[i] = i;
		capture_init(&capture, set, slots, count);
		capture_start(&capture);
		if (selftest_canary(set, options->state_folder, &was_run, &fault) < 0) {
			log_warning("%s", fault.text);
			found = CAPTURE_SELFTEST;
		}
		(void)capture_spill(&capture, capture_released(&capture), &fault);
	}
	state->availability = found;
	if (found != CAPTURE_READY && found != CAPTURE_UNWANTED)
		log_warning("writes cannot be captured: %s", capture_why_not(found));
}

/* What is not tracked any more is as it was. */
static void let_go(const struct tracker_set *old, const struct tracker_set *set)
{
	for (unsigned int i = 0; i < old->state->header.slots; i++) {
		const struct tracker_slot *slot = &old->state->slots[i];
		bool is_kept = false;

		for (unsigned int k = 0; k < set->state->header.slots; k++)
			is_kept |= strcmp(set->state->slots[k].identity, slot->identity) == 0;
		if (!is_kept)
			iostats_put_back(slot);
	}
}

/* Attaches a new set beside the old one (NULL: none), lets it take over what the old one knows, and puts
 * it in force. Both track meanwhile, so nothing falls in between. */
static int replace_set(const struct tracker_options *options, const struct kernel_facts *facts,
		       const struct tracked_disk *disks, unsigned int count,
		       struct tracker_set *old, enum tracker_broken broken,
		       struct tracker_set *ret_set, struct fault *fault)
{
	char folder[SET_PATH_MAX];
	struct tracker_set set;
	struct fault ignored;
	int r = pins_path(folder, options->pin_folder, "new", NULL);

	if (r < 0)
		return fault_set(fault, FAULT_STOP, -r, "the pin folder's path is too long");
	set_init(&set);
	r = set_create(folder, facts, options, disks, count, fault);
	if (r == 0)
		r = set_open(folder, &set, &(enum tracker_broken){0}, fault);
	if (r == 0)
		r = run_selftest(&set, facts, options, disks, count, fault);
	if (r == 0)
		prepare_capture(&set, options, disks, count);
	/* From here on both set bits, and the old ring grows no more. */
	if (r == 0 && old)
		capture_turn_off(old);
	if (r == 0 && old)
		r = misses_look(old, fault);
	if (r < 0) {
		set_close(&set);
		(void)pins_remove_set(options->pin_folder, "new", &ignored);
		return r;
	}
	for (unsigned int i = 0; i < count; i++)
		merge_disk(&set, i, old, &disks[i], broken);
	r = pins_commit(options->pin_folder, fault);
	if (r < 0) {
		set_close(&set);
		return r;
	}
	if (old)
		let_go(old, &set);
	*ret_set = set;
	return 0;
}

static int open_set(const struct tracker_options *options, const struct kernel_facts *facts,
		    const struct tracked_disk *disks, unsigned int count,
		    struct tracker_set *ret_set, struct fault *fault)
{
	enum tracker_broken broken = TRACKER_BROKEN_FRESH;
	char folder[SET_PATH_MAX];
	struct tracker_set old;
	struct fault why;
	bool has_old;
	int r = pins_path(folder, options->pin_folder, "live", NULL);

	if (r < 0)
		return fault_set(fault, FAULT_STOP, -r, "the pin folder's path is too long");
	r = set_open(folder, &old, &broken, &why);
	if (r < 0 && r != -ENOENT && r != -ESTALE) {
		if (fault)
			*fault = why;
		return r;
	}
	if (r == -ESTALE)
		log_warning("%s: tracking begins anew", why.text);
	has_old = r == 0;
	if (has_old && set_fits(&old, options, disks, count)) {
		r = run_selftest(&old, facts, options, disks, count, fault);
		if (r < 0) {
			set_close(&old);
			return r;
		}
		*ret_set = old;
		return 0;
	}
	r = replace_set(options, facts, disks, count, has_old ? &old : NULL, broken, ret_set,
			fault);
	if (has_old)
		set_close(&old);
	return r;
}

static int check_disks(const struct tracked_disk *disks, unsigned int count, struct fault *fault)
{
	if (count == 0 || count > TRACKER_DISKS_MAX)
		return fault_set(fault, FAULT_STOP, EINVAL, "%u disks to track: it must be 1 to %u",
				 count, TRACKER_DISKS_MAX);
	for (unsigned int i = 0; i < count; i++) {
		if (!disks[i].is_request_based)
			return fault_set(
				fault, FAULT_STOP, EOPNOTSUPP,
				"%s is not request-based (blk-mq): its writes raise none of "
				"the events that the tracker listens to",
				disks[i].path);
	}
	return 0;
}

int tracker_bpf_open(const struct tracker_options *options, const struct tracked_disk *disks,
		     unsigned int count, struct tracker **ret_tracker, struct fault *fault)
{
	struct tracker_bpf_variant *bpf;
	struct kernel_facts facts;
	int r = check_disks(disks, count, fault);

	if (r == 0)
		r = kernel_look(&facts, fault);
	if (r == 0)
		r = pins_prepare(options->pin_folder, fault);
	if (r == 0)
		r = pins_recover(options->pin_folder, fault);
	if (r < 0)
		return r;
	bpf = calloc(1, sizeof(*bpf));
	if (!bpf)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	bpf->tracker.ops = &bpf_ops;
	bpf->count = count;
	strcpy(bpf->pin_folder, options->pin_folder); /* pins_prepare has checked its length */
	r = open_set(options, &facts, disks, count, &bpf->set, fault);
	if (r < 0) {
		free(bpf);
		return r;
	}
	for (unsigned int i = 0; i < count; i++)
		bpf->slots[i] = (unsigned int)merge_find(&bpf->set, &disks[i]);
	for (unsigned int i = 0; i < count; i++)
		(void)iostats_look(&bpf->set,
				   bpf->slots[i]); /* each poll looks, too, and says it */
	capture_init(&bpf->capture, &bpf->set, bpf->slots, count);
	*ret_tracker = &bpf->tracker;
	return 0;
}
