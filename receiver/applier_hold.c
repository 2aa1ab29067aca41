// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The applier stands still at a mark while the pool makes a snapshot (snapshots.h). Only at one that is confirmed: the
 * confirmation stands behind it in the stream, so it is looked for among what is durable in the journal
 * already.
 */
#include "common/os_clock.h"
#include "receiver/applier_internal.h"
#include "receiver/snapshots.h"

#define CONFIRM_NS (2 * NS_PER_S)

/* An agent confirms a mark before it makes the next, or never. */
static bool await_confirmed(struct replica *replica, uint64_t number)
{
	const struct replica_mark *mark = &replica->marks[number % REPLICA_MARKS_MAX];
	uint64_t deadline_ns = os_monotonic_ns() + CONFIRM_NS;
	bool is_confirmed = false;
	int error = 0;

	os_mutex_lock(&replica->lock);
	while (!error && !replica->is_applier_stopping && mark->number == number) {
		is_confirmed = mark->is_confirmed && replica->durable_point.number >= number;
		if (is_confirmed || (replica->newest_mark > number && !mark->is_confirmed))
			break;
		error = os_cond_wait_until(&replica->changed, &replica->lock, deadline_ns);
	}
	os_mutex_unlock(&replica->lock);
	return is_confirmed;
}

static bool has_to_go(void *context)
{
	struct replica *replica = context;
	bool is_stopping;

	os_mutex_lock(&replica->lock);
	is_stopping = replica->is_applier_stopping;
	os_mutex_unlock(&replica->lock);
	return is_stopping;
}

void applier_hold(struct applier *applier, const struct wire_record *mark)
{
	struct replica *replica = applier->replica;

	if (!snapshots_is_wanted(replica->machine) || !await_confirmed(replica, mark->length))
		return;
	snapshots_hold(replica->machine, mark->length, mark->offset, has_to_go, replica);
}
