// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A checkpoint on command; see checkpoint.h. While streaming it is a mark in the stream. Otherwise everything is
 * frozen and shipped by DATA, and the mark says that the target itself is the checkpoint.
 */
#include "agent/checkpoint.h"

#include <errno.h>
#include <stdio.h>

#include "agent/platform.h"
#include "agent/stream.h"
#include "common/log.h"
#include "common/os_clock.h"

#define TIMEOUT_NS	  (30 * NS_PER_S)
#define FREEZE_TIMEOUT_NS (10 * NS_PER_S)
#define CONVERGE_ROUNDS	  3
#define SHIP_ROUNDS	  8

/* With everything frozen the second take finds nothing. */
static int ship_frozen(struct replicator *replicator, struct freezer *freezer, struct fault *fault)
{
	struct source *source = replicator->source;

	for (unsigned int round = 0; round < SHIP_ROUNDS; round++) {
		int error = replicator_ship(replicator, fault);

		if (error && error != -EINTR)
			return error;
		if (!freezer_is_frozen(freezer))
			return fault_set(fault, FAULT_STOP, ETIMEDOUT,
					 "not shipped within %llu s of freeze: thawed",
					 FREEZE_TIMEOUT_NS / NS_PER_S);
		if (!source_todo_bytes(source) && !source_dirty_bytes(source))
			return 0;
	}
	return fault_set(fault, FAULT_STOP, EBUSY,
			 "the disks are written although all file systems are frozen");
}

static int mark_frozen(struct replicator *replicator, struct freezer *freezer, uint64_t *ret_number,
		       struct fault *fault)
{
	struct stream *stream = session_stream(replicator->session);
	uint64_t deadline = os_monotonic_ns() + TIMEOUT_NS;
	int error = ship_frozen(replicator, freezer, fault);

	if (error)
		return error;
	if (replicator_is_streaming(replicator))
		error = stream_mark(stream, WIRE_MARK_FROZEN, deadline, ret_number, fault);
	else
		error = stream_mark_left(stream, WIRE_MARK_FROZEN, deadline, ret_number, fault);
	if (!error && !freezer_is_frozen(freezer))
		error = fault_set(fault, FAULT_STOP, ETIMEDOUT, "the disks were thawed meanwhile");
	return error;
}

static int freeze_and_mark(struct replicator *replicator, uint64_t *ret_number, struct fault *fault)
{
	const struct source *source = replicator->source;
	struct tracked_disk disks[TRACKER_DISKS_MAX];
	struct freezer *freezer = NULL;
	int error;

	for (unsigned int i = 0; i < source->count; i++)
		disks[i] = source->disks[i].disk;
	error = freezer_new(disks, source->count, &freezer, fault);
	if (!error)
		error = freezer_check(freezer, fault);
	/* So that little is left for the freeze. */
	for (unsigned int round = 0; !error && round < CONVERGE_ROUNDS; round++) {
		freezer_sync(freezer);
		error = replicator_ship(replicator, fault);
		if (error == -EINTR)
			error = 0;
	}
	if (!error) {
		/* From here on nothing may wait for a disk. */
		log_hold();
		error = freezer_freeze(freezer, os_monotonic_ns() + FREEZE_TIMEOUT_NS, fault);
		if (!error)
			error = mark_frozen(replicator, freezer, ret_number, fault);
		freezer_thaw(freezer);
		log_release();
	}
	freezer_free(freezer);
	return error;
}

static int run(struct replicator *replicator, const struct wire_command *command,
	       uint64_t *ret_number, struct fault *fault)
{
	struct stream *stream = session_stream(replicator->session);
	bool is_frozen = command->flags & WIRE_CHECKPOINT_FREEZE;

	if (!stream)
		return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
				 "the receiver keeps no checkpoints of this machine");
	if (replicator_is_scanning(replicator))
		return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
				 "writes are not tracked here: a checkpoint would mean comparing "
				 "whole disks while they are frozen");
	if (!replicator->has_been_complete)
		return fault_set(fault, FAULT_STOP, EAGAIN,
				 "the first copy is not complete: try again when status says "
				 "delta or streaming");
	if (is_frozen)
		return freeze_and_mark(replicator, ret_number, fault);
	if (!replicator_is_streaming(replicator))
		return fault_set(
			fault, FAULT_STOP, EAGAIN,
			"not streaming now, so nothing is consistent without a freeze: try "
			"again later, or with --freeze");
	return stream_mark(stream, 0, os_monotonic_ns() + TIMEOUT_NS, ret_number, fault);
}

void checkpoint_command(struct replicator *replicator, const struct wire_command *command)
{
	struct wire_reply reply = {.id = command->id};
	struct fault fault = {0};
	uint64_t number = 0;
	int error;

	replicator->cutover = command->id; /* other commands wait */
	error = run(replicator, command, &number, &fault);
	replicator->cutover = 0;

	if (error) {
		reply.error = (uint32_t)-error;
		snprintf(reply.text, sizeof(reply.text), "%s", fault.text);
		log_warning("no checkpoint: %s", fault.text);
	} else {
		reply.values[0] = number;
		snprintf(reply.text, sizeof(reply.text), "mark %llu", (unsigned long long)number);
	}
	(void)session_reply(replicator->session, &reply);
}
