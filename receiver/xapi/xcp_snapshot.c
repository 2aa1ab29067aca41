// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Making a snapshot of a machine's VM, and destroying one; see xcp_snapshot.h. The VM is halted, and its disks are attached
 * to the receiver's own VM, which holds still: VM.snapshot takes one disk after the other, and all are of the
 * same checkpoint.
 */
#include "receiver/xapi/xcp_snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/units.h"
#include "receiver/xapi/xcp_internal.h"

#define DESTROY_NS (600 * NS_PER_S)

struct work {
	const struct machines *machines;
	const struct machine *machine;
	struct xapi *xapi;
	struct xcp_record record;
	struct xcp_snapshots *list;
	struct xcp_snapshot *snapshot; /* in list; the one that is worked on */
};

static int store(const struct work *work, struct fault *fault)
{
	return xcp_snapshots_store(work->machines, work->machine, work->list, fault);
}

static int drop(struct work *work, unsigned int index, struct fault *fault)
{
	struct xcp_snapshots *list = work->list;

	list->count--;
	memmove(&list->list[index], &list->list[index + 1],
		(list->count - index) * sizeof(list->list[0]));
	return store(work, fault);
}

static void name_it(const struct machine *machine, uint64_t number, uint64_t time_ns,
		    char ret_name[XCP_SNAPSHOT_NAME_MAX])
{
	char when[32];

	snprintf(ret_name, XCP_SNAPSHOT_NAME_MAX, "%s %s (blkferry #%" PRIu64 ")", machine->name,
		 units_format_time(time_ns, when, sizeof(when)), number);
}

/* The snapshot's disks; those that are no snapshots themselves (a CD) are not its own. */
static int note_disks(struct work *work, const char *ref, struct fault *fault)
{
	struct xcp_snapshot *snapshot = work->snapshot;
	char vdi[XAPI_REF_MAX];
	json_t *vbds;
	int error = xapi_callf(work->xapi, &vbds, fault, "VM.get_VBDs", "[s]", ref);

	if (error)
		return error;
	snapshot->vdi_count = 0;
	for (size_t i = 0; !error && i < json_array_size(vbds); i++) {
		const char *vbd = json_string_value(json_array_get(vbds, i));
		bool is_snapshot = false;

		error = xapi_get_text(work->xapi, "VBD.get_VDI", vbd ? vbd : "", vdi, sizeof(vdi),
				      fault);
		if (error || strcmp(vdi, XAPI_NULL) == 0)
			continue;
		error = xapi_get_switch(work->xapi, "VDI.get_is_a_snapshot", vdi, &is_snapshot,
					fault);
		if (error || !is_snapshot || snapshot->vdi_count == WIRE_DISKS_MAX)
			continue;
		error = xapi_get_text(work->xapi, "VDI.get_uuid", vdi,
				      snapshot->vdis[snapshot->vdi_count], XCP_UUID_MAX, fault);
		if (!error)
			snapshot->vdi_count++;
	}
	json_decref(vbds);
	return error;
}

/* What it is, durably: from here on it can be destroyed by its UUID. */
static int note(struct work *work, const char *ref, struct fault *fault)
{
	struct xcp_snapshot *snapshot = work->snapshot;
	int error = xapi_get_text(work->xapi, "VM.get_uuid", ref, snapshot->uuid,
				  sizeof(snapshot->uuid), fault);

	if (!error)
		error = note_disks(work, ref, fault);
	return error ? error : store(work, fault);
}

/* --- destroying --- */

/* The pool is at work on a snapshot of the VM: the one that is looked for may appear in a moment. */
static int refuse_while_busy(struct work *work, struct fault *fault)
{
	char vm[XAPI_REF_MAX];
	const char *key;
	json_t *operations, *operation;
	int error =
		xapi_get_text(work->xapi, "VM.get_by_uuid", work->record.vm, vm, sizeof(vm), fault);

	if (!error)
		error = xapi_callf(work->xapi, &operations, fault, "VM.get_current_operations",
				   "[s]", vm);
	if (error)
		return xapi_error_is(work->xapi, "UUID_INVALID") ? 0 : error;
	json_object_foreach(operations, key,
			    operation) if (strcmp(json_string_value(operation)
							  ? json_string_value(operation)
							  : "",
						  "snapshot") == 0)
		error = fault_set(fault, FAULT_RETRY, EAGAIN,
				  "the pool is still at work on a snapshot of the VM");
	json_decref(operations);
	return error;
}

/* A snapshot, and of our making? Whatever else there is under this name or UUID is left alone. */
static int is_ours(struct work *work, const char *ref, bool *ret_is_ours, struct fault *fault)
{
	int error = xcp_is_ours(work->xapi, "VM", ref, work->record.id, ret_is_ours, fault);

	if (error || !*ret_is_ours)
		return error;
	return xapi_get_switch(work->xapi, "VM.get_is_a_snapshot", ref, ret_is_ours, fault);
}

/* One whose making was interrupted, by its name. *ret_ref stays "" when there is none. */
static int find_by_name(struct work *work, char *ret_ref, struct fault *fault)
{
	json_t *refs;
	int error = xapi_callf(work->xapi, &refs, fault, "VM.get_by_name_label", "[s]",
			       work->snapshot->name);

	if (error)
		return error;
	for (size_t i = 0; !error && !ret_ref[0] && i < json_array_size(refs); i++) {
		const char *ref = json_string_value(json_array_get(refs, i));
		bool is_it = false;

		error = is_ours(work, ref ? ref : "", &is_it, fault);
		if (!error && is_it)
			snprintf(ret_ref, XAPI_REF_MAX, "%s", ref);
	}
	json_decref(refs);
	return error || ret_ref[0] ? error : refuse_while_busy(work, fault);
}

/* *ret_ref is "" when it is there no more, or is none of ours. */
static int find(struct work *work, char *ret_ref, struct fault *fault)
{
	bool is_it = false;
	int error;

	ret_ref[0] = '\0';
	if (!work->snapshot->uuid[0])
		return find_by_name(work, ret_ref, fault);
	error = xapi_get_text(work->xapi, "VM.get_by_uuid", work->snapshot->uuid, ret_ref,
			      XAPI_REF_MAX, fault);
	if (error)
		return xapi_error_is(work->xapi, "UUID_INVALID") ? 0 : error;
	error = is_ours(work, ret_ref, &is_it, fault);
	if (!is_it)
		ret_ref[0] = '\0';
	return error;
}

static int destroy_disk(struct work *work, const char *uuid, struct fault *fault)
{
	char ref[XAPI_REF_MAX];
	bool is_snapshot = false;
	int error = xapi_get_text(work->xapi, "VDI.get_by_uuid", uuid, ref, sizeof(ref), fault);

	if (error)
		return xapi_error_is(work->xapi, "UUID_INVALID") ? 0 : error;
	error = xapi_get_switch(work->xapi, "VDI.get_is_a_snapshot", ref, &is_snapshot, fault);
	if (error || !is_snapshot)
		return error;
	return xapi_run(work->xapi, "VDI.destroy", json_pack("[s]", ref), DESTROY_NS, NULL, 0,
			fault);
}

/* The disks are noted before the VM goes that leads to them. */
static int destroy(struct work *work, struct fault *fault)
{
	struct xcp_snapshot *snapshot = work->snapshot;
	char ref[XAPI_REF_MAX];
	int error = find(work, ref, fault);

	if (!error && ref[0])
		error = note(work, ref, fault);
	if (!error && ref[0])
		error = xapi_run(work->xapi, "VM.destroy", json_pack("[s]", ref), DESTROY_NS, NULL,
				 0, fault);
	for (unsigned int i = 0; !error && i < snapshot->vdi_count; i++)
		error = destroy_disk(work, snapshot->vdis[i], fault);
	return error;
}

int xcp_snapshots_clean(const struct machines *machines, const struct machine *machine,
			struct xcp_snapshots *list, const atomic_bool *is_over, struct fault *fault)
{
	struct work work = {.machines = machines, .machine = machine, .list = list};
	int error = xcp_record_load(machines, machine, &work.record, fault);

	if (error == -ENOENT) /* then nothing tells what is ours */
		return fault_set(fault, FAULT_STOP, ENOENT, "%s has no VM in the pool",
				 machine->name);
	if (!error)
		error = xcp_open_until(is_over, &work.xapi, fault);
	if (error)
		return error;
	for (unsigned int i = 0; !error && i < list->count;) {
		work.snapshot = &list->list[i];
		if (!work.snapshot->is_going) {
			i++;
			continue;
		}
		error = destroy(&work, fault);
		if (error)
			error = fault_prefix(fault, "destroying the snapshot '%s'",
					     work.snapshot->name);
		else
			error = drop(&work, i, fault);
	}
	xapi_close(work.xapi);
	return error;
}

/* --- making --- */

/* A VM of before has its disks only from its cutover on: a snapshot needs them. */
static int prepare(struct work *work, struct machine *machine, char *ret_vm, struct fault *fault)
{
	struct xcp_disks disks;
	int error = xcp_disks_load(work->machines, machine, &disks, &work->record, fault);

	if (error == 1)
		return fault_set(fault, FAULT_STOP, ENODEV,
				 "%s has no VM in the pool, of which snapshots could be made: run "
				 "'blkferry xcp create %s'",
				 machine->name, machine->name);
	if (!error)
		error = xapi_get_text(work->xapi, "VM.get_by_uuid", work->record.vm, ret_vm,
				      XAPI_REF_MAX, fault);
	for (unsigned int i = 0; !error && i < disks.count; i++)
		error = xcp_vbd_give(work->xapi, ret_vm, disks.vdis[i], i, fault);
	return error;
}

static int add_entry(struct work *work, const struct xcp_snapshot_order *order, struct fault *fault)
{
	struct xcp_snapshots *list = work->list;

	if (list->count == XCP_SNAPSHOTS_MAX)
		return fault_set(fault, FAULT_STOP, E2BIG,
				 "%d snapshots are waiting to be destroyed: see above why they "
				 "cannot be",
				 XCP_SNAPSHOTS_MAX);
	work->snapshot = &list->list[list->count++];
	*work->snapshot = (struct xcp_snapshot){
		.number = order->number,
		.time_ns = order->time_ns,
		.made_ns = os_realtime_ns(),
		.is_going = true,
	};
	name_it(work->machine, order->number, order->time_ns, work->snapshot->name);
	return store(work, fault);
}

static int describe(struct work *work, const char *ref, struct fault *fault)
{
	char text[XAPI_TEXT_MAX], number[24];
	int error;

	snprintf(number, sizeof(number), "%" PRIu64, work->snapshot->number);
	snprintf(text, sizeof(text), "The disks of %s at checkpoint #%s, made by blkferry",
		 work->machine->name, number);
	error = xapi_callf(work->xapi, NULL, fault, "VM.set_name_description", "[s, s]", ref, text);
	if (!error)
		error = xapi_callf(work->xapi, NULL, fault, "VM.add_to_other_config", "[s, s, s]",
				   ref, XCP_CHECKPOINT_KEY, number);
	return error;
}

/* Those that a person destroyed in the pool. */
static int forget_gone(struct work *work, struct fault *fault)
{
	char ref[XAPI_REF_MAX];

	for (unsigned int i = 0; i < work->list->count;) {
		const struct xcp_snapshot *snapshot = &work->list->list[i];
		int error = 0;

		if (!snapshot->is_going)
			error = xapi_get_text(work->xapi, "VM.get_by_uuid", snapshot->uuid, ref,
					      sizeof(ref), fault);
		if (error && !xapi_error_is(work->xapi, "UUID_INVALID"))
			return error;
		if (!error) {
			i++;
			continue;
		}
		log_info("%s: the snapshot '%s' is not there any more", work->machine->name,
			 snapshot->name);
		error = drop(work, i, fault);
		if (error)
			return error;
	}
	return 0;
}

/* After the pool has made it, or failed to: the targets go on meanwhile. */
static int finish(struct work *work, const char *ref, bool was_held, struct fault *fault)
{
	int error = note(work, ref, fault);

	if (!error && !was_held)
		error = fault_set(fault, FAULT_RETRY, EAGAIN,
				  "the pool took too long, or the machine's replica was closed: "
				  "what it made is no checkpoint, and goes");
	if (!error)
		error = describe(work, ref, fault);
	if (error)
		return error;
	work->snapshot->is_going = false;
	error = store(work, fault);
	work->snapshot->is_going = error != 0;
	return error;
}

int xcp_snapshot_make(const struct machines *machines, struct machine *machine,
		      struct xcp_snapshots *list, const struct xcp_snapshot_order *order,
		      struct fault *fault)
{
	struct work work = {.machines = machines, .machine = machine, .list = list};
	char vm[XAPI_REF_MAX], ref[XAPI_REF_MAX] = "";
	struct fault ignored = {0};
	bool was_held;
	int error = xcp_open_until(order->is_over, &work.xapi, fault);

	if (!error)
		error = prepare(&work, machine, vm, fault);
	if (!error)
		error = add_entry(&work, order, fault);
	if (!error)
		error = xapi_run(work.xapi, "VM.snapshot",
				 json_pack("[s, s]", vm, work.snapshot->name), XCP_SNAPSHOT_NS, ref,
				 sizeof(ref), fault);
	was_held = order->release(order->context);
	if (!error)
		error = finish(&work, ref, was_held, fault);
	if (!error)
		(void)forget_gone(&work, &ignored); /* else it is found the next time */
	xapi_close(work.xapi);
	return error;
}
