// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The applier: takes durable batches in their order to the targets. Its thread lives as long as the replica is
 * open.
 *
 *   batch --records--> write group --apply--> targets        MARK: group applied, targets flushed, have
 *                                                            bitmaps durable, then history_mark
 *
 * What is noted as applied in the journal was flushed and its marks are known to the history; from any earlier
 * place on, applying again gives the same bytes and the same checkpoints (I7). The first failure ends it: the
 * journal keeps what is not applied, and the next who opens the replica applies it first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "receiver/applier_internal.h"

#define END_NS (45 * NS_PER_S) /* a service manager gives 90 s before it kills */
#define IDLE_NS                                                                                    \
	(200 * NS_PER_MS) /* then what was applied is flushed and forgotten by the journal */
#define NOTE_NS (500 * NS_PER_MS) /* at most so often while busy */

static int protect(void *context, const struct history_extent *extents, unsigned int count,
		   struct fault *fault)
{
	return replica_protect(context, extents, count, fault);
}

/* Those whose records are on the targets are given back; not the last one if it is being walked. */
static void release_held(struct applier *applier)
{
	struct replica *replica = applier->replica;
	unsigned int kept = applier->is_walking ? 1 : 0;
	unsigned int done = applier->held_count - kept;

	if (applier->held_count <= kept)
		return;
	for (unsigned int i = 0; i < done; i++) {
		applier->applied_place = applier->held[i]->place;
		applier->applied_number = applier->held[i]->number;
		applier->applied_bytes += applier->held[i]->number ? applier->held[i]->raw_bytes
								   : 0;
		replica_stream_end_batch(replica, applier->held[i]);
	}
	if (kept)
		applier->held[0] = applier->held[done];
	applier->held_count = kept;
	os_mutex_lock(&replica->lock);
	replica->applied = applier->applied_place;
	replica->applied_bytes = applier->applied_bytes;
	os_mutex_unlock(&replica->lock);
}

int applier_apply(struct applier *applier, struct fault *fault)
{
	int error = write_group_apply(applier->group, fault);

	if (!error)
		error = applier_compare(applier, fault);
	if (!error)
		release_held(applier);
	return error;
}

/* The contract with the history: what stands before a mark is on stable storage. */
static int flush_targets(struct applier *applier, struct fault *fault)
{
	int error = replica_channels_flush(applier->replica, applier->channels, fault);

	if (error)
		return error;
	applier->flushed_place = applier->applied_place;
	applier->flushed_number = applier->applied_number;
	return 0;
}

/* The targets are flushed up to flushed_place: the journal need not have that any more. */
static int note_applied(struct applier *applier, struct fault *fault)
{
	struct replica *replica = applier->replica;
	int error = 0;

	if (!journal_place_is_same(&applier->noted_place, &applier->flushed_place))
		error = journal_applied(replica->journal, &applier->flushed_place, fault);
	if (error)
		return error;
	applier->noted_place = applier->flushed_place;
	applier->noted_ns = os_monotonic_ns();
	os_mutex_lock(&replica->lock);
	replica->flushed_number = applier->flushed_number;
	if (applier->flushed_number > 0 ||
	    journal_place_is_same(&applier->flushed_place, &applier->recovery_end))
		replica->is_recovering = false;
	if (!replica->is_recovering && replica->flushed_number >= replica->drain_number)
		replica->is_drain_wanted = false;
	os_cond_broadcast(&replica->changed);
	os_mutex_unlock(&replica->lock);
	return 0;
}

static int flush_and_note(struct applier *applier, struct fault *fault)
{
	int error = applier_apply(applier, fault);

	if (!error)
		error = flush_targets(applier, fault);
	return error ? error : note_applied(applier, fault);
}

/* A full file system takes checkpoints and does not end replication; nor does a source whose clock is ahead, and whose
 * checkpoints retention takes for new. */
static int mark(struct replica *replica, const struct wire_record *record, unsigned int flags,
		struct fault *fault)
{
	struct history *history = replica->history;
	int error = history_mark(history, record->length, record->offset, flags, fault);

	while ((error == -EMFILE || error == -ENOSPC) && !history_drop_oldest(history, NULL)) {
		replica_count_dropped(replica, 1);
		log_warning("%s: %s: the oldest checkpoint was dropped", replica->machine->name,
			    error == -EMFILE ? "too many checkpoints"
					     : "no space for a checkpoint");
		error = history_mark(history, record->length, record->offset, flags, fault);
	}
	return error;
}

static int on_mark(struct applier *applier, const struct wire_record *record, struct fault *fault)
{
	unsigned int flags = (record->flags & WIRE_MARK_QUIET ? HISTORY_QUIET : 0) |
			     (record->flags & WIRE_MARK_FROZEN ? HISTORY_FROZEN : 0);
	int error = applier_apply(applier, fault);

	if (!error)
		error = flush_targets(applier, fault);
	if (!error)
		error = mark(applier->replica, record, flags, fault);
	if (!error)
		applier_hold(applier, record);
	if (!error && os_monotonic_ns() - applier->noted_ns > NOTE_NS)
		error = note_applied(applier, fault);
	return error;
}

static int on_confirm(struct applier *applier, uint64_t number, struct fault *fault)
{
	struct replica *replica = applier->replica;
	int error = history_confirm(replica->history, number, fault);

	if (error)
		return error;
	os_mutex_lock(&replica->lock);
	if (number > replica->gap_mark)
		replica->is_building = false;
	os_cond_broadcast(&replica->changed);
	os_mutex_unlock(&replica->lock);
	return 0;
}

static int on_write(struct applier *applier, const struct wire_record *record, struct fault *fault)
{
	const void *data = record->kind == WIRE_RECORD_ZERO ? NULL : wire_record_data(record);
	unsigned int slot = applier->replica->stream_slots[record->disk];
	int error = 0;

	if (!applier->channels[slot])
		return fault_set(fault, FAULT_STOP, ENODEV,
				 "the stream writes to disk %u, which is not open", slot);
	if (!data && record->length > WRITE_GROUP_ZERO_MAX) {
		error = applier_apply(applier, fault);
		return error ? error
			     : write_group_zero(applier->group, slot, record->offset,
						record->length, fault);
	}
	/* What is compared is compared as it was before this. */
	if (applier->digest_count ||
	    !write_group_has_room(applier->group, (uint32_t)record->length))
		error = applier_apply(applier, fault);
	if (!error)
		write_group_add(applier->group, slot, record->offset, (uint32_t)record->length,
				data);
	return error;
}

static int apply_record(struct applier *applier, const struct wire_record *record,
			struct fault *fault)
{
	switch ((enum wire_record_kind)record->kind) {
	case WIRE_RECORD_WRITE:
	case WIRE_RECORD_ZERO:
	case WIRE_RECORD_COPY:
		return on_write(applier, record, fault);
	case WIRE_RECORD_MARK:
		return on_mark(applier, record, fault);
	case WIRE_RECORD_CONFIRM:
		return on_confirm(applier, record->length, fault);
	case WIRE_RECORD_GAP:
		replica_note_building(applier->replica);
		return 0;
	case WIRE_RECORD_DIGEST:
		return applier_digest(applier, record, fault);
	}
	return fault_set(fault, FAULT_STOP, EPROTO, "a record of an unknown kind in the stream");
}

static int apply_batch(struct applier *applier, struct batch *batch, struct fault *fault)
{
	const struct wire_record *record = batch->records;
	int error = 0;

	/* Those of the journal, which were appended since it was opened, have numbers as well. */
	batch->number = applier->has_recovered ? applier->taken_number + 1 : 0;
	applier->taken_number = batch->number;
	if (journal_place_is_same(&batch->place, &applier->recovery_end))
		applier->has_recovered = true;
	if (applier->held_count == APPLIER_HELD_MAX)
		error = applier_apply(applier, fault);
	if (error) {
		replica_stream_end_batch(applier->replica, batch);
		return error;
	}
	applier->held[applier->held_count++] = batch;
	applier->is_walking = true;
	for (uint32_t i = 0; !error && i < batch->record_count; i++) {
		error = apply_record(applier, record, fault);
		record = wire_record_next(record);
	}
	applier->is_walking = false;
	if (!error && write_group_is_empty(applier->group) && !applier->digest_count)
		release_held(applier);
	return error;
}

/* Somebody waits until what was taken is flushed. */
static bool is_drain_due(struct applier *applier)
{
	struct replica *replica = applier->replica;
	bool is_due;

	os_mutex_lock(&replica->lock);
	is_due = replica->is_drain_wanted && applier->has_recovered &&
		 applier->taken_number >= replica->drain_number;
	os_mutex_unlock(&replica->lock);
	return is_due;
}

static bool is_stopping(struct replica *replica)
{
	bool is_stopping;

	os_mutex_lock(&replica->lock);
	is_stopping = replica->is_applier_stopping;
	os_mutex_unlock(&replica->lock);
	return is_stopping;
}

static bool is_noted(const struct applier *applier)
{
	return journal_place_is_same(&applier->noted_place, &applier->applied_place);
}

static int run(struct applier *applier, struct fault *fault)
{
	struct replica *replica = applier->replica;
	int error = 0;

	while (!error && !is_stopping(replica)) {
		bool is_busy = applier->held_count > 0;
		uint64_t deadline_ns = is_busy ? 0 : os_monotonic_ns() + IDLE_NS;
		struct batch *batch;
		int result =
			replica_next_batch(replica, &applier->taken, deadline_ns, &batch, fault);

		if (result < 0)
			error = result;
		else if (result == 1)
			error = apply_batch(applier, batch, fault);
		else if (is_busy)
			error = applier_apply(applier, fault);
		else if (!is_noted(applier))
			error = flush_and_note(applier, fault);
		if (!error && is_drain_due(applier))
			error = flush_and_note(applier, fault);
	}
	if (error || (!applier->held_count && is_noted(applier)))
		return error;
	return flush_and_note(applier, fault);
}

static void fail(struct applier *applier, const struct fault *fault)
{
	struct replica *replica = applier->replica;

	replica_set_failed(replica, fault);
	log_error("%s: the stream cannot be applied: %s", replica->machine->name, fault->text);
	replica_tell_failure(replica, fault);
}

static void applier_free(struct applier *applier)
{
	replica_channels_close(applier->channels, END_NS);
	for (unsigned int i = 0; i < applier->held_count; i++)
		batch_free(applier->held[i]);
	write_group_free(applier->group);
	applier_free_digests(applier);
	free(applier);
}

static void serve(void *argument)
{
	struct applier *applier = argument;
	struct fault fault = {0};

	if (run(applier, &fault))
		fail(applier, &fault);
	applier_free(applier);
}

static int open_channels(struct applier *applier, struct fault *fault)
{
	struct replica *replica = applier->replica;
	struct write_group_setup setup = {
		.disks = replica->disks,
		.disk_count = replica->disk_count,
		.channels = applier->channels,
		.protect = protect,
		.context = replica,
	};
	int error = replica_channels_open(replica, applier->channels, fault);

	return error ? error : write_group_new(&setup, &applier->group, fault);
}

int replica_start_applier(struct replica *replica, struct fault *fault)
{
	struct applier *applier = calloc(1, sizeof(*applier));
	int error;

	if (!applier)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	replica->is_applier_stopping = false;
	applier->replica = replica;
	applier->taken = applier->applied_place = applier->flushed_place = applier->noted_place =
		replica->applied;
	applier->recovery_end = replica->durable;
	applier->has_recovered = !replica->is_recovering;
	error = open_channels(applier, fault);
	if (!error && os_thread_start(&replica->applier, "applier", serve, applier))
		error = fault_set(fault, FAULT_RETRY, EAGAIN, "cannot start a thread");
	if (error)
		applier_free(applier);
	return error;
}

void replica_stop_applier(struct replica *replica)
{
	os_mutex_lock(&replica->lock);
	replica->is_applier_stopping = true;
	os_cond_broadcast(&replica->changed);
	os_mutex_unlock(&replica->lock);
	os_thread_join(&replica->applier);
}
