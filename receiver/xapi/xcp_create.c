// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Making a machine's VDIs and VM. All or nothing: what was made is destroyed again when something fails, and what a
 * receiver that died had made is found by the id that it wrote down before it began.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "common/units.h"
#include "receiver/target.h"
#include "receiver/xapi/xcp_internal.h"

#define VHD_BYTES_MAX	(2040 * GIB)
#define QCOW2_BYTES_MAX (16381 * GIB)
#define STORAGE_NS	(600 * NS_PER_S)

/* What the machine is, taken once: the agent may connect meanwhile. */
struct plan {
	char name[PKI_NAME_MAX];
	struct wire_machine facts;
	struct {
		bool is_wanted; /* receiver.ini has no target of its own for it */
		uint64_t size_bytes;
		char path[128];
	} disks[WIRE_DISKS_MAX];
	unsigned int disk_count;
};

static int make_plan(struct machines *machines, struct machine *machine, struct plan *ret_plan,
		     struct fault *fault)
{
	const struct machine_options *options =
		options_machine(machines_options(machines), machine->name);
	int error = 0;

	os_mutex_lock(&machine->lock);
	snprintf(ret_plan->name, sizeof(ret_plan->name), "%s", machine->name);
	ret_plan->facts = machine->facts;
	ret_plan->disk_count = machine->slot_count;
	for (unsigned int i = 0; i < machine->slot_count; i++) {
		ret_plan->disks[i].is_wanted = !options || !options->disks[i];
		ret_plan->disks[i].size_bytes = machine->slots[i].size_bytes;
		memcpy(ret_plan->disks[i].path, machine->slots[i].path,
		       sizeof(ret_plan->disks[i].path));
	}
	if (machine->state != MACHINE_REPLICATING)
		error = fault_set(fault, FAULT_STOP, EALREADY, "%s was cut over", machine->name);
	os_mutex_unlock(&machine->lock);
	if (!error && (!ret_plan->disk_count || !ret_plan->facts.cpus))
		error = fault_set(
			fault, FAULT_STOP, EAGAIN,
			"the disks of %s are not known yet: enroll it, and start blkferry-agent "
			"there, first",
			machine->name);
	return error;
}

/* A VDI of ours goes from the VM before it is destroyed. */
static int take_from_vms(struct xapi *xapi, const char *vdi, struct fault *fault)
{
	json_t *vbds;
	int error = xapi_callf(xapi, &vbds, fault, "VDI.get_VBDs", "[s]", vdi);

	if (error)
		return error;
	for (size_t i = 0; !error && i < json_array_size(vbds); i++)
		error = xapi_callf(xapi, NULL, fault, "VBD.destroy", "[s]",
				   json_string_value(json_array_get(vbds, i)));
	json_decref(vbds);
	return error;
}

/* Destroys every object of a class with this name that bears the record's id; id NULL: whatever it bears. */
static int destroy_named(struct xapi *xapi, const char *class, const char *name, const char *id,
			 struct fault *fault)
{
	char method[64], destroy[64];
	json_t *refs;
	int error;

	snprintf(method, sizeof(method), "%s.get_by_name_label", class);
	snprintf(destroy, sizeof(destroy), "%s.destroy", class);
	error = xapi_callf(xapi, &refs, fault, method, "[s]", name);
	if (error)
		return error;
	for (size_t i = 0; !error && i < json_array_size(refs); i++) {
		const char *ref = json_string_value(json_array_get(refs, i));

		bool is_ours = ref && !id;

		if (ref && id)
			error = xcp_is_ours(xapi, class, ref, id, &is_ours, fault);
		if (error || !is_ours)
			continue;
		if (strcmp(class, "VDI") == 0)
			error = take_from_vms(xapi, ref, fault);
		if (!error)
			error = xapi_run(xapi, destroy, json_pack("[s]", ref), STORAGE_NS, NULL, 0,
					 fault);
	}
	json_decref(refs);
	return error;
}

static void disk_name(const char *machine, unsigned int slot, char *ret_name, size_t size)
{
	snprintf(ret_name, size, "%s disk %u", machine, slot);
}

static int destroy_all(struct xapi *xapi, const struct plan *plan, const struct xcp_record *record,
		       struct fault *fault)
{
	char name[XAPI_TEXT_MAX];
	int error = destroy_named(xapi, "VM", record->vm_name, record->id, fault);

	xcp_vm_making_name(record, name, sizeof(name));
	if (!error)
		error = destroy_named(xapi, "VM", name, NULL, fault);
	for (unsigned int i = 0; !error && i < plan->disk_count; i++) {
		disk_name(plan->name, i, name, sizeof(name));
		error = destroy_named(xapi, "VDI", name, record->id, fault);
	}
	return error;
}

/* VHD, unless the disk is too large for it. What the host's version can is found out by trying. */
static int choose_format(const char *sr_type, const char *path, uint64_t size_bytes,
			 json_t **ret_config, struct fault *fault)
{
	static const char *const with_qcow2[] = {"ext", "nfs", "lvm", "lvmoiscsi", "lvmohba"};
	bool has_qcow2 = false;
	char size[32];

	*ret_config = json_object();
	if (size_bytes <= VHD_BYTES_MAX)
		return 0;
	units_format_bytes(size_bytes, size, sizeof(size));
	for (size_t i = 0; i < sizeof(with_qcow2) / sizeof(with_qcow2[0]); i++)
		has_qcow2 = has_qcow2 || strcmp(sr_type, with_qcow2[i]) == 0;
	if (has_qcow2 && size_bytes <= QCOW2_BYTES_MAX) {
		json_object_set_new(*ret_config, "image-format", json_string("qcow2"));
		return 0;
	}
	json_decref(*ret_config);
	*ret_config = NULL;
	return fault_set(
		fault, FAULT_STOP, EFBIG,
		"%s has %s: a storage repository of type %s holds disks of up to %s. Give "
		"another with --sr (ext, nfs or lvm take 16381 GiB as qcow2 on XCP-ng 8.3), "
		"or a target of its own in receiver.ini",
		path, size, sr_type, has_qcow2 ? "16381 GiB" : "2040 GiB");
}

static int create_vdi(struct xapi *xapi, const struct plan *plan, const char *id, unsigned int slot,
		      const char *sr, const char *sr_type, char *ret_uuid, struct fault *fault)
{
	uint64_t size_bytes = plan->disks[slot].size_bytes, made_bytes = 0;
	char name[XAPI_TEXT_MAX], text[XAPI_TEXT_MAX], ref[XAPI_REF_MAX];
	json_t *config;
	int error = choose_format(sr_type, plan->disks[slot].path, size_bytes, &config, fault);

	if (error)
		return error;
	disk_name(plan->name, slot, name, sizeof(name));
	snprintf(text, sizeof(text), "Replica of %.100s of %s, kept by blkferry",
		 plan->disks[slot].path, plan->name);
	error = xapi_run(xapi, "VDI.create",
			 json_pack("[{s:s, s:s, s:s, s:I, s:s, s:b, s:b, s:{s:s}, s:o}]",
				   "name_label", name, "name_description", text, "SR", sr,
				   "virtual_size", (json_int_t)size_bytes, "type", "user",
				   "sharable", 0, "read_only", 0, "other_config", XCP_KEY, id,
				   "sm_config", config),
			 STORAGE_NS, ref, sizeof(ref), fault);
	if (!error)
		error = xapi_get_number(xapi, "VDI.get_virtual_size", ref, &made_bytes, fault);
	if (!error)
		error = xapi_get_text(xapi, "VDI.get_uuid", ref, ret_uuid, XCP_UUID_MAX, fault);
	if (!error && made_bytes < size_bytes)
		error = fault_set(fault, FAULT_STOP, EFBIG,
				  "XAPI made a disk of %" PRIu64 " bytes where %" PRIu64
				  " are needed",
				  made_bytes, size_bytes);
	return error ? fault_prefix(fault, "disk %u (%s)", slot, plan->disks[slot].path) : 0;
}

static int create_vdis(struct xapi *xapi, const struct plan *plan, const char *sr,
		       struct xcp_record *record, struct fault *fault)
{
	char ref[XAPI_REF_MAX], type[64];
	int error = xapi_find(xapi, "SR", sr, ref, fault);

	if (!error)
		error = xapi_get_text(xapi, "SR.get_type", ref, type, sizeof(type), fault);
	for (unsigned int i = 0; !error && i < plan->disk_count; i++)
		if (plan->disks[i].is_wanted && !record->vdis[i][0])
			error = create_vdi(xapi, plan, record->id, i, ref, type, record->vdis[i],
					   fault);
	return error;
}

static json_t *describe(const struct plan *plan, const struct xcp_record *record)
{
	json_t *disks = json_array();

	for (unsigned int i = 0; i < plan->disk_count; i++)
		if (record->vdis[i][0])
			json_array_append_new(disks,
					      json_pack("{s:i, s:s, s:I, s:s}", "disk", i, "source",
							plan->disks[i].path, "size",
							(json_int_t)plan->disks[i].size_bytes,
							"vdi", record->vdis[i]));
	return json_pack("{s:s, s:s, s:s, s:i, s:o, s:o}", "name", plan->name, "vm", record->vm,
			 "vm_name", record->vm_name, "nics", plan->facts.nics, "source",
			 machine_facts_to_json(&plan->facts), "disks", disks);
}

static int make_all(struct xapi *xapi, const struct plan *plan, const struct xcp_request *request,
		    struct xcp_record *record, struct fault *fault)
{
	char vm[XAPI_REF_MAX] = "";
	int error = create_vdis(xapi, plan, request->sr, record, fault);

	if (!error)
		error = xcp_vm_make(xapi, record, &plan->facts, request, vm, fault);
	if (!error)
		error = xapi_get_text(xapi, "VM.get_uuid", vm, record->vm, sizeof(record->vm),
				      fault);
	return error;
}

static bool has_all(const struct plan *plan, const struct xcp_record *record)
{
	for (unsigned int i = 0; i < plan->disk_count; i++)
		if (plan->disks[i].is_wanted && !record->vdis[i][0])
			return false;
	return true;
}

/* Disks that the source got since the VM was made. */
static int add_disks(struct machines *machines, struct machine *machine, struct xapi *xapi,
		     const struct plan *plan, const struct xcp_request *request,
		     struct xcp_record *record, struct fault *fault)
{
	const struct xcp_record before = *record;
	char name[XAPI_TEXT_MAX], vm[XAPI_REF_MAX];
	struct fault ignored = {0};
	int error = xapi_get_text(xapi, "VM.get_by_uuid", record->vm, vm, sizeof(vm), fault);

	/* What a receiver that died in here had made. */
	for (unsigned int i = 0; !error && i < plan->disk_count; i++) {
		disk_name(plan->name, i, name, sizeof(name));
		if (plan->disks[i].is_wanted && !record->vdis[i][0])
			error = destroy_named(xapi, "VDI", name, record->id, fault);
	}
	if (!error)
		error = create_vdis(xapi, plan, request->sr, record, fault);
	for (unsigned int i = 0; !error && i < plan->disk_count; i++)
		if (record->vdis[i][0])
			error = xcp_vbd_give(xapi, vm, record->vdis[i], i, fault);
	if (!error)
		error = xcp_record_store(machines, machine, record, fault);
	for (unsigned int i = 0; error && i < plan->disk_count; i++) {
		if (before.vdis[i][0])
			continue;
		disk_name(plan->name, i, name, sizeof(name));
		(void)destroy_named(xapi, "VDI", name, record->id, &ignored);
	}
	return error;
}

/* An earlier attempt's leftovers go; what is complete stays. */
static int begin_record(struct machines *machines, struct machine *machine, struct xapi *xapi,
			const struct plan *plan, const char *vm_name, struct xcp_record *ret_record,
			struct fault *fault)
{
	uint64_t id;
	int error = xcp_record_load(machines, machine, ret_record, fault);

	if (error && error != -ENOENT)
		return error;
	if (!error && ret_record->is_complete && !has_all(plan, ret_record))
		return 0;
	if (!error && ret_record->is_complete)
		return fault_set(fault, FAULT_STOP, EEXIST,
				 "%s has its VM and all its disks in the pool already ('%s', %s)",
				 machine->name, ret_record->vm_name, ret_record->vm);
	if (!error)
		error = destroy_all(xapi, plan, ret_record, fault);
	else
		error = 0;
	if (error)
		return error;
	os_random(&id, sizeof(id));
	memset(ret_record, 0, sizeof(*ret_record));
	snprintf(ret_record->id, sizeof(ret_record->id), "%016" PRIx64, id);
	snprintf(ret_record->vm_name, sizeof(ret_record->vm_name), "%s", vm_name);
	return xcp_record_store(machines, machine, ret_record, fault);
}

/* fault is what went wrong. A call whose answer got lost may still be at work, and what it makes then is found by the
 * record. */
static void undo(struct machines *machines, struct machine *machine, struct xapi *xapi,
		 const struct plan *plan, const struct xcp_record *record,
		 const struct fault *fault)
{
	bool is_lost = fault->class == FAULT_RETRY && xapi_error_is(xapi, "");
	struct fault ignored = {0};

	if (destroy_all(xapi, plan, record, &ignored))
		log_warning("%s: what was made in the pool could not be taken away again (%s); the "
			    "next 'blkferry xcp create' tries that first",
			    machine->name, ignored.text);
	else if (!is_lost)
		(void)xcp_record_remove(machines, machine, &ignored);
}

int xcp_create(struct machines *machines, struct machine *machine,
	       const struct xcp_request *request, json_t **ret_result, struct fault *fault)
{
	static struct os_mutex one_at_a_time = OS_MUTEX_INITIALIZER;
	const char *vm_name = request->vm_name ? request->vm_name : machine->name;
	struct xcp_record record;
	struct plan plan = {0};
	struct xapi *xapi;
	int error = make_plan(machines, machine, &plan, fault);

	if (error)
		return error;
	error = xcp_open(&xapi, fault);
	if (error)
		return error;
	os_mutex_lock(&one_at_a_time);
	error = begin_record(machines, machine, xapi, &plan, vm_name, &record, fault);
	if (!error && record.is_complete) {
		error = add_disks(machines, machine, xapi, &plan, request, &record, fault);
	} else if (!error) {
		error = make_all(xapi, &plan, request, &record, fault);
		record.is_complete = !error;
		if (!error)
			error = xcp_record_store(machines, machine, &record, fault);
		if (error)
			undo(machines, machine, xapi, &plan, &record, fault);
	}
	os_mutex_unlock(&one_at_a_time);
	xapi_close(xapi);
	if (!error)
		*ret_result = describe(&plan, &record);
	return error;
}
