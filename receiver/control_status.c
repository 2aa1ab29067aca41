// SPDX-License-Identifier: GPL-2.0-or-later
/* A machine as JSON, for `blkferry status` and whoever reads --json; documented in blkferry(1). */
#include <jansson.h>

#include "common/os_clock.h"
#include "receiver/control_internal.h"

static const char *const phase_names[] = {
	[WIRE_PHASE_FULL] = "full",	    [WIRE_PHASE_RESYNC] = "resync",
	[WIRE_PHASE_DELTA] = "delta",	    [WIRE_PHASE_CUTOVER] = "cutover",
	[WIRE_PHASE_PAUSED] = "paused",	    [WIRE_PHASE_FENCED] = "fenced",
	[WIRE_PHASE_CATCH_UP] = "catch-up", [WIRE_PHASE_STREAMING] = "streaming",
};

static const char *phase_of(const struct machine *machine)
{
	unsigned int phase = machine->status.phase;

	switch (machine->state) {
	case MACHINE_COMPLETED:
		return "completed";
	case MACHINE_COMMITTED:
		return "committed";
	case MACHINE_ROLLED_BACK:
		return "rolled-back";
	case MACHINE_REPLICATING:
		break;
	}
	if (!machine->session)
		return machine->slot_count ? "disconnected" : "enrolled";
	if (!phase || phase >= sizeof(phase_names) / sizeof(phase_names[0]))
		return "connecting";
	return phase_names[phase];
}

static json_t *disks_to_json(const struct machine *machine)
{
	json_t *disks = json_array();

	for (unsigned int i = 0; i < machine->slot_count; i++) {
		const struct machine_slot *slot = &machine->slots[i];

		json_array_append_new(
			disks,
			json_pack("{s:s, s:s, s:I, s:s, s:s, s:b, s:b}", "source", slot->path,
				  "identity", slot->identity, "size", (json_int_t)slot->size_bytes,
				  "target", slot->target_text[0] ? slot->target_text : slot->target,
				  "path", slot->target_path, "can_flush", slot->can_flush,
				  "present", slot->is_present));
	}
	return disks;
}

static void add_progress(json_t *root, const struct wire_status *status)
{
	uint64_t left = status->todo_bytes + status->dirty_bytes;
	double percent = status->pass_bytes ? 100.0 - 100.0 * (double)status->todo_bytes /
							      (double)status->pass_bytes
					    : 100.0;

	json_object_set_new(root, "pass", json_integer(status->pass));
	json_object_set_new(root, "pass_bytes", json_integer((json_int_t)status->pass_bytes));
	json_object_set_new(root, "todo_bytes", json_integer((json_int_t)status->todo_bytes));
	json_object_set_new(root, "dirty_bytes", json_integer((json_int_t)status->dirty_bytes));
	json_object_set_new(root, "lag_bytes", json_integer((json_int_t)left));
	json_object_set_new(root, "percent", json_real(percent));
	json_object_set_new(root, "rate", json_integer((json_int_t)status->rate));
	json_object_set_new(root, "sent_bytes", json_integer((json_int_t)status->sent_bytes));
	json_object_set_new(root, "wire_bytes", json_integer((json_int_t)status->wire_bytes));
	json_object_set_new(root, "eta_s",
			    status->rate ? json_integer((json_int_t)(left / status->rate))
					 : json_null());
	json_object_set_new(root, "verify_done", json_integer((json_int_t)status->verify_done));
	json_object_set_new(root, "verify_bytes", json_integer((json_int_t)status->verify_bytes));
}

static json_t *agent_to_json(const struct machine *machine)
{
	const struct wire_status *status = &machine->status;

	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "host",
			 machine->agent_host, "version", machine->agent_version, "tracker",
			 status->flags & WIRE_STATUS_TRACKED ? "bpf" : "scan", "memory_bytes",
			 (json_int_t)status->memory_bytes, "memory_limit",
			 (json_int_t)status->memory_limit, "cpu_ns", (json_int_t)status->cpu_ns,
			 "missed_runs", (json_int_t)status->missed_runs, "writes",
			 (json_int_t)status->writes, "read_errors",
			 (json_int_t)status->read_errors);
}

json_t *control_machine_to_json(struct machine *machine)
{
	const struct wire_status *status = &machine->status;
	json_t *root = json_object();
	const char *error;

	os_mutex_lock(&machine->lock);
	error = status->note[0] && machine->session ? status->note : machine->last_error;
	json_object_set_new(root, "name", json_string(machine->name));
	json_object_set_new(root, "phase", json_string(phase_of(machine)));
	json_object_set_new(root, "connected", json_boolean(machine->session != NULL));
	json_object_set_new(root, "ready",
			    json_boolean(machine->session && status->flags & WIRE_STATUS_READY &&
					 machine->state == MACHINE_REPLICATING));
	json_object_set_new(root, "suspect", json_boolean(status->flags & WIRE_STATUS_SUSPECT));
	json_object_set_new(root, "verifying", json_boolean(status->flags & WIRE_STATUS_VERIFYING));
	json_object_set_new(root, "paused", json_boolean(machine->is_paused));
	json_object_set_new(root, "started", json_boolean(machine->has_started));
	json_object_set_new(
		root, "limit",
		json_integer((json_int_t)(machine->session ? status->limit : machine->limit)));
	add_progress(root, status);
	json_object_set_new(root, "last_error", json_string(error));
	json_object_set_new(root, "heard_s",
			    machine->status_ns
				    ? json_real((double)(os_monotonic_ns() - machine->status_ns) /
						(double)NS_PER_S)
				    : json_null());
	json_object_set_new(root, "agent", agent_to_json(machine));
	if (machine->source_start.kind)
		json_object_set_new(root, "last_start",
				    machine_start_to_json(&machine->source_start));
	if (machine->checks.checked_s)
		json_object_set_new(root, "readiness", machine_checks_to_json(&machine->checks));
	if (machine->facts.cpus)
		json_object_set_new(root, "source", machine_facts_to_json(&machine->facts));
	json_object_set_new(root, "disks", disks_to_json(machine));
	control_add_snapshots(machine, root);
	os_mutex_unlock(&machine->lock);
	control_add_stream(machine, root);
	return root;
}
