// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The end of a cutover in a pool. Nothing here runs before the source is fenced, or a person said that it is dead
 * (I9), but for the check. Each step can be taken again: a start that failed, or whose answer got lost, is repeated
 * by 'blkferry cutover NAME --source-is-dead'.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "receiver/xapi/xcp_internal.h"

#define START_NS (600 * NS_PER_S)
#define LIFE_NS	 (60 * NS_PER_S) /* for the guest's tools to say a word: not every guest has them */
#define LOOK_NS	 (500 * NS_PER_MS)

struct cutover_disks {
	char vdis[WIRE_DISKS_MAX][XCP_UUID_MAX]; /* by slot; "": its target is not in the pool */
	unsigned int count;
};

/* The VDIs that the machine's disks went to, whoever made them. */
static void list_disks(struct machine *machine, struct cutover_disks *ret_disks)
{
	memset(ret_disks, 0, sizeof(*ret_disks));
	os_mutex_lock(&machine->lock);
	ret_disks->count = machine->slot_count;
	for (unsigned int i = 0; i < machine->slot_count; i++)
		if (strncmp(machine->slots[i].target, XCP_SCHEME, strlen(XCP_SCHEME)) == 0)
			snprintf(ret_disks->vdis[i], XCP_UUID_MAX, "%.39s",
				 machine->slots[i].target + strlen(XCP_SCHEME));
	os_mutex_unlock(&machine->lock);
}

/* 1: it has no VM in the pool. */
static int load(const struct machines *machines, struct machine *machine,
		const struct cutover_disks *disks, struct xcp_record *ret_record,
		struct fault *fault)
{
	int error = xcp_record_load(machines, machine, ret_record, fault);

	if (error == -ENOENT || (!error && !ret_record->is_complete))
		return 1;
	if (error)
		return error;
	for (unsigned int i = 0; i < disks->count; i++)
		if (!disks->vdis[i][0])
			return fault_set(
				fault, FAULT_STOP, EINVAL,
				"disk %u of %s does not go to the pool, where its VM is: take "
				"disk%u "
				"out of receiver.ini and run 'blkferry xcp create' again, or start "
				"the machine by hand",
				i, machine->name, i);
	return 0;
}

/* As long as they are attached here, nothing else can use them. */
static int let_go(const struct cutover_disks *disks, struct fault *fault)
{
	int error = 0;

	for (unsigned int i = 0; !error && i < disks->count; i++)
		if (disks->vdis[i][0])
			error = xcp_detach(disks->vdis[i], fault);
	return error;
}

static int get_power_state(struct xapi *xapi, const char *vm, char *ret_state, size_t size,
			   struct fault *fault)
{
	return xapi_get_text(xapi, "VM.get_power_state", vm, ret_state, size, fault);
}

static int check_vm(struct xapi *xapi, const struct xcp_record *record,
		    const struct cutover_disks *disks, struct fault *fault)
{
	char vm[XAPI_REF_MAX], ref[XAPI_REF_MAX], power[32];
	json_t *hosts;
	int error = xapi_get_text(xapi, "VM.get_by_uuid", record->vm, vm, sizeof(vm), fault);

	if (!error)
		error = get_power_state(xapi, vm, power, sizeof(power), fault);
	if (!error && strcmp(power, "Halted") != 0)
		error = fault_set(
			fault, FAULT_STOP, EBUSY,
			"the VM '%s' in the pool is %s: it must be off before the cutover",
			record->vm_name, power);
	for (unsigned int i = 0; !error && i < disks->count; i++)
		error = xapi_get_text(xapi, "VDI.get_by_uuid", disks->vdis[i], ref, sizeof(ref),
				      fault);
	if (!error)
		error = xapi_callf(xapi, &hosts, fault, "VM.get_possible_hosts", "[s]", vm);
	if (error)
		return error;
	if (json_array_size(hosts) == 0)
		error = fault_set(fault, FAULT_STOP, ENOMEM,
				  "no host of the pool can run '%s' now: see memory, storage and "
				  "networks of the hosts",
				  record->vm_name);
	json_decref(hosts);
	return error;
}

int xcp_check(const struct machines *machines, struct machine *machine, struct fault *fault)
{
	struct cutover_disks disks;
	struct xcp_record record;
	struct xapi *xapi;
	int error;

	list_disks(machine, &disks);
	error = load(machines, machine, &disks, &record, fault);
	if (error)
		return error == 1 ? 0 : error;
	error = xcp_open(&xapi, fault);
	if (error)
		return error;
	error = check_vm(xapi, &record, &disks, fault);
	xapi_close(xapi);
	return error;
}

static int give_disk(struct xapi *xapi, const char *vm, const char *vdi, unsigned int index,
		     struct fault *fault)
{
	char ref[XAPI_REF_MAX], vbd[XAPI_REF_MAX] = "", device[8];
	int error = xapi_get_text(xapi, "VDI.get_by_uuid", vdi, ref, sizeof(ref), fault);

	if (!error)
		error = xcp_vbd_find(xapi, vm, ref, vbd, fault);
	if (error || vbd[0])
		return error;
	snprintf(device, sizeof(device), "%u", xcp_device_of(index));
	return xapi_callf(xapi, NULL, fault, "VBD.create",
			  "[{s:s, s:s, s:s, s:b, s:s, s:s, s:b, s:b, s:{}, s:s, s:{}}]", "VM", vm,
			  "VDI", ref, "userdevice", device, "bootable", index == 0, "mode", "RW",
			  "type", "Disk", "unpluggable", 1, "empty", 0, "other_config",
			  "qos_algorithm_type", "", "qos_algorithm_params");
}

/* The VM as it was before the cutover; every step is tried. */
static void put_back(struct xapi *xapi, const char *vm, const struct cutover_disks *disks)
{
	char ref[XAPI_REF_MAX], vbd[XAPI_REF_MAX];
	struct fault fault = {0};
	int error = xcp_vm_block(xapi, vm, true, &fault);

	for (unsigned int i = 0; i < disks->count; i++) {
		if (xapi_get_text(xapi, "VDI.get_by_uuid", disks->vdis[i], ref, sizeof(ref),
				  &fault) ||
		    xcp_vbd_find(xapi, vm, ref, vbd, &fault)) {
			error = -EIO;
			continue;
		}
		if (vbd[0] && xapi_callf(xapi, NULL, &fault, "VBD.destroy", "[s]", vbd))
			error = -EIO;
	}
	if (error)
		log_warning("not all could be put back: %s", fault.text);
}

/* It runs; does its guest live? Not every guest has the tools that tell. */
static int wait_for_life(struct xapi *xapi, const char *vm, const char *name, struct fault *fault)
{
	uint64_t deadline_ns = os_monotonic_ns() + LIFE_NS;
	char text[XAPI_REF_MAX];
	int error = 0;

	while (!error && os_monotonic_ns() < deadline_ns) {
		error = get_power_state(xapi, vm, text, sizeof(text), fault);
		if (!error && strcmp(text, "Running") != 0)
			return fault_set(fault, FAULT_STOP, EIO,
					 "the VM '%s' was started, and is %s now: see its console",
					 name, text);
		if (!error)
			error = xapi_get_text(xapi, "VM.get_guest_metrics", vm, text, sizeof(text),
					      fault);
		if (!error && strcmp(text, XAPI_NULL) != 0) {
			log_info("the VM '%s' runs, and its guest has answered", name);
			return 0;
		}
		os_sleep_ns(LOOK_NS);
	}
	if (!error)
		log_info("the VM '%s' runs; its guest's tools, if it has any, said nothing within "
			 "%d s",
			 name, (int)(LIFE_NS / NS_PER_S));
	return error;
}

static int hand_over(struct xapi *xapi, const char *vm, const struct cutover_disks *disks,
		     struct fault *fault)
{
	int error = 0;

	for (unsigned int i = 0; !error && i < disks->count; i++)
		error = give_disk(xapi, vm, disks->vdis[i], i, fault);
	if (!error)
		error = xcp_vm_block(xapi, vm, false, fault);
	if (!error)
		error = xapi_run(xapi, "VM.start", json_pack("[s, b, b]", vm, 0, 0), START_NS, NULL,
				 0, fault);
	return error;
}

static int start_vm(struct xapi *xapi, const struct xcp_record *record,
		    const struct cutover_disks *disks, struct fault *fault)
{
	char vm[XAPI_REF_MAX], power[32];
	struct fault ignored = {0};
	int error = xapi_get_text(xapi, "VM.get_by_uuid", record->vm, vm, sizeof(vm), fault);

	if (!error)
		error = get_power_state(xapi, vm, power, sizeof(power), fault);
	if (error)
		return error;
	if (strcmp(power, "Running") != 0) {
		error = let_go(disks, fault);
		if (!error)
			error = hand_over(xapi, vm, disks, fault);
		/* An answer that got lost, or a time that was too short: it may run after all. */
		if (error && get_power_state(xapi, vm, power, sizeof(power), &ignored) == 0 &&
		    strcmp(power, "Running") == 0)
			error = 0;
		if (error && strcmp(power, "Halted") == 0)
			put_back(xapi, vm, disks);
	}
	return error ? error : wait_for_life(xapi, vm, record->vm_name, fault);
}

int xcp_start(const struct machines *machines, struct machine *machine, struct fault *fault)
{
	struct cutover_disks disks;
	struct xcp_record record;
	struct xapi *xapi;
	int error;

	list_disks(machine, &disks);
	error = load(machines, machine, &disks, &record, fault);
	if (error < 0)
		return error;
	/* Also disks that a person made: whatever starts the machine wants them. */
	if (error == 1)
		return let_go(&disks, fault);
	error = xcp_open(&xapi, fault);
	if (!error) {
		error = start_vm(xapi, &record, &disks, fault);
		xapi_close(xapi);
	}
	return error ? fault_prefix(fault, "the VM '%s'", record.vm_name) : 0;
}
