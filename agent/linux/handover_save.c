/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records a clean stop; see handover_save.h. */
#include "agent/linux/handover_save.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/linux/capture_internal.h"
#include "agent/linux/handover_place.h"
#include "agent/linux/handover_quiet.h"
#include "agent/linux/handover_rest.h"
#include "agent/linux/handover_watch.h"
#include "agent/linux/tracker_set.h"
#include "agent/platform.h"
#include "common/os_clock.h"

#define GUARD_PAUSE_NS (2 * NS_PER_MS)
#define GUARD_MOST_NS  (600 * NS_PER_S)

struct saving {
	struct rest *rest;
	struct handover_plan plan, place; /* the same, for the descriptor */
	struct tracker_set set;
	bool has_set;
	struct tracked_disk
		disks[TRACKER_DISKS_MAX + 1]; /* by slot; behind them the plan's, if not tracked */
	unsigned int count, slots;
	uint64_t suspects[TRACKER_DISKS_MAX]; /* as they were when the bits were taken */
	int own;			      /* the slot of the disk with the handover, or -1 */
	int fd;				      /* of that disk */
	struct handover record;
};

/* --- what is needed ------------------------------------------------------------------------------------ */

/* The plan that the initramfs got must say where the file is. */
static int find_place(struct saving *saving, struct fault *fault)
{
	struct handover_plan now = {0};
	int error = handover_read_plan(saving->rest->plan_path, &saving->plan, fault);

	if (!error)
		error = handover_locate(saving->rest->file_path, &now, fault);
	if (!error && !handover_is_same_place(&now, &saving->plan))
		error = fault_set(fault, FAULT_RESYNC, ESTALE,
				  "%s has moved: run 'blkferry-agent initramfs'",
				  saving->rest->file_path);
	/* What it is called now. */
	memcpy(saving->plan.disk_path, now.disk_path, sizeof(now.disk_path));
	memcpy(saving->plan.disk_identity, now.disk_identity, sizeof(now.disk_identity));
	return error;
}

static int open_set(struct saving *saving, struct fault *fault)
{
	enum tracker_broken broken;
	char folder[SET_PATH_MAX];
	int error = pins_path(folder, saving->rest->pin_folder, "live", NULL);

	if (!error)
		error = set_open(folder, &saving->set, &broken, fault);
	if (error == -ENOENT || error == -ENAMETOOLONG)
		fault_set(fault, FAULT_RESYNC, -error, "writes were not tracked any more");
	saving->has_set = !error;
	return error;
}

/* Fills the disks of the slots, and where the handover lies. */
static int find_disks(struct saving *saving, struct fault *fault)
{
	struct found_disk *found;
	unsigned int count;
	int error = disks_find(NULL, &found, &count, fault);

	if (error)
		return error;
	saving->slots = saving->set.state->header.slots;
	saving->own = -1;
	for (unsigned int s = 0; s < saving->slots && !error; s++) {
		const struct tracker_slot *slot = &saving->set.state->slots[s];
		bool is_there = false;

		for (unsigned int i = 0; i < count; i++) {
			if (found[i].disk.major != slot->major ||
			    found[i].disk.minor != slot->minor ||
			    found[i].disk.size_bytes != slot->sectors * 512 ||
			    found[i].disk.sequence != slot->sequence)
				continue;
			saving->disks[s] = found[i].disk;
			memcpy(saving->disks[s].identity, slot->identity, sizeof(slot->identity));
			is_there = true;
			if (strcmp(found[i].disk.path, saving->plan.disk_path) == 0)
				saving->own = (int)s;
		}
		if (!is_there)
			error = fault_set(fault, FAULT_RESYNC, ENODEV,
					  "a disk is not what it was: %s", slot->identity);
	}
	saving->count = saving->slots;
	for (unsigned int i = 0; i < count && saving->own < 0 && !error; i++)
		if (strcmp(found[i].disk.path, saving->plan.disk_path) == 0)
			saving->disks[saving->count++] = found[i].disk;
	free(found);
	return error;
}

/* --- the record ---------------------------------------------------------------------------------------- */

static uint64_t suspect_of(const struct saving *saving, unsigned int slot)
{
	return __atomic_load_n(&saving->set.state->slots[slot].suspect, __ATOMIC_SEQ_CST);
}

/* All that is not at the receiver goes to todo: as a take before a pass does it, and what was captured. */
static int take_all(struct saving *saving, struct fault *fault)
{
	unsigned int slots[TRACKER_DISKS_MAX];
	struct capture capture;
	int error;

	for (unsigned int i = 0; i < saving->slots; i++)
		slots[i] = i;
	capture_init(&capture, &saving->set, slots, saving->slots);
	error = capture_spill(&capture, capture_released(&capture), fault);
	if (!error)
		error = misses_look(&saving->set, fault);
	for (unsigned int i = 0; i < saving->slots && !error; i++) {
		merge_take(&saving->set, i);
		saving->suspects[i] = suspect_of(saving, i);
	}
	return error;
}

static uint64_t words_of(uint64_t size_bytes, uint64_t block_bytes)
{
	return bitmap_words(size_bytes / block_bytes + (size_bytes % block_bytes != 0));
}

/* How much a bit stands for: the largest bitmap becomes coarser until all fits. */
static void choose_blocks(struct saving *saving, struct handover_disk *disks, uint64_t room_words)
{
	for (;;) {
		unsigned int largest = 0;
		uint64_t words = 0;

		for (unsigned int i = 0; i < saving->slots; i++) {
			disks[i].words = words_of(disks[i].size_bytes, disks[i].block_bytes);
			words += disks[i].words;
			if (disks[i].words > disks[largest].words)
				largest = i;
		}
		if (words <= room_words)
			return;
		disks[largest].block_bytes *= 2;
	}
}

static void fill_disk(struct saving *saving, unsigned int slot, struct handover_disk *ret_disk)
{
	const struct tracker_slot *info = &saving->set.state->slots[slot];

	memcpy(ret_disk->identity, info->identity, sizeof(ret_disk->identity));
	memcpy(ret_disk->path, saving->disks[slot].path, sizeof(ret_disk->path));
	ret_disk->size_bytes = info->sectors * 512;
	ret_disk->block_bytes = layout_block_bytes(info);
	ret_disk->memory = *set_memory(&saving->set, slot);
	/* Something may be missing from its bits (I3): then they are of no replica. */
	if (saving->suspects[slot])
		memset(ret_disk->memory.replica_id, 0, sizeof(ret_disk->memory.replica_id));
}

static int new_record(struct saving *saving, struct fault *fault)
{
	struct handover *record = &saving->record;
	const struct rest *rest = saving->rest;
	struct handover_disk disks[TRACKER_DISKS_MAX] = {0};
	uint64_t fixed = sizeof(record->head) + saving->slots * sizeof(disks[0]) +
			 rest->count * sizeof(struct handover_watch);
	uint64_t words = 0;
	uint8_t *memory;

	for (unsigned int i = 0; i < saving->slots; i++)
		fill_disk(saving, i, &disks[i]);
	choose_blocks(saving, disks, (HANDOVER_RECORD_MAX - fixed) / sizeof(uint64_t));
	for (unsigned int i = 0; i < saving->slots; i++)
		words += disks[i].words;
	memory = calloc(1, fixed + words * sizeof(uint64_t));
	if (!memory)
		return fault_set(fault, FAULT_RESYNC, ENOMEM, "out of memory");
	record->memory = memory;
	record->bits[0] = (uint64_t *)memory;
	for (unsigned int i = 1; i < saving->slots; i++)
		record->bits[i] = record->bits[i - 1] + disks[i - 1].words;
	memory += words * sizeof(uint64_t);
	record->disks = (struct handover_disk *)memory;
	memcpy(record->disks, disks, saving->slots * sizeof(disks[0]));
	record->watches = (struct handover_watch *)(memory + saving->slots * sizeof(disks[0]));
	record->head = (struct handover_record){.version = HANDOVER_VERSION,
						.disks = saving->slots,
						.saved_s = os_realtime_ns() / NS_PER_S,
						.bitmap_bytes = rest->bitmap_bytes,
						.ring_bytes = rest->ring_bytes};
	(void)process_boot_id(record->head.boot_id);
	memcpy(record->head.pin_folder, rest->pin_folder, sizeof(rest->pin_folder));
	snprintf(record->head.program, sizeof(record->head.program), "%s", BLKFERRY_VERSION);
	return 0;
}

static int slot_of(const struct saving *saving, const struct rest_range *range)
{
	for (unsigned int i = 0; i < saving->slots; i++)
		if (saving->disks[i].major == range->major &&
		    saving->disks[i].minor == range->minor)
			return (int)i;
	return -1;
}

static void list_bits(struct saving *saving)
{
	for (unsigned int i = 0; i < saving->slots; i++) {
		struct bitmap todo = set_todo(&saving->set, i);
		uint64_t block = layout_block_bytes(&saving->set.state->slots[i]);
		uint64_t first, count;

		for (uint64_t at = 0; bitmap_next_run(&todo, at, UINT64_MAX, &first, &count);
		     at = first + count)
			handover_mark(&saving->record, i, first * block, count * block);
	}
	/* Its own blocks change with every stop and start. */
	for (uint32_t i = 0; saving->own >= 0 && i < saving->plan.extents; i++)
		handover_mark(&saving->record, (unsigned int)saving->own,
			      saving->plan.extent[i].offset, saving->plan.extent[i].length);
}

static int add_watch(struct saving *saving, unsigned int slot, const struct rest_range *range,
		     struct fault *fault)
{
	struct handover_watch *watch = &saving->record.watches[saving->record.head.watches];
	int fd, error = handover_open_disk(saving->disks[slot].path, &fd, fault);

	if (error)
		return error;
	*watch = (struct handover_watch){
		.disk = slot, .offset = range->offset, .length = range->length};
	error = watch_digest(fd, range->offset, range->length, watch->digest);
	close(fd);
	if (error)
		return fault_set(fault, FAULT_RESYNC, -error, "%s cannot be read: %s",
				 saving->disks[slot].path, strerror(-error));
	saving->record.head.watches++;
	return 0;
}

static int add_ranges(struct saving *saving, struct fault *fault)
{
	struct rest *rest = saving->rest;
	int error = 0;

	for (uint32_t i = 0; saving->own >= 0 && i < saving->plan.extents; i++)
		if (!rest_leave_out(rest, REST_WATCH, saving->disks[saving->own].major,
				    saving->disks[saving->own].minor, saving->plan.extent[i].offset,
				    saving->plan.extent[i].length))
			return fault_set(fault, FAULT_RESYNC, E2BIG,
					 "the disks are too fragmented to be watched");
	for (uint32_t i = 0; i < rest->count && !error; i++) {
		const struct rest_range *range = &rest->ranges[i];
		int slot = slot_of(saving, range);

		if (slot < 0 || range->length == 0)
			continue;
		if (range->kind == REST_RESEND)
			handover_mark(&saving->record, (unsigned int)slot, range->offset,
				      range->length);
		else
			error = add_watch(saving, (unsigned int)slot, range, fault);
	}
	return error;
}

/* --- writing it ---------------------------------------------------------------------------------------- */

/* Did the tracker see a write, since the take, that is not one of ours? */
static bool was_written(const struct saving *saving)
{
	for (unsigned int i = 0; i < saving->slots; i++) {
		const struct tracker_slot *slot = &saving->set.state->slots[i];
		uint64_t block = layout_block_bytes(slot), first, count, inside;
		struct bitmap dirty = set_dirty(&saving->set, i);

		for (uint64_t at = 0; bitmap_next_run(&dirty, at, 1, &first, &count);
		     at = first + count) {
			inside = 0;
			for (uint32_t k = 0; saving->own == (int)i && k < saving->plan.extents; k++)
				inside |= first * block < saving->plan.extent[k].offset +
								  saving->plan.extent[k].length &&
					  saving->plan.extent[k].offset < (first + 1) * block;
			if (!inside)
				return true;
		}
		/* Large requests, and what has no address: none of ours. */
		if (merge_count_dirty(&saving->set, i) != bitmap_count(&dirty) ||
		    suspect_of(saving, i) != saving->suspects[i])
			return true;
	}
	return false;
}

static int write_blocks(struct saving *saving, const void *record, uint32_t bytes,
			struct fault *fault)
{
	struct handover_block *blocks = handover_new_blocks();
	uint32_t count = handover_blocks(bytes);
	uint64_t generation = 1;
	int error = blocks ? handover_read(saving->fd, &saving->place, 0, 1, blocks, fault)
			   : fault_set(fault, FAULT_RESYNC, ENOMEM, "out of memory");

	if (error)
		goto out;
	if (handover_block_is_whole(&blocks[0], saving->plan.file_id, 0))
		generation = blocks[0].generation + 1;
	for (uint32_t i = 0; i < count; i++)
		handover_block_fill(&blocks[i], saving->plan.file_id, generation, i, HANDOVER_CLEAN,
				    record, bytes);
	error = count > 1 ? handover_write(saving->fd, &saving->place, 1, count - 1, blocks, fault)
			  : 0;
	if (!error && was_written(saving))
		error = fault_set(fault, FAULT_RESYNC, EBUSY,
				  "something was written while the stop was being recorded");
	if (!error)
		error = handover_write(saving->fd, &saving->place, 0, 1, blocks, fault);
out:
	free(blocks);
	return error;
}

static int save(struct saving *saving, struct fault *fault)
{
	void *record = NULL;
	uint32_t bytes = 0;
	int error = quiet_check(saving->disks, saving->count, fault);

	if (!error)
		error = take_all(saving, fault);
	if (!error)
		error = new_record(saving, fault);
	if (!error) {
		list_bits(saving);
		error = add_ranges(saving, fault);
	}
	if (!error && handover_encode(&saving->record, &record, &bytes) < 0)
		error = fault_set(fault, FAULT_RESYNC, EFBIG, "the record has no room");
	if (!error)
		error = write_blocks(saving, record, bytes, fault);
	free(record);
	return error;
}

void handover_saving_free(struct saving *saving)
{
	if (saving->has_set)
		set_close(&saving->set);
	if (saving->fd >= 0)
		close(saving->fd);
	handover_fini(&saving->record);
	free(saving->rest);
	free(saving);
}

/* Up to where the place of the record is known, and open. */
static int begin_saving(const char *run_folder, struct saving **ret_saving, struct fault *fault)
{
	struct saving *saving = calloc(1, sizeof(*saving));
	int error;

	if (!saving)
		return fault_set(fault, FAULT_RESYNC, ENOMEM, "out of memory");
	saving->fd = -1;
	error = rest_read(run_folder, &saving->rest, fault);
	if (!error)
		error = find_place(saving, fault);
	if (!error)
		error = open_set(saving, fault);
	if (!error)
		error = find_disks(saving, fault);
	if (!error)
		error = handover_open_place(&saving->plan, saving->plan.disk_path, &saving->place,
					    &saving->fd, fault);
	if (error)
		handover_saving_free(saving);
	else
		*ret_saving = saving;
	return error;
}

int handover_save(const char *run_folder, struct saving **ret_saving, struct fault *fault)
{
	struct fault ignored, found = {0};
	struct saving *saving = NULL;
	int error = begin_saving(run_folder, &saving, fault);

	if (error)
		return error;
	if (saving->rest->refusal[0])
		error = fault_set(&found, FAULT_RESYNC, EOPNOTSUPP, "%s", saving->rest->refusal);
	else
		error = save(saving, &found);
	if (!error) {
		*ret_saving = saving;
		return 0;
	}
	/* Only where nothing can move any more: not while a file system is still mounted read-write. */
	if (quiet_check(saving->disks, saving->count, &ignored) == 0)
		(void)handover_set_state(saving->fd, &saving->place, HANDOVER_REFUSED, found.text,
					 &ignored);
	if (fault)
		*fault = found;
	handover_saving_free(saving);
	return error;
}

void handover_guard(struct saving *saving)
{
	uint64_t end_ns = os_monotonic_ns() + GUARD_MOST_NS;
	char folder[SET_PATH_MAX];
	struct fault ignored;

	if (pins_path(folder, saving->rest->pin_folder, "live", NULL) < 0)
		return;
	while (os_monotonic_ns() < end_ns && access(folder, F_OK) == 0) {
		if (was_written(saving)) {
			/* There is nobody left to tell. */
			(void)handover_set_state(
				saving->fd, &saving->place, HANDOVER_WITHDRAWN,
				"something wrote to a disk after the stop was recorded", &ignored);
			break;
		}
		os_sleep_ns(GUARD_PAUSE_NS);
	}
}
