// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The stream on its way through a replica: appended to the journal, made durable, handed to the applier. A batch
 * stays in memory for the applier if there is room; else the applier reads it back from the journal. Which of
 * the two it is the applier sees from the places: the queue's first follows what it had last, or does not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/wire_check.h"
#include "receiver/replica_internal.h"

/* NULL: no memory */
static struct batch *take_batch(struct replica *replica)
{
	struct batch *batch;

	os_mutex_lock(&replica->lock);
	batch = replica->unused;
	if (batch) {
		replica->unused = batch->next;
		replica->unused_length--;
	}
	os_mutex_unlock(&replica->lock);
	return batch ? batch : batch_new();
}

struct batch *replica_stream_begin(struct replica *replica)
{
	return take_batch(replica);
}

void *replica_stream_buffer(struct batch *batch)
{
	return batch->frame;
}

void replica_stream_end_batch(struct replica *replica, struct batch *batch)
{
	if (!batch)
		return;
	os_mutex_lock(&replica->lock);
	if (replica->unused_length < REPLICA_UNUSED_MAX) {
		batch->next = replica->unused;
		replica->unused = batch;
		replica->unused_length++;
		batch = NULL;
	}
	os_mutex_unlock(&replica->lock);
	batch_free(batch);
}

void replica_free_batches(struct replica *replica)
{
	struct batch *next;

	*replica->queue_last = replica->unused;
	for (struct batch *batch = replica->queue_first; batch; batch = next) {
		next = batch->next;
		batch_free(batch);
	}
	replica->queue_first = NULL;
	replica->queue_last = &replica->queue_first;
	replica->queue_length = 0;
	replica->unused = NULL;
	replica->unused_length = 0;
}

static int failed(const struct replica *replica, struct fault *fault)
{
	if (fault)
		*fault = replica->failure;
	return -replica->failure.error;
}

/* What the marks in it say about the newest checkpoint. The lock is held. */
static void note_marks(struct replica *replica, const struct batch *batch)
{
	const struct wire_record *record = batch->records;

	for (uint32_t i = 0; i < batch->record_count; i++, record = wire_record_next(record)) {
		struct replica_mark *mark = &replica->marks[record->length % REPLICA_MARKS_MAX];

		if (record->kind == WIRE_RECORD_MARK) {
			*mark = (struct replica_mark){.number = record->length,
						      .time_ns = record->offset};
			if (record->length > replica->newest_mark)
				replica->newest_mark = record->length;
		} else if (record->kind == WIRE_RECORD_CONFIRM && mark->number == record->length &&
			   mark->number > replica->appended_point.number) {
			mark->is_confirmed = true;
			replica->appended_point = *mark;
		}
	}
}

int replica_stream_append(struct replica *replica, struct batch **batch, struct fault *fault)
{
	struct batch *full = *batch, *empty = NULL;
	const struct wire_stream *head = (const struct wire_stream *)full->frame;
	bool is_kept;
	int error = batch_open(full, replica->stream_bytes, replica->stream_disks, fault);

	if (!error)
		error = journal_append(replica->journal, head, wire_stream_bytes(head), fault);
	if (error)
		return error;
	os_mutex_lock(&replica->lock);
	is_kept = replica->queue_length < REPLICA_QUEUE_MAX;
	os_mutex_unlock(&replica->lock);
	if (is_kept)
		empty = take_batch(replica);
	os_mutex_lock(&replica->lock);
	full->before = replica->appended;
	full->number = ++replica->appended_number;
	replica->appended = full->place;
	replica->appended_bytes += full->raw_bytes;
	note_marks(replica, full);
	if (empty) {
		full->next = NULL;
		*replica->queue_last = full;
		replica->queue_last = &full->next;
		replica->queue_length++;
		*batch = empty;
	}
	os_mutex_unlock(&replica->lock);
	return 0;
}

int replica_stream_sync(struct replica *replica, struct journal_place *ret_durable,
			struct fault *fault)
{
	struct journal_place durable;
	int error = journal_sync(replica->journal, &durable, fault);

	if (error)
		return error;
	os_mutex_lock(&replica->lock);
	/* One thread appends and syncs: all that was appended is durable. */
	replica->durable = durable;
	replica->durable_number = replica->appended_number;
	replica->durable_point = replica->appended_point;
	os_cond_broadcast(&replica->changed);
	os_mutex_unlock(&replica->lock);
	*ret_durable = durable;
	return 0;
}

/* Waits for something to apply. 1: there is; *ret_batch is it if it is in memory. */
static int await_batch(struct replica *replica, const struct journal_place *at,
		       uint64_t deadline_ns, struct batch **ret_batch)
{
	int result = 0;

	*ret_batch = NULL;
	os_mutex_lock(&replica->lock);
	for (;;) {
		struct batch *first = replica->queue_first;

		if (replica->is_applier_stopping)
			break;
		if (first && first->number <= replica->durable_number &&
		    journal_place_is_same(&first->before, at)) {
			replica->queue_first = first->next;
			if (!first->next)
				replica->queue_last = &replica->queue_first;
			replica->queue_length--;
			*ret_batch = first;
			result = 1;
			break;
		}
		if (!journal_place_is_same(at, &replica->durable)) {
			result = 1;
			break;
		}
		if (deadline_ns <= os_monotonic_ns() ||
		    (replica->is_drain_wanted && replica->durable_number >= replica->drain_number))
			break;
		(void)os_cond_wait_until(&replica->changed, &replica->lock, deadline_ns);
	}
	os_mutex_unlock(&replica->lock);
	return result;
}

int replica_next_batch(struct replica *replica, struct journal_place *at, uint64_t deadline_ns,
		       struct batch **ret_batch, struct fault *fault)
{
	struct journal_place next = *at;
	struct batch *batch;
	int result = await_batch(replica, at, deadline_ns, &batch);

	if (result == 1 && !batch) {
		batch = take_batch(replica);
		if (!batch)
			return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
		result = journal_read(replica->journal, &next, batch->frame, fault);
		if (result == 1) {
			int error = batch_open(batch, replica->stream_bytes, replica->stream_disks,
					       fault);

			if (error)
				result = error;
		}
		if (result != 1) {
			replica_stream_end_batch(replica, batch);
			return result;
		}
	}
	if (result == 1) {
		*at = batch->place;
		*ret_batch = batch;
	}
	return result;
}

void replica_stream_end(struct replica *replica, struct journal_place *ret_end,
			uint64_t *ret_newest_mark)
{
	uint64_t known = history_newest_mark(replica->history);

	os_mutex_lock(&replica->lock);
	*ret_end = replica->durable;
	*ret_newest_mark = known > replica->newest_mark ? known : replica->newest_mark;
	os_mutex_unlock(&replica->lock);
}

void replica_stream_applied(struct replica *replica, struct journal_place *ret_applied)
{
	os_mutex_lock(&replica->lock);
	*ret_applied = replica->applied;
	os_mutex_unlock(&replica->lock);
}

int replica_drain(struct replica *replica, uint64_t timeout_ns, struct fault *fault)
{
	uint64_t deadline_ns = os_monotonic_ns() + timeout_ns;
	uint64_t wanted;
	int error = 0;

	os_mutex_lock(&replica->lock);
	wanted = replica->appended_number;
	while (!error && !replica->has_failed &&
	       (replica->is_recovering || replica->flushed_number < wanted)) {
		replica->is_drain_wanted = true;
		if (replica->drain_number < wanted)
			replica->drain_number = wanted;
		os_cond_broadcast(&replica->changed);
		if (!timeout_ns ||
		    os_cond_wait_until(&replica->changed, &replica->lock, deadline_ns))
			error = fault_set(fault, FAULT_RETRY, ETIMEDOUT,
					  "the targets have not taken the stream in time");
	}
	if (replica->has_failed)
		error = failed(replica, fault);
	os_mutex_unlock(&replica->lock);
	return error;
}
