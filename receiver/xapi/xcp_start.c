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
#include "receiver/ping.h"
#include "receiver/xapi/xcp_internal.h"

#define START_NS (600 * NS_PER_S)
#define LIFE_NS	 (60 * NS_PER_S) /* for the guest's tools to say a word: not every guest has them */
#define LOOK_NS	 (500 * NS_PER_MS)
#define PING_NS	 (500 * NS_PER_MS)

/* As long as they are attached here, nothing else can use them. */
static int let_go(const struct xcp_disks *disks, struct fault *fault)
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
		    const struct xcp_disks *disks, struct fault *fault)
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
	struct xcp_disks disks;
	struct xcp_record record;
	struct xapi *xapi;
	int error;

	error = xcp_disks_load(machines, machine, &disks, &record, fault);
	if (error)
		return error == 1 ? 0 : error;
	error = xcp_open(&xapi, fault);
	if (error)
		return error;
	error = check_vm(xapi, &record, &disks, fault);
	xapi_close(xapi);
	return error;
}

/* The VM must not be started by hand again: the replica goes on, or a person looks first. Its disks are no harm. */
static void put_back(struct xapi *xapi, const char *vm)
{
	struct fault fault = {0};

	if (xcp_vm_block(xapi, vm, true, &fault))
		log_warning("the VM could not be blocked again: %s", fault.text);
}

/* Does its guest live? Not every guest has the tools that tell, or an address that was named. */
static bool lives(struct xapi *xapi, const char *vm, const char *address, bool *may_ping)
{
	char metrics[XAPI_REF_MAX];
	struct fault ignored = {0};
	int error;

	if (!xapi_get_text(xapi, "VM.get_guest_metrics", vm, metrics, sizeof(metrics), &ignored) &&
	    strcmp(metrics, XAPI_NULL) != 0)
		return true;
	if (!address || !*may_ping)
		return false;
	error = ping_once(address, PING_NS);
	*may_ping = error != -EACCES;
	if (error == -EACCES)
		log_warning("ping = %s: this process may not ping; let sysctl "
			    "net.ipv4.ping_group_range allow its group to",
			    address);
	return !error;
}

/* It was started. What is not known in the end is no failure. */
static int wait_for_life(struct xapi *xapi, const char *vm, const char *name, const char *address,
			 struct fault *fault)
{
	uint64_t deadline_ns = os_monotonic_ns() + LIFE_NS;
	bool may_ping = true;
	char power[32];

	while (os_monotonic_ns() < deadline_ns) {
		int error = get_power_state(xapi, vm, power, sizeof(power), fault);

		if (error)
			return error;
		if (strcmp(power, "Running") != 0)
			return fault_set(fault, FAULT_STOP, EIO,
					 "the VM '%s' was started, and is %s now: see its console",
					 name, power);
		if (lives(xapi, vm, address, &may_ping)) {
			log_info("the VM '%s' runs, and its guest has answered", name);
			return 0;
		}
		os_sleep_ns(LOOK_NS);
	}
	log_info("the VM '%s' runs; its guest has not answered within %d s: has it guest tools, or "
		 "an address in ping = of receiver.ini?",
		 name, (int)(LIFE_NS / NS_PER_S));
	return 0;
}

static int hand_over(struct xapi *xapi, const char *vm, const struct xcp_disks *disks,
		     struct fault *fault)
{
	int error = 0;

	for (unsigned int i = 0; !error && i < disks->count; i++)
		error = xcp_vbd_give(xapi, vm, disks->vdis[i], i, fault);
	if (!error)
		error = xcp_vm_block(xapi, vm, false, fault);
	if (!error)
		error = xapi_run(xapi, "VM.start", json_pack("[s, b, b]", vm, 0, 0), START_NS, NULL,
				 0, fault);
	return error;
}

static int start_vm(struct xapi *xapi, const struct xcp_record *record,
		    const struct xcp_disks *disks, const char *address, struct fault *fault)
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
			put_back(xapi, vm);
	} else {
		/* A start whose answer got lost may have ended after it was blocked again. */
		error = xcp_vm_block(xapi, vm, false, fault);
	}
	return error ? error : wait_for_life(xapi, vm, record->vm_name, address, fault);
}

int xcp_start(const struct machines *machines, struct machine *machine, struct fault *fault)
{
	const struct machine_options *options =
		options_machine(machines_options(machines), machine->name);
	struct xcp_disks disks;
	struct xcp_record record;
	struct xapi *xapi;
	int error;

	error = xcp_disks_load(machines, machine, &disks, &record, fault);
	if (error < 0)
		return error;
	/* Also disks that a person made: whatever starts the machine wants them. */
	if (error == 1)
		return let_go(&disks, fault);
	error = xcp_open(&xapi, fault);
	if (!error) {
		error = start_vm(xapi, &record, &disks, options ? options->ping : NULL, fault);
		xapi_close(xapi);
	}
	return error ? fault_prefix(fault, "the VM '%s'", record.vm_name) : 0;
}
