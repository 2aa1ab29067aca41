// SPDX-License-Identifier: GPL-2.0-or-later
/* The agent's life: its disks, one session after another, what a session begins with; see replicate.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/platform.h"
#include "agent/replicate.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "common/units.h"

#define BACKOFF_LEAST_NS  (200 * NS_PER_MS)
#define BACKOFF_MOST_NS	  (10 * NS_PER_S)
#define BACKOFF_STOP_NS	  (30 * NS_PER_S) /* a person has to act: look again now and then */
#define TICK_NS		  (200 * NS_PER_MS)
#define FENCED_TIMEOUT_NS (30 * NS_PER_S)
#define SHIP_RATE_GUESS	  (50 * MIB)

int replicator_new(const struct agent_options *options, struct replicator **ret_replicator,
		   struct fault *fault)
{
	struct replicator *replicator = calloc(1, sizeof(*replicator));
	int error = 0;

	if (!replicator)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	replicator->options = options;
	replicator->ship_rate = SHIP_RATE_GUESS;
	os_random(replicator->instance, sizeof(replicator->instance));
	os_random(&replicator->own_stream, sizeof(replicator->own_stream));
	replicator->own_stream |= 1; /* 0 means none */
	replicator->status = status_new();
	replicator->limit = rate_limit_new(options->limit_bytes_per_s);
	if (!replicator->status || !replicator->limit)
		error = fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	if (!error)
		error = source_open(options, &replicator->source, fault);
	if (error) {
		replicator_free(replicator);
		return error;
	}
	*ret_replicator = replicator;
	return 0;
}

void replicator_free(struct replicator *replicator)
{
	if (!replicator)
		return;
	session_close(replicator->session);
	freezer_free(replicator->freezer); /* committed: that thaws nothing */
	/* A source that is fenced writes no file; one that is removed has nothing to leave. */
	if (replicator->source && !replicator->fenced && !replicator->is_removed)
		source_end_in_order(replicator->source);
	source_close(replicator->source,
		     replicator->is_removed ? SOURCE_END_TRACKING : SOURCE_KEEP_TRACKING);
	rate_limit_free(replicator->limit);
	status_free(replicator->status);
	free(replicator);
}

void replicator_stop(struct replicator *replicator)
{
	__atomic_store_n(&replicator->is_stopping, true, __ATOMIC_RELEASE);
}

bool replicator_is_stopping(struct replicator *replicator)
{
	return __atomic_load_n(&replicator->is_stopping, __ATOMIC_ACQUIRE);
}

/* What the receiver has of the stream must lie between what it acknowledged and what was sent. NULL: it does. */
static const char *find_stream_fault(const struct tracker_disk_memory *memory,
				     const struct wire_stream_ready *ready)
{
	bool is_acked = ready->stream == memory->acked_stream;
	bool is_opened = ready->stream == memory->opened_stream;

	if ((is_acked && ready->batch < memory->acked_batch) ||
	    (!is_acked && !is_opened && memory->acked_stream))
		return "the receiver's journal went back in time";
	if ((is_opened && ready->batch > memory->opened_batch) ||
	    (!is_acked && !is_opened && ready->stream))
		return "this machine was reverted to an earlier state, with its memory";
	return NULL;
}

/* I2: a disk goes on from its bitmaps only if they list what *this* replica lacks, nothing is missing from
 * them, and the receiver's storage has not gone back behind what it once acknowledged. */
static int reconcile_disk(struct replicator *replicator, unsigned int index, struct fault *fault)
{
	static const uint8_t none[WIRE_REPLICA_LEN];
	struct source_disk *disk = &replicator->source->disks[index];
	const struct wire_disk_ready *ready = session_disk(replicator->session, index);
	struct tracker_disk_memory *memory = disk->memory;
	const uint8_t *known = memory->replica_id;
	struct wire_stream_ready stream = {0};
	enum source_stage stage = ready->flags & WIRE_DISK_IS_NEW ? SOURCE_STAGE_COPY
								  : SOURCE_STAGE_COMPARE;
	const char *why = NULL;
	int error;

	(void)session_wait_stream_ready(replicator->session, 0, &stream);
	if (memcmp(known, none, sizeof(none)) == 0)
		why = "no replica was followed so far";
	else if (memcmp(known, ready->replica, sizeof(none)) != 0)
		why = "the receiver has another replica than the one that was followed";
	else if (ready->epoch < memory->acked_epoch)
		why = "the receiver's storage went back in time";
	else if (ready->epoch > memory->opened_epoch)
		why = "this machine was reverted to an earlier state, with its memory";
	else
		why = find_stream_fault(memory, &stream);
	if (!why)
		return 0;
	log_info("disk %u, %s: %s: %s", index, disk->disk.path, why,
		 stage == SOURCE_STAGE_COPY ? "copying it in full"
					    : "comparing digests, only differences are sent");
	if (replicator->source->start.kind == START_ORDERLY && stage == SOURCE_STAGE_COMPARE) {
		replicator->source->start.kind = START_COMPARED;
		snprintf(replicator->source->start.text, sizeof(replicator->source->start.text),
			 "though restarted in order: %s", why);
	}
	error = source_list_all(replicator->source, index, fault);
	if (error)
		return error;
	memory->acked_stream = memory->opened_stream = stream.stream;
	memory->acked_batch = memory->opened_batch = stream.batch;
	source_adopt_replica(replicator->source, index, ready->replica, ready->epoch, stage);
	return 0;
}

struct session_setup replicator_session_setup(struct replicator *replicator)
{
	return (struct session_setup){
		.source = replicator->source,
		.status = replicator->status,
		.limit = replicator->limit,
		.instance = replicator->instance,
		.fenced = replicator->fenced,
		.is_stopping = &replicator->is_stopping,
		.numeric_host = replicator->receiver_host,
	};
}

/* A fenced source says so until it was heard; then it only waits for its end. */
static int run_fenced(struct replicator *replicator, struct fault *fault)
{
	struct session_setup setup = replicator_session_setup(replicator);
	int error;

	while (replicator->is_fenced_heard && !replicator_is_stopping(replicator))
		os_sleep_ns(TICK_NS);
	if (replicator_is_stopping(replicator))
		return 0;
	error = session_repeat_fenced(&setup, os_monotonic_ns() + FENCED_TIMEOUT_NS, fault);
	replicator->is_fenced_heard = !error;
	return error;
}

static int tell_start(struct replicator *replicator, struct fault *fault)
{
	const struct start_note *start = &replicator->source->start;
	struct wire_start message = {.kind = start->kind == START_ORDERLY ? WIRE_START_ORDERLY
									  : WIRE_START_COMPARED};

	snprintf(message.text, sizeof(message.text), "%s", start->text);
	if (session_send(replicator->session, WIRE_START, &message, sizeof(message)))
		return replicator_session_fault(replicator, fault);
	return 0;
}

static int run_session(struct replicator *replicator, struct fault *fault)
{
	struct source *source = replicator->source;
	struct session_setup setup = replicator_session_setup(replicator);
	int error;

	status_set_flags(replicator->status,
			 replicator_is_scanning(replicator) ? 0 : WIRE_STATUS_TRACKED,
			 WIRE_STATUS_READY | WIRE_STATUS_WAITING);
	error = session_open(&setup, &replicator->session, fault);
	if (error)
		return error;
	error = replicator_join_stream(replicator, fault);
	for (unsigned int i = 0; !error && i < source->count; i++)
		error = reconcile_disk(replicator, i, fault);
	if (!error)
		error = tell_start(replicator, fault);
	if (!error) {
		status_set_note(replicator->status, "%s", "");
		error = replicator_replicate(replicator, fault);
	}
	if (error == -ENODEV || error == -ESTALE) {
		struct wire_error message = {.code = WIRE_ERROR_DISK, .class = FAULT_STOP};

		snprintf(message.text, sizeof(message.text), "%s", fault->text);
		(void)session_send(replicator->session, WIRE_ERROR, &message, sizeof(message));
	}
	session_close(replicator->session);
	replicator->session = NULL;
	return error;
}

/* The disks are not what they were: look for them anew until they are there. */
static int reopen_source(struct replicator *replicator, struct fault *fault)
{
	source_close(replicator->source, SOURCE_KEEP_TRACKING);
	replicator->source = NULL;
	return source_open(replicator->options, &replicator->source, fault);
}

static void wait_backoff(struct replicator *replicator, uint64_t backoff_ns)
{
	uint64_t deadline = os_monotonic_ns() + backoff_ns;

	while (!replicator_is_stopping(replicator) && os_monotonic_ns() < deadline)
		os_sleep_ns(BACKOFF_LEAST_NS / 4);
}

int replicator_run(struct replicator *replicator, struct fault *fault)
{
	uint64_t backoff = BACKOFF_LEAST_NS;

	while (!replicator_is_stopping(replicator) && !replicator->is_removed) {
		struct fault why = {0};
		uint64_t began = os_monotonic_ns();
		int error = replicator->fenced ? run_fenced(replicator, &why)
					       : run_session(replicator, &why);

		if (!error || replicator_is_stopping(replicator))
			continue;
		if (os_monotonic_ns() - began > BACKOFF_MOST_NS)
			backoff = BACKOFF_LEAST_NS; /* it worked for a while */
		status_set_note(replicator->status, "%s", why.text);
		status_set_flags(replicator->status, WIRE_STATUS_WAITING, WIRE_STATUS_READY);
		if (why.class == FAULT_STOP)
			backoff = BACKOFF_STOP_NS;
		log_warning("%s; trying again in %llu.%llu s", why.text,
			    (unsigned long long)(backoff / NS_PER_S),
			    (unsigned long long)(backoff / (NS_PER_S / 10) % 10));
		wait_backoff(replicator, backoff);
		backoff = backoff * 2 > BACKOFF_MOST_NS ? BACKOFF_MOST_NS : backoff * 2;
		if (error == -ENODEV || error == -ESTALE) {
			error = reopen_source(replicator, fault);
			if (error)
				return error; /* the service manager starts us again later */
		}
	}
	return 0;
}
