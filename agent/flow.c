// SPDX-License-Identifier: GPL-2.0-or-later
/* The flow of a session: batches, epochs, acknowledgements; see flow.h. */
#include "agent/flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_clock.h"
#include "common/os_thread.h"

#define EPOCH_AGE_NS   NS_PER_S
#define EXCEPTIONS_MAX 128
#define DIGESTS_MAX    4096 /* DIGESTS frames without an answer; a power of two */
#define TICK_NS	       (50 * NS_PER_MS)
#define ASK_NS	       (10 * NS_PER_MS) /* whether to stop: a stream is kept going by that, too */

/* Blocks that leave the work bitmap when the epoch is acknowledged. */
struct entry {
	uint64_t first;
	uint32_t count;
	uint16_t disk;
};

struct epoch {
	uint64_t number;
	uint64_t opened_ns;    /* when the first batch went in; 0: empty */
	unsigned int reserved; /* entries that verdicts under way may still need */
	unsigned int count;
	unsigned int exceptions_count;
	struct entry exceptions[EXCEPTIONS_MAX]; /* were not sent after all */
	struct entry entries[FLOW_EPOCH_ENTRIES];
};

struct digest {
	bool is_pending;
	uint64_t number, epoch, offset;
	uint32_t length, block;
	unsigned int disk;
};

struct flow {
	struct os_mutex lock;
	struct os_cond changed;
	struct flow_disk disks[WIRE_DISKS_MAX];
	unsigned int disk_count, connections;
	bool is_failed, is_interrupted;

	struct flow_pass *pass; /* NULL between passes */
	bool is_handed_out;	/* nothing more to hand out in this pass */
	uint64_t pass_ends_ns;	/* 0: no budget */

	uint64_t open_epoch;  /* number of the epoch that batches go into */
	uint64_t acked_epoch; /* all up to it are settled */
	uint64_t barrier_sent[WIRE_CONNECTIONS_MAX];
	struct epoch *epochs[FLOW_EPOCHS]; /* epoch n is in epochs[n % FLOW_EPOCHS] */

	uint64_t next_digest;
	struct digest *digests;
	struct flow_progress progress;
};

static struct epoch *epoch_of(struct flow *flow, uint64_t number)
{
	return flow->epochs[number % FLOW_EPOCHS];
}

static void epoch_reset(struct epoch *epoch, uint64_t number)
{
	epoch->number = number;
	epoch->opened_ns = 0;
	epoch->reserved = 0;
	epoch->count = 0;
	epoch->exceptions_count = 0;
}

/* Before anything is sent in it: a receiver that knows of a later epoch than this was not fed by us, but by
 * a future that this machine was reverted from. */
static void remember_opened(struct flow *flow)
{
	for (unsigned int i = 0; i < flow->disk_count; i++)
		__atomic_store_n(flow->disks[i].opened_epoch, flow->open_epoch, __ATOMIC_SEQ_CST);
}

int flow_new(const struct flow_disk *disks, unsigned int count, unsigned int connections,
	     uint64_t first_epoch, struct flow **ret_flow)
{
	struct flow *flow = calloc(1, sizeof(*flow));

	if (!flow)
		return -ENOMEM;
	os_mutex_init(&flow->lock);
	os_cond_init(&flow->changed);
	memcpy(flow->disks, disks, count * sizeof(*disks));
	flow->disk_count = count;
	flow->connections = connections;
	flow->open_epoch = first_epoch;
	flow->acked_epoch = first_epoch - 1;
	for (unsigned int i = 0; i < connections; i++)
		flow->barrier_sent[i] = first_epoch - 1;
	flow->digests = calloc(DIGESTS_MAX, sizeof(*flow->digests));
	for (unsigned int i = 0; i < FLOW_EPOCHS; i++)
		flow->epochs[i] = calloc(1, sizeof(struct epoch));
	for (unsigned int i = 0; i < FLOW_EPOCHS; i++) {
		if (!flow->epochs[i] || !flow->digests) {
			flow_free(flow);
			return -ENOMEM;
		}
	}
	epoch_reset(epoch_of(flow, first_epoch), first_epoch);
	*ret_flow = flow;
	return 0;
}

void flow_free(struct flow *flow)
{
	if (!flow)
		return;
	for (unsigned int i = 0; i < FLOW_EPOCHS; i++)
		free(flow->epochs[i]);
	free(flow->digests);
	os_cond_fini(&flow->changed);
	os_mutex_fini(&flow->lock);
	free(flow);
}

/* Closes the open epoch if a successor has room; its barriers go out next. */
static bool close_epoch(struct flow *flow)
{
	if (flow->open_epoch - flow->acked_epoch >= FLOW_EPOCHS)
		return false;
	flow->open_epoch++;
	epoch_reset(epoch_of(flow, flow->open_epoch), flow->open_epoch);
	os_cond_broadcast(&flow->changed);
	return true;
}

static void epoch_add(struct epoch *epoch, unsigned int disk, uint64_t first, uint64_t count)
{
	struct entry *last = epoch->count ? &epoch->entries[epoch->count - 1] : NULL;

	if (last && last->disk == disk && last->first + last->count == first &&
	    last->count + count <= UINT32_MAX) {
		last->count += (uint32_t)count;
		return;
	}
	epoch->entries[epoch->count++] =
		(struct entry){.first = first, .count = (uint32_t)count, .disk = (uint16_t)disk};
}

/* Most entries that a batch of this pass can need. */
static unsigned int batch_entries(const struct flow *flow)
{
	if (flow->pass->kind == FLOW_COPY)
		return FLOW_BATCH_EXTENTS;
	return FLOW_BATCH_EXTENTS + FLOW_BATCH_BYTES / flow->pass->digest_block;
}

static bool is_epoch_full(const struct flow *flow, const struct epoch *epoch)
{
	return epoch->count + epoch->reserved + batch_entries(flow) > FLOW_EPOCH_ENTRIES;
}

/* Fills a batch from where the pass stands. False when nothing is left to hand out. */
static bool take_batch(struct flow *flow, struct flow_batch *batch)
{
	struct flow_pass *pass = flow->pass;
	uint64_t first, run;

	batch->count = 0;
	batch->bytes = 0;
	while (batch->count < FLOW_BATCH_EXTENTS && pass->from_disk < flow->disk_count) {
		const struct flow_disk *disk = &flow->disks[pass->from_disk];
		uint64_t most = (FLOW_BATCH_BYTES - batch->bytes) / disk->block_bytes;
		uint64_t offset, length;

		if (most == 0)
			break;
		if (!bitmap_next_run(&pass->work[pass->from_disk], pass->from_block, most, &first,
				     &run)) {
			if (batch->count)
				break; /* a batch is of one disk */
			pass->from_disk++;
			pass->from_block = 0;
			continue;
		}
		offset = first * disk->block_bytes;
		length = run * disk->block_bytes;
		if (length > disk->size_bytes - offset)
			length = disk->size_bytes - offset; /* the last block may be short */
		batch->disk = pass->from_disk;
		batch->extents[batch->count++] =
			(struct flow_extent){.offset = offset, .length = (uint32_t)length};
		batch->bytes += (uint32_t)(run * disk->block_bytes);
		pass->from_block = first + run;
	}
	return batch->count > 0;
}

static void log_batch(struct flow *flow, struct epoch *epoch, struct flow_batch *batch)
{
	uint32_t block = flow->disks[batch->disk].block_bytes;

	batch->kind = flow->pass->kind;
	batch->epoch = epoch->number;
	/* A verdict settles whole tracker blocks: never digest less than one. */
	batch->digest_block = flow->pass->digest_block > block ? flow->pass->digest_block : block;
	if (!epoch->opened_ns) {
		epoch->opened_ns = os_monotonic_ns();
		remember_opened(flow);
	}
	if (batch->kind == FLOW_COMPARE) {
		/* What turns out to be the same is entered when the verdict comes. */
		epoch->reserved += batch_entries(flow);
		return;
	}
	for (unsigned int i = 0; i < batch->count; i++)
		epoch_add(epoch, batch->disk, batch->extents[i].offset / block,
			  (batch->extents[i].length + block - 1) / block);
}

/* The next step for a connection, or FLOW_IDLE. Under the lock. */
static enum flow_step next_step(struct flow *flow, unsigned int connection,
				struct flow_batch *batch)
{
	struct epoch *open = epoch_of(flow, flow->open_epoch);
	uint64_t now;

	if (flow->is_failed)
		return FLOW_QUIT;
	if (flow->barrier_sent[connection] < flow->open_epoch - 1) {
		flow->barrier_sent[connection] = flow->open_epoch - 1;
		batch->epoch = flow->open_epoch - 1;
		return FLOW_BARRIER;
	}
	if (!flow->pass)
		return FLOW_IDLE;
	now = os_monotonic_ns();
	if (flow->is_interrupted || (flow->pass_ends_ns && now >= flow->pass_ends_ns))
		flow->is_handed_out = true;
	if (open->opened_ns && (flow->is_handed_out || is_epoch_full(flow, open) ||
				now - open->opened_ns >= EPOCH_AGE_NS)) {
		if (close_epoch(flow))
			return next_step(flow, connection, batch);
		if (flow->is_handed_out || is_epoch_full(flow, open))
			return FLOW_IDLE; /* until the receiver has acknowledged more */
	}
	if (flow->is_handed_out || !take_batch(flow, batch)) {
		if (!flow->is_handed_out) {
			flow->is_handed_out = true;
			os_cond_broadcast(&flow->changed);
			return next_step(flow, connection, batch);
		}
		return FLOW_IDLE;
	}
	log_batch(flow, open, batch);
	return FLOW_BATCH;
}

enum flow_step flow_next(struct flow *flow, unsigned int connection, bool may_wait,
			 struct flow_batch *ret_batch)
{
	enum flow_step step;

	os_mutex_lock(&flow->lock);
	while ((step = next_step(flow, connection, ret_batch)) == FLOW_IDLE && may_wait)
		(void)os_cond_wait_until(&flow->changed, &flow->lock, os_monotonic_ns() + TICK_NS);
	os_mutex_unlock(&flow->lock);
	return step;
}

/* Is everything that was handed out settled? Under the lock. */
static bool is_settled(struct flow *flow)
{
	return flow->is_handed_out && flow->acked_epoch == flow->open_epoch - 1 &&
	       epoch_of(flow, flow->open_epoch)->opened_ns == 0;
}

static uint64_t count_work(struct flow *flow, const struct flow_pass *pass)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < flow->disk_count; i++)
		bytes += bitmap_count(&pass->work[i]) * flow->disks[i].block_bytes;
	return bytes;
}

/* Under the lock, which is given up meanwhile. */
static void ask_whether_to_stop(struct flow *flow, const struct flow_pass *pass)
{
	bool must_stop;

	if (!pass->should_stop || flow->is_interrupted)
		return;
	os_mutex_unlock(&flow->lock);
	must_stop = pass->should_stop(pass->stop_context);
	os_mutex_lock(&flow->lock);
	if (must_stop) {
		flow->is_interrupted = true;
		os_cond_broadcast(&flow->changed);
	}
}

int flow_run_pass(struct flow *flow, struct flow_pass *pass, bool *ret_is_complete)
{
	uint64_t bytes = count_work(flow, pass);
	bool is_failed;

	os_mutex_lock(&flow->lock);
	flow->pass = pass;
	flow->is_handed_out = false;
	flow->pass_ends_ns = pass->budget_ns ? os_monotonic_ns() + pass->budget_ns : 0;
	flow->progress.pass_bytes = bytes;
	flow->progress.todo_bytes = bytes;
	os_cond_broadcast(&flow->changed);
	while (!flow->is_failed && !is_settled(flow)) {
		ask_whether_to_stop(flow, pass);
		if (!flow->is_failed && !is_settled(flow))
			(void)os_cond_wait_until(&flow->changed, &flow->lock,
						 os_monotonic_ns() + ASK_NS);
	}
	*ret_is_complete = pass->from_disk >= flow->disk_count;
	is_failed = flow->is_failed;
	flow->pass = NULL;
	flow->is_interrupted = false;
	os_mutex_unlock(&flow->lock);
	return is_failed ? -ECONNRESET : 0;
}

void flow_fail(struct flow *flow)
{
	os_mutex_lock(&flow->lock);
	flow->is_failed = true;
	os_cond_broadcast(&flow->changed);
	os_mutex_unlock(&flow->lock);
}

void flow_get_progress(struct flow *flow, struct flow_progress *ret_progress)
{
	os_mutex_lock(&flow->lock);
	*ret_progress = flow->progress;
	os_mutex_unlock(&flow->lock);
}

uint64_t flow_acked_epoch(struct flow *flow)
{
	uint64_t epoch;

	os_mutex_lock(&flow->lock);
	epoch = flow->acked_epoch;
	os_mutex_unlock(&flow->lock);
	return epoch;
}

void flow_count_sent(struct flow *flow, uint64_t plain_bytes, uint64_t wire_bytes)
{
	os_mutex_lock(&flow->lock);
	flow->progress.sent_bytes += plain_bytes;
	flow->progress.wire_bytes += wire_bytes;
	os_mutex_unlock(&flow->lock);
}

int flow_digest_number(struct flow *flow, const struct flow_batch *batch,
		       const struct flow_extent *extent, uint64_t *ret_number)
{
	int error = 0;

	os_mutex_lock(&flow->lock);
	while (!flow->is_failed && flow->digests[flow->next_digest % DIGESTS_MAX].is_pending)
		(void)os_cond_wait_until(&flow->changed, &flow->lock, os_monotonic_ns() + TICK_NS);
	if (flow->is_failed) {
		error = -ECONNRESET;
	} else {
		*ret_number = flow->next_digest;
		flow->digests[flow->next_digest++ % DIGESTS_MAX] = (struct digest){
			.is_pending = true,
			.number = *ret_number,
			.epoch = batch->epoch,
			.offset = extent->offset,
			.length = extent->length,
			.block = batch->digest_block,
			.disk = batch->disk,
		};
	}
	os_mutex_unlock(&flow->lock);
	return error;
}

int flow_read_failed(struct flow *flow, const struct flow_batch *batch, uint64_t offset,
		     uint32_t length)
{
	uint32_t block = flow->disks[batch->disk].block_bytes;
	struct epoch *epoch;
	int error = 0;

	os_mutex_lock(&flow->lock);
	flow->progress.read_errors++;
	epoch = epoch_of(flow, batch->epoch);
	if (epoch->number != batch->epoch || epoch->exceptions_count == EXCEPTIONS_MAX)
		error = -EIO;
	else
		epoch->exceptions[epoch->exceptions_count++] = (struct entry){
			.first = offset / block,
			.count = (uint32_t)((offset % block + length + block - 1) / block),
			.disk = (uint16_t)batch->disk,
		};
	os_mutex_unlock(&flow->lock);
	return error;
}

/* I6: only here do bits leave the work bitmap. */
static void settle(struct flow *flow, struct epoch *epoch)
{
	for (unsigned int i = 0; i < epoch->count; i++) {
		const struct entry *entry = &epoch->entries[i];

		bitmap_clear(&flow->pass->work[entry->disk], entry->first, entry->count);
		flow->progress.todo_bytes -=
			(uint64_t)entry->count * flow->disks[entry->disk].block_bytes;
	}
	for (unsigned int i = 0; i < epoch->exceptions_count; i++) {
		const struct entry *entry = &epoch->exceptions[i];

		bitmap_set(&flow->pass->work[entry->disk], entry->first, entry->count);
	}
}

int flow_on_ack(struct flow *flow, uint64_t epoch)
{
	int error = 0;

	os_mutex_lock(&flow->lock);
	/* An epoch can be acknowledged only after it was closed and every connection sent its barrier. */
	for (unsigned int i = 0; i < flow->connections; i++)
		if (epoch > flow->barrier_sent[i])
			error = -EPROTO;
	if (epoch <= flow->acked_epoch || !flow->pass)
		error = error ? error : -EPROTO;
	if (!error) {
		/* Remembered before the bits go: a storage that went back behind it is recognised. */
		for (unsigned int i = 0; i < flow->disk_count; i++)
			__atomic_store_n(flow->disks[i].acked_epoch, epoch, __ATOMIC_SEQ_CST);
		while (flow->acked_epoch < epoch)
			settle(flow, epoch_of(flow, ++flow->acked_epoch));
		os_cond_broadcast(&flow->changed);
	}
	os_mutex_unlock(&flow->lock);
	return error;
}

/* Enters the runs that are the same into their epoch, and tells of the blocks that are not. */
static void apply_verdicts(struct flow *flow, const struct digest *digest, const uint8_t *verdicts,
			   uint32_t count)
{
	uint32_t block = flow->disks[digest->disk].block_bytes;
	struct epoch *epoch = epoch_of(flow, digest->epoch);

	for (uint32_t i = 0; i < count; i++) {
		uint64_t offset = digest->offset + (uint64_t)i * digest->block;
		uint64_t end = offset + digest->block;

		if (end > digest->offset + digest->length)
			end = digest->offset + digest->length;
		if (verdicts[i] == WIRE_DIGEST_SAME)
			epoch_add(epoch, digest->disk, offset / block,
				  (end - offset + block - 1) / block);
		else if (flow->pass->differs)
			flow->pass->differs(flow->pass->context, digest->disk, offset,
					    (uint32_t)(end - offset), verdicts[i]);
	}
}

int flow_on_verdicts(struct flow *flow, uint64_t number, const uint8_t *verdicts, uint32_t count)
{
	struct digest *digest = &flow->digests[number % DIGESTS_MAX];
	int error = -EPROTO;

	os_mutex_lock(&flow->lock);
	if (digest->is_pending && digest->number == number && flow->pass &&
	    epoch_of(flow, digest->epoch)->number == digest->epoch &&
	    count == (digest->length + digest->block - 1) / digest->block) {
		apply_verdicts(flow, digest, verdicts, count);
		digest->is_pending = false;
		os_cond_broadcast(&flow->changed);
		error = 0;
	}
	os_mutex_unlock(&flow->lock);
	return error;
}
