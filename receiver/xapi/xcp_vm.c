// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The VM that a machine will be: cloned from a template, with the source's memory, processors, firmware and
 * MAC addresses. It must not be started before the cutover: its block sees to that, and that its disks are in use by
 * the receiver.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/os_clock.h"
#include "receiver/xapi/xcp_internal.h"

#define TEMPLATE     "Other install media"
#define CLONE_NS     (300 * NS_PER_S)
#define VIFS_MAX     7
#define MEMORY_LEAST (128ull << 20)

/* A value of a map in the VM's record, changed. */
static int change_map(struct xapi *xapi, const char *vm, const char *field, json_t *changes,
		      struct fault *fault)
{
	char get[64], set[64];
	json_t *map;
	int error;

	snprintf(get, sizeof(get), "VM.get_%s", field);
	snprintf(set, sizeof(set), "VM.set_%s", field);
	error = xapi_callf(xapi, &map, fault, get, "[s]", vm);
	if (!error) {
		json_object_update(map, changes);
		error = xapi_callf(xapi, NULL, fault, set, "[s, o]", vm, map);
	}
	json_decref(changes);
	return error;
}

int xcp_vm_block(struct xapi *xapi, const char *vm, bool is_blocked, struct fault *fault)
{
	/* A revert would destroy the disks that are replicated to, and put others in their place. */
	static const char *const operations[] = {"start", "start_on", "reverting"};
	static const char ours[] = "replicated by blkferry";
	json_t *map;
	int error = xapi_callf(xapi, &map, fault, "VM.get_blocked_operations", "[s]", vm);

	if (error)
		return error;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		const char *why = json_string_value(json_object_get(map, operations[i]));

		if (is_blocked)
			json_object_set_new(map, operations[i], json_string(XCP_BLOCKED));
		else if (why && strncmp(why, ours, strlen(ours)) == 0)
			json_object_del(map, operations[i]);
	}
	return xapi_callf(xapi, NULL, fault, "VM.set_blocked_operations", "[s, o]", vm, map);
}

/* The template's processors may be more or fewer: at_startup must never be above max. */
static int set_cpus(struct xapi *xapi, const char *vm, unsigned int cpus, struct fault *fault)
{
	int error = xapi_callf(xapi, NULL, fault, "VM.set_VCPUs_at_startup", "[s, i]", vm, 1);

	if (!error)
		error = xapi_callf(xapi, NULL, fault, "VM.set_VCPUs_max", "[s, i]", vm, (int)cpus);
	if (!error)
		error = xapi_callf(xapi, NULL, fault, "VM.set_VCPUs_at_startup", "[s, i]", vm,
				   (int)cpus);
	return error;
}

static int set_memory(struct xapi *xapi, const char *vm, uint64_t bytes, struct fault *fault)
{
	json_int_t memory = (json_int_t)(bytes < MEMORY_LEAST ? MEMORY_LEAST : bytes);

	return xapi_callf(xapi, NULL, fault, "VM.set_memory_limits", "[s, I, I, I, I]", vm, memory,
			  memory, memory, memory);
}

static int set_firmware(struct xapi *xapi, const char *vm, const struct wire_machine *facts,
			struct fault *fault)
{
	bool is_uefi = facts->firmware == WIRE_FIRMWARE_UEFI;
	json_t *platform = json_object();
	int error =
		xapi_callf(xapi, NULL, fault, "VM.set_HVM_boot_policy", "[s, s]", vm, "BIOS order");

	/* UEFI takes one device model only; for BIOS the template's is right. */
	if (is_uefi)
		json_object_set_new(platform, "device-model", json_string("qemu-upstream-uefi"));
	json_object_set_new(
		platform, "secureboot",
		json_string(is_uefi && facts->flags & WIRE_MACHINE_SECURE_BOOT ? "true" : "false"));
	if (!error)
		error = change_map(xapi, vm, "HVM_boot_params",
				   json_pack("{s:s, s:s}", "order", "c", "firmware",
					     is_uefi ? "uefi" : "bios"),
				   fault);
	if (error)
		json_decref(platform);
	else
		error = change_map(xapi, vm, "platform", platform, fault);
	return error;
}

/* The one that there is, when none was named. */
static int only_network(struct xapi *xapi, char *ret_ref, struct fault *fault)
{
	json_t *all;
	int error = xapi_callf(xapi, &all, fault, "network.get_all", NULL);

	if (error)
		return error;
	if (json_array_size(all) == 1)
		snprintf(ret_ref, XAPI_REF_MAX, "%s", json_string_value(json_array_get(all, 0)));
	else
		error = fault_set(fault, FAULT_STOP, EINVAL,
				  "the pool has %zu networks: say with --network which one (once "
				  "for each interface, or once for all)",
				  json_array_size(all));
	json_decref(all);
	return error;
}

static int find_network(struct xapi *xapi, const json_t *networks, unsigned int index,
			char *ret_ref, struct fault *fault)
{
	size_t count = json_array_size(networks);
	const char *text = json_string_value(
		json_array_get(networks, index < count || !count ? index : count - 1));

	if (count == 0)
		return only_network(xapi, ret_ref, fault);
	return xapi_find(xapi, "network", text ? text : "", ret_ref, fault);
}

static int make_vifs(struct xapi *xapi, const char *vm, const struct wire_machine *facts,
		     const json_t *networks, struct fault *fault)
{
	int error = 0;

	for (unsigned int i = 0; !error && i < facts->nics && i < VIFS_MAX; i++) {
		const uint8_t *mac = facts->nic[i].mac;
		char network[XAPI_REF_MAX], device[8], text[18];

		error = find_network(xapi, networks, i, network, fault);
		if (error)
			break;
		snprintf(device, sizeof(device), "%u", i);
		snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
			 mac[2], mac[3], mac[4], mac[5]);
		error = xapi_callf(xapi, NULL, fault, "VIF.create",
				   "[{s:s, s:s, s:s, s:s, s:i, s:{}, s:s, s:{}}]", "device", device,
				   "network", network, "VM", vm, "MAC", text, "MTU", 1500,
				   "other_config", "qos_algorithm_type", "",
				   "qos_algorithm_params");
	}
	return error;
}

void xcp_vm_making_name(const struct xcp_record *record, char *ret_name, size_t size)
{
	snprintf(ret_name, size, "being made by blkferry (%s)", record->id);
}

static int clone_template(struct xapi *xapi, const char *name, const struct xcp_record *record,
			  char *ret_ref, struct fault *fault)
{
	char template[XAPI_REF_MAX], making[XAPI_TEXT_MAX];
	bool is_template = false;
	int error = xapi_find(xapi, "VM", name, template, fault);

	if (!error)
		error = xapi_get_switch(xapi, "VM.get_is_a_template", template, &is_template,
					fault);
	if (!error && !is_template)
		error = fault_set(fault, FAULT_STOP, EINVAL, "'%s' is no template", name);
	xcp_vm_making_name(record, making, sizeof(making));
	if (!error)
		error = xapi_run(xapi, "VM.clone", json_pack("[s, s]", template, making), CLONE_NS,
				 ret_ref, XAPI_REF_MAX, fault);
	if (!error)
		error = xapi_callf(xapi, NULL, fault, "VM.add_to_other_config", "[s, s, s]",
				   ret_ref, XCP_KEY, record->id);
	if (!error)
		error = xapi_callf(xapi, NULL, fault, "VM.set_name_label", "[s, s]", ret_ref,
				   record->vm_name);
	return error;
}

int xcp_vm_make(struct xapi *xapi, const struct xcp_record *record,
		const struct wire_machine *facts, const struct xcp_request *request, char *ret_ref,
		struct fault *fault)
{
	const char *template = request->template ? request->template : TEMPLATE;
	int error = clone_template(xapi, template, record, ret_ref, fault);

	if (!error)
		error = xcp_vm_block(xapi, ret_ref, true, fault);
	/* Or the template's own disks would be made. */
	if (!error)
		error = xapi_callf(xapi, NULL, fault, "VM.remove_from_other_config", "[s, s]",
				   ret_ref, "disks");
	if (!error)
		error = xapi_callf(xapi, NULL, fault, "VM.provision", "[s]", ret_ref);
	if (!error)
		error = xapi_callf(xapi, NULL, fault, "VM.set_name_description", "[s, s]", ret_ref,
				   "Replicated by blkferry; not to be started before its cutover");
	if (!error)
		error = set_memory(xapi, ret_ref, facts->memory_bytes, fault);
	if (!error)
		error = set_cpus(xapi, ret_ref, facts->cpus, fault);
	if (!error)
		error = set_firmware(xapi, ret_ref, facts, fault);
	for (unsigned int i = 0; !error && i < WIRE_DISKS_MAX; i++)
		if (record->vdis[i][0])
			error = xcp_vbd_give(xapi, ret_ref, record->vdis[i], i, fault);
	if (!error)
		error = make_vifs(xapi, ret_ref, facts, request->networks, fault);
	return error;
}
