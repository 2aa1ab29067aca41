// SPDX-License-Identifier: GPL-2.0-or-later
/* What status shows of a machine's stream: how old its newest checkpoint is, what is on its way, its gaps, and what
 * journal and history hold. Documented in blkferry(1). */
#include <jansson.h>
#include <string.h>

#include "common/os_clock.h"
#include "receiver/control_internal.h"
#include "receiver/replica.h"

static json_t *age_ms(uint64_t time_ns)
{
	uint64_t now_ns = os_realtime_ns();

	if (!time_ns)
		return json_null();
	return json_integer((json_int_t)(now_ns > time_ns ? (now_ns - time_ns) / NS_PER_MS : 0));
}

static json_t *gaps_to_json(const struct wire_status *status)
{
	return json_pack("{s:I, s:s, s:I}", "count", (json_int_t)status->gaps, "reason",
			 status->gap_reason, "last_ns", (json_int_t)status->gap_ns);
}

static void add_replica(json_t *root, const struct replica_status *replica)
{
	json_object_set_new(root, "rpo_ms", age_ms(replica->newest_point_ns));
	json_object_set_new(root, "points", json_integer(replica->points));
	json_object_set_new(root, "span_ms", age_ms(replica->oldest_point_ns));
	json_object_set_new(root, "journal_bytes",
			    json_integer((json_int_t)replica->journal_bytes));
	json_object_set_new(root, "unapplied_bytes",
			    json_integer((json_int_t)replica->unapplied_bytes));
	json_object_set_new(root, "history_bytes",
			    json_integer((json_int_t)replica->history_bytes));
	json_object_set_new(root, "journal_size",
			    json_integer((json_int_t)replica->size_limit_bytes));
}

void control_add_stream(struct machine *machine, json_t *root)
{
	struct replica_status status = {.is_building = true};
	struct wire_status agent;
	bool is_streaming;
	uint64_t lag_bytes, capture_rate, dropped, dropped_ns;

	os_mutex_lock(&machine->lock);
	if (machine->replica)
		replica_get_status(machine->replica, &status);
	agent = machine->status;
	capture_rate = machine->capture_rate;
	dropped = machine->dropped_points;
	dropped_ns = machine->dropped_ns;
	is_streaming = machine->session && agent.phase == WIRE_PHASE_STREAMING;
	os_mutex_unlock(&machine->lock);
	lag_bytes = agent.todo_bytes + agent.dirty_bytes + agent.ring_used + status.unapplied_bytes;
	json_object_set_new(root, "lag_bytes", json_integer((json_int_t)lag_bytes));
	json_object_set_new(root, "consistent", json_boolean(is_streaming && !status.is_building));
	json_object_set_new(root, "ring_bytes", json_integer((json_int_t)agent.ring_bytes));
	json_object_set_new(root, "ring_used", json_integer((json_int_t)agent.ring_used));
	json_object_set_new(root, "captured_bytes", json_integer((json_int_t)agent.captured_bytes));
	json_object_set_new(root, "capture_rate", json_integer((json_int_t)capture_rate));
	json_object_set_new(root, "gaps", gaps_to_json(&agent));
	json_object_set_new(root, "dropped",
			    json_pack("{s:I, s:I}", "count", (json_int_t)dropped, "last_ns",
				      (json_int_t)dropped_ns));
	add_replica(root, &status);
}
