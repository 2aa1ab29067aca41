// SPDX-License-Identifier: GPL-2.0-or-later
/* The machine's disks with their tracker; see source.h. */
#include "agent/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/capture.h"
#include "agent/reader.h"
#include "common/log.h"
#include "common/units.h"

static int open_tracker(struct source *source, const struct tracked_disk *disks,
			struct fault *fault)
{
	const struct agent_options *options = source->options;
	struct tracker_options tracker_options = {
		.pin_folder = options->pin_folder,
		.state_folder = options->state_folder,
		.ring_bytes = options->capture == OPTIONS_CAPTURE_OFF ? 0 : options->ring_bytes,
	};
	struct fault why = {0};
	int error;

	tracker_options.bitmap_bytes = options_bitmap_bytes(options);
	if (options->tracker != OPTIONS_TRACKER_SCAN) {
		error = tracker_bpf_open(&tracker_options, disks, source->count, &source->tracker,
					 &why);
		if (!error)
			return 0;
		if (options->tracker == OPTIONS_TRACKER_BPF) {
			if (fault)
				*fault = why;
			return fault_prefix(fault, "the bpf tracker cannot be had");
		}
		log_warning("no write tracking by eBPF: %s", why.text);
		log_warning("using the scan tracker instead: every pass reads whole disks and "
			    "compares digests, and a cutover keeps the disks frozen while it does");
	}
	return tracker_scan_open(&tracker_options, disks, source->count, &source->tracker, fault);
}

static int open_disk(struct source *source, unsigned int index, struct fault *fault)
{
	struct source_disk *disk = &source->disks[index];
	struct tracker *tracker = source->tracker;
	struct tracker_disk_state state = {0};
	int error;

	disk->block_bytes = tracker->ops->block_bytes(tracker, index);
	tracker->ops->bitmaps(tracker, index, &disk->dirty, &disk->todo);
	disk->memory = tracker->ops->memory(tracker, index);
	error = tracker->ops->poll(tracker, index, &state, fault);
	if (error)
		return error;
	if (!state.is_continuous) {
		/* Writes may be missing from the bitmaps: whatever they say of a replica is void. */
		log_info("disk %u: %s", index, state.why ? state.why : "tracking starts anew");
		memset(disk->memory->replica_id, 0, sizeof(disk->memory->replica_id));
	}
	return reader_open_disk(disk->disk.path, &disk->fd, fault);
}

static int choose_disks(struct source *source, struct tracked_disk *ret_disks, struct fault *fault)
{
	struct found_disk *found = NULL;
	unsigned int found_count = 0;
	char size[32];
	int error = disks_find(source->options->disks, &found, &found_count, fault);

	if (error)
		return error;
	for (unsigned int i = 0; i < found_count; i++) {
		if (!found[i].is_chosen)
			continue;
		if (source->count == TRACKER_DISKS_MAX) {
			free(found);
			return fault_set(fault, FAULT_STOP, E2BIG,
					 "more than %d disks: name those to replicate in 'disks ='",
					 TRACKER_DISKS_MAX);
		}
		log_info("disk %u: %s, %s, %s", source->count, found[i].disk.path,
			 units_format_bytes(found[i].disk.size_bytes, size, sizeof(size)),
			 found[i].why);
		ret_disks[source->count] = found[i].disk;
		source->disks[source->count].disk = found[i].disk;
		source->disks[source->count++].fd = -1;
	}
	free(found);
	if (source->count == 0)
		return fault_set(
			fault, FAULT_STOP, ENODEV,
			"no disk to replicate: 'blkferry-agent disks' shows what was found, "
			"'disks =' in agent.ini names them");
	return 0;
}

/* Who tracked from the start of the system on has said how that went. */
static void find_start(struct source *source)
{
	struct start_note *start = &source->start;

	handover_read_note(source->options, start);
	if (start->kind != START_NONE)
		return;
	start->kind = START_COMPARED;
	snprintf(start->text, sizeof(start->text), "%s",
		 source->tracker->ops->kind == TRACKER_SCAN
			 ? "writes are not tracked here: every start is followed by a comparison"
			 : "tracking began with the agent, after the system: for a restart "
			   "without a comparison run 'blkferry-agent initramfs'");
	handover_keep_note(source->options, start);
}

void source_end_in_order(struct source *source)
{
	struct tracked_disk *disks;
	struct fault fault = {0};

	if (source->tracker->ops->kind == TRACKER_SCAN)
		return;
	disks = calloc(source->count, sizeof(*disks));
	for (unsigned int i = 0; disks && i < source->count; i++)
		disks[i] = source->disks[i].disk;
	if (!disks || handover_end(source->options, disks, source->count, &fault) != 0)
		log_warning("a restart of this system now will be followed by a comparison: %s",
			    disks ? fault.text : "out of memory");
	free(disks);
}

int source_open(const struct agent_options *options, struct source **ret_source,
		struct fault *fault)
{
	struct tracked_disk *disks = calloc(TRACKER_DISKS_MAX, sizeof(*disks));
	struct source *source = calloc(1, sizeof(*source));
	int error;

	if (!source || !disks) {
		error = fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
		goto fail;
	}
	source->options = options;
	error = choose_disks(source, disks, fault);
	if (!error)
		error = handover_begin(options, fault);
	if (!error)
		error = open_tracker(source, disks, fault);
	for (unsigned int i = 0; !error && i < source->count; i++)
		error = open_disk(source, i, fault);
	if (error)
		goto fail;
	find_start(source);
	free(disks);
	*ret_source = source;
	return 0;
fail:
	free(disks);
	source_close(source, SOURCE_KEEP_TRACKING);
	return error;
}

void source_close(struct source *source, enum source_end end)
{
	if (!source)
		return;
	source_unwatch_changes(source);
	source_unwatch_written(source);
	for (unsigned int i = 0; i < source->count; i++)
		if (source->disks[i].fd >= 0)
			reader_close_disk(source->disks[i].fd);
	if (source->tracker && end == SOURCE_END_TRACKING)
		source->tracker->ops->remove(source->tracker);
	else if (source->tracker)
		source->tracker->ops->close(source->tracker);
	free(source);
}

/* Sets or clears the blocks of a byte range. Clearing takes only whole blocks, setting any touched. */
static void mark_bytes(const struct source_disk *disk, struct bitmap *map,
		       const struct swap_range *range, bool is_set)
{
	uint64_t first = range->offset / disk->block_bytes;
	uint64_t end = (range->offset + range->length) / disk->block_bytes;

	if (is_set) {
		end += (range->offset + range->length) % disk->block_bytes != 0;
	} else {
		first += range->offset % disk->block_bytes != 0;
	}
	if (end > map->bits)
		end = map->bits;
	if (first >= end)
		return;
	if (is_set)
		bitmap_set(map, first, end - first);
	else
		bitmap_clear(map, first, end - first);
}

void source_leave_out_swap(const struct source *source, unsigned int index, struct bitmap *map)
{
	const struct source_disk *disk = &source->disks[index];

	for (unsigned int i = 0; i < disk->swap_count; i++)
		mark_bytes(disk, map, &disk->swap[i], false);
}

/*
 * Swap contents are dropped from todo. A swap area that ended between the look at /proc/swaps and the
 * take may hold data by now whose bits we would drop: so look again afterwards, and put back every range
 * that is not swap any more. The same catches areas that ended since the last take.
 */
static int drop_swap(struct source *source, unsigned int index, struct fault *fault)
{
	struct source_disk *disk = &source->disks[index];
	struct swap_range now[SWAP_RANGES_MAX];
	unsigned int count = 0;
	int error;

	source_leave_out_swap(source, index, &disk->todo);
	error = swap_ranges(&disk->disk, now, &count, fault);
	if (error)
		count = 0; /* cannot be told: copy all of it */
	for (unsigned int i = 0; i < disk->swap_count; i++) {
		bool is_still_swap = false;

		for (unsigned int k = 0; k < count; k++)
			is_still_swap |= disk->swap[i].offset >= now[k].offset &&
					 disk->swap[i].offset + disk->swap[i].length <=
						 now[k].offset + now[k].length;
		if (!is_still_swap)
			mark_bytes(disk, &disk->todo, &disk->swap[i], true);
	}
	memcpy(disk->swap, now, count * sizeof(now[0]));
	disk->swap_count = count;
	return 0;
}

/* After a take: todo without swap, and what watches. */
static int finish_take(struct source *source, unsigned int index, struct fault *fault)
{
	struct source_disk *disk = &source->disks[index];
	int error = drop_swap(source, index, fault);

	if (error)
		return error;
	if (disk->changed.words)
		bitmap_merge(&disk->changed, &disk->todo);
	if (disk->written.words)
		bitmap_merge(&disk->written, &disk->todo);
	return 0;
}

int source_take(struct source *source, struct fault *fault)
{
	for (unsigned int i = 0; i < source->count; i++) {
		int error = source->tracker->ops->take(source->tracker, i, fault);

		if (!error)
			error = finish_take(source, i, fault);
		if (error)
			return error;
	}
	return 0;
}

int source_take_captured(struct source *source, struct capture *capture, struct fault *fault)
{
	for (unsigned int i = 0; i < source->count; i++) {
		int error = capture_take(capture, i, fault);

		if (!error)
			error = finish_take(source, i, fault);
		if (error)
			return error;
	}
	return 0;
}

void source_note_captured(struct source *source, unsigned int index, uint64_t offset,
			  uint64_t length)
{
	struct source_disk *disk = &source->disks[index];
	const struct swap_range range = {.offset = offset, .length = length};

	if (disk->changed.words)
		mark_bytes(disk, &disk->changed, &range, true);
	if (disk->written.words)
		mark_bytes(disk, &disk->written, &range, true);
}

struct capture *source_capture(struct source *source, const char **ret_why_not)
{
	struct tracker *tracker = source->tracker;

	*ret_why_not = "the scan tracker sees no writes";
	return tracker->ops->capture ? tracker->ops->capture(tracker, ret_why_not) : NULL;
}

int source_list_all(struct source *source, unsigned int index, struct fault *fault)
{
	struct source_disk *disk = &source->disks[index];
	char note[512] = "";
	int error;

	/* In this order: killed anywhere in between, the next agent knows of no replica and lists anew. */
	memset(disk->memory->replica_id, 0, sizeof(disk->memory->replica_id));
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* I3: only now, and before its comparison begins. What happens from here on counts anew. */
	source->tracker->ops->clear_suspect(source->tracker, index);
	bitmap_set(&disk->todo, 0, disk->todo.bits);
	if (!source->options->allocated_only)
		return 0;
	error = fsmap_clear_free(&disk->disk, disk->block_bytes, &disk->todo, note, sizeof(note),
				 fault);
	if (error)
		return error;
	if (note[0])
		log_info("disk %u: %s", index, note);
	return 0;
}

void source_adopt_replica(struct source *source, unsigned int index,
			  const uint8_t replica[WIRE_REPLICA_LEN], uint64_t epoch,
			  enum source_stage stage)
{
	struct tracker_disk_memory *memory = source->disks[index].memory;

	memory->stage = stage;
	memory->acked_epoch = epoch;
	if (memory->opened_epoch < epoch)
		memory->opened_epoch = epoch; /* killed before one is opened: that is no revert */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy(memory->replica_id, replica, sizeof(memory->replica_id));
}

int source_poll(struct source *source, bool ret_relist[TRACKER_DISKS_MAX], char *ret_why,
		size_t why_size, struct fault *fault)
{
	uint64_t writes = 0;

	source->note[0] = '\0';
	for (unsigned int i = 0; i < source->count; i++) {
		struct tracker_disk_state state = {0};
		int error = source->tracker->ops->poll(source->tracker, i, &state, fault);

		if (error)
			return error;
		writes += state.writes;
		if (state.note)
			snprintf(source->note, sizeof(source->note), "%s: %s",
				 source->disks[i].disk.path, state.note);
		ret_relist[i] = state.is_suspect;
		if (state.is_suspect) {
			snprintf(ret_why, why_size, "%s: %s", source->disks[i].disk.path,
				 state.why ? state.why : "a write may have been missed");
		}
	}
	__atomic_store_n(&source->writes_seen, writes, __ATOMIC_RELAXED);
	__atomic_store_n(&source->missed_runs, source->tracker->ops->missed_runs(source->tracker),
			 __ATOMIC_RELAXED);
	__atomic_store_n(&source->tracker_bytes,
			 source->tracker->ops->memory_bytes(source->tracker), __ATOMIC_RELAXED);
	return 0;
}

int source_check_suspects(struct source *source, struct fault *fault)
{
	bool relist[TRACKER_DISKS_MAX] = {false};
	char why[256] = "";
	int error = source_poll(source, relist, why, sizeof(why), fault);

	for (unsigned int i = 0; !error && i < source->count; i++)
		if (relist[i])
			error = fault_set(fault, FAULT_STOP, EBUSY,
					  "a write may have been missed: %s", why);
	return error;
}

bool source_has_stage(const struct source *source, enum source_stage stage)
{
	for (unsigned int i = 0; i < source->count; i++)
		if (source->disks[i].memory->stage == stage)
			return true;
	return false;
}

uint64_t source_todo_bytes(const struct source *source)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < source->count; i++)
		bytes += bitmap_count(&source->disks[i].todo) * source->disks[i].block_bytes;
	return bytes;
}

uint64_t source_dirty_bytes(const struct source *source)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < source->count; i++)
		if (source->disks[i].dirty.words)
			bytes += bitmap_count(&source->disks[i].dirty) *
				 source->disks[i].block_bytes;
	return bytes;
}

static int watch(struct bitmap *map, const struct bitmap *like, struct fault *fault)
{
	free(map->words);
	map->bits = like->bits;
	map->words = calloc(bitmap_words(like->bits), sizeof(uint64_t));
	if (!map->words)
		return fault_set(fault, FAULT_STOP, ENOMEM,
				 "no memory for the map of changed blocks");
	return 0;
}

int source_watch_changes(struct source *source, struct fault *fault)
{
	int error = 0;

	for (unsigned int i = 0; !error && i < source->count; i++)
		error = watch(&source->disks[i].changed, &source->disks[i].todo, fault);
	return error;
}

int source_watch_written(struct source *source, struct fault *fault)
{
	int error = 0;

	for (unsigned int i = 0; !error && i < source->count; i++)
		error = watch(&source->disks[i].written, &source->disks[i].todo, fault);
	return error;
}

void source_unwatch_changes(struct source *source)
{
	for (unsigned int i = 0; i < source->count; i++) {
		free(source->disks[i].changed.words);
		source->disks[i].changed.words = NULL;
	}
}

void source_unwatch_written(struct source *source)
{
	for (unsigned int i = 0; i < source->count; i++) {
		free(source->disks[i].written.words);
		source->disks[i].written.words = NULL;
	}
}
