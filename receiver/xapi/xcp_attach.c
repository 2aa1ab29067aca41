// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VDIs attached to the VM in which the receiver runs: a helper VM, or dom0. XAPI lets one VM at a time write to
 * a VDI, so while it is attached here nothing else can.
 *
 * state_folder/xcp-attached.json lists the VDIs that are attached, or may be: it is stored before a VBD is made,
 * and after it is gone. What a receiver that died has left is detached before the first one is attached: only
 * VBDs of listed VDIs on our own VM are touched.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "receiver/xapi/xcp_internal.h"

#define ATTACHED_MAX	1024
#define STORED_MAX	(128u << 10)
#define PLUG_NS		(300 * NS_PER_S)
#define DETACH_NS	(60 * NS_PER_S) /* for what has the device open to close it */
#define DEVICE_NS	(30 * NS_PER_S) /* for the kernel to find it */
#define LOOK_NS		(100 * NS_PER_MS)
#define HELPER_IDENTITY "/sys/hypervisor/uuid"
#define DOM0_IDENTITY	"/etc/xensource-inventory"
#define DOM0_KEY	"CONTROL_DOMAIN_UUID='"

static struct {
	struct os_mutex lock;
	char list[ATTACHED_MAX][XCP_UUID_MAX];
	unsigned int count;
	bool is_loaded; /* and what it named is detached */
} state = {.lock = OS_MUTEX_INITIALIZER};

static void list_path(char *ret_path, size_t size)
{
	snprintf(ret_path, size, "%s/xcp-attached.json", xcp_pool()->state_folder);
}

/* Its place in the list; state.count when it is not there. */
static unsigned int find(const char *vdi)
{
	unsigned int i = 0;

	while (i < state.count && strcmp(state.list[i], vdi) != 0)
		i++;
	return i;
}

static int store_list(struct fault *fault)
{
	json_t *list = json_array();
	char path[512], *text;
	int error = -ENOMEM;

	for (unsigned int i = 0; i < state.count; i++)
		json_array_append_new(list, json_string(state.list[i]));
	text = json_dumps(list, JSON_INDENT(1));
	list_path(path, sizeof(path));
	if (text)
		error = os_file_write_atomic(path, text, strlen(text), 0600);
	free(text);
	json_decref(list);
	return error ? fault_set(fault, FAULT_RETRY, -error, "%s cannot be stored: %s", path,
				 strerror(-error))
		     : 0;
}

static int add(const char *vdi, struct fault *fault)
{
	int error;

	if (find(vdi) < state.count)
		return 0;
	if (state.count == ATTACHED_MAX)
		return fault_set(fault, FAULT_STOP, E2BIG, "more than %d disks attached",
				 ATTACHED_MAX);
	snprintf(state.list[state.count++], XCP_UUID_MAX, "%s", vdi);
	error = store_list(fault);
	if (error)
		state.count--;
	return error;
}

static int drop(const char *vdi, struct fault *fault)
{
	unsigned int i = find(vdi);

	if (i == state.count)
		return 0;
	memmove(state.list[i], state.list[--state.count], XCP_UUID_MAX);
	return store_list(fault);
}

/* The UUID of the VM that this is. */
static int own_uuid(char *ret_uuid, struct fault *fault)
{
	bool is_helper = xcp_pool()->xcp_attach == XCP_ATTACH_HELPER;
	const char *path = is_helper ? HELPER_IDENTITY : DOM0_IDENTITY;
	const char *begin;
	char *text;
	size_t size;
	int error = os_file_read(path, 16384, &text, &size);

	if (!error) {
		begin = is_helper ? text : strstr(text, DOM0_KEY);
		if (begin && !is_helper)
			begin += strlen(DOM0_KEY);
		error = begin && strcspn(begin, "'\n") == 36 ? 0 : -EBADMSG;
		if (!error)
			snprintf(ret_uuid, XCP_UUID_MAX, "%.36s", begin);
		free(text);
	}
	if (error)
		return fault_set(
			fault, FAULT_STOP, -error, "%s, which says which VM this is: %s. %s", path,
			strerror(-error),
			is_helper
				? "[xcp] attach = helper is for a receiver in a VM of the pool; in "
				  "dom0 use attach = dom0"
				: "[xcp] attach = dom0 is for a receiver in dom0");
	return 0;
}

static int own_vm(struct xapi *xapi, char *ret_ref, struct fault *fault)
{
	char uuid[XCP_UUID_MAX];
	int error = own_uuid(uuid, fault);

	if (error)
		return error;
	error = xapi_get_text(xapi, "VM.get_by_uuid", uuid, ret_ref, XAPI_REF_MAX, fault);
	return error ? fault_prefix(fault, "the VM in which the receiver runs (%s)", uuid) : 0;
}

/* A device that something has open is not let go: whoever closed it may need a moment. */
static int unplug(struct xapi *xapi, const char *vbd, struct fault *fault)
{
	uint64_t deadline_ns = os_monotonic_ns() + DETACH_NS;

	for (;;) {
		bool is_attached = false;
		struct fault reason = {0};
		int error = xapi_get_switch(xapi, "VBD.get_currently_attached", vbd, &is_attached,
					    fault);

		if (error || !is_attached)
			return error;
		error = xapi_run(xapi, "VBD.unplug", json_pack("[s]", vbd), PLUG_NS, NULL, 0,
				 &reason);
		if (error && os_monotonic_ns() > deadline_ns) {
			*fault = reason;
			return error;
		}
		if (error)
			os_sleep_ns(LOOK_NS * 5);
	}
}

/* Every VBD of the VDI on our VM, off and gone. */
static int remove_vbds(struct xapi *xapi, const char *vm, const char *vdi, struct fault *fault)
{
	char ref[XAPI_REF_MAX], owner[XAPI_REF_MAX];
	json_t *vbds;
	int error = xapi_get_text(xapi, "VDI.get_by_uuid", vdi, ref, sizeof(ref), fault);

	if (error)
		return xapi_error_is(xapi, "UUID_INVALID") ? 0 : error;
	error = xapi_callf(xapi, &vbds, fault, "VDI.get_VBDs", "[s]", ref);
	if (error)
		return error;
	for (size_t i = 0; !error && i < json_array_size(vbds); i++) {
		const char *vbd = json_string_value(json_array_get(vbds, i));

		if (!vbd)
			continue;
		error = xapi_get_text(xapi, "VBD.get_VM", vbd, owner, sizeof(owner), fault);
		if (error || strcmp(owner, vm) != 0)
			continue;
		error = unplug(xapi, vbd, fault);
		if (!error)
			error = xapi_callf(xapi, NULL, fault, "VBD.destroy", "[s]", vbd);
	}
	json_decref(vbds);
	return error;
}

static int load_list(struct fault *fault)
{
	char path[512], *text;
	json_t *list;
	size_t size;
	int error;

	list_path(path, sizeof(path));
	error = os_file_read(path, STORED_MAX, &text, &size);
	if (error == -ENOENT)
		return 0;
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s: %s", path, strerror(-error));
	list = json_loads(text, 0, NULL);
	free(text);
	if (!json_is_array(list) || json_array_size(list) > ATTACHED_MAX)
		error = fault_set(fault, FAULT_STOP, EBADMSG,
				  "%s is damaged: detach by hand the disks that the receiver's VM "
				  "has of blkferry, and remove the file",
				  path);
	state.count = 0;
	for (size_t i = 0; !error && i < json_array_size(list); i++) {
		const char *vdi = json_string_value(json_array_get(list, i));

		if (vdi)
			snprintf(state.list[state.count++], XCP_UUID_MAX, "%s", vdi);
	}
	json_decref(list);
	return error;
}

/* What an earlier receiver has left. The lock is held. */
static int clean(struct xapi *xapi, const char *vm, struct fault *fault)
{
	int error = load_list(fault);

	while (!error && state.count > 0) {
		char vdi[XCP_UUID_MAX];

		memcpy(vdi, state.list[state.count - 1], sizeof(vdi));
		log_info("disk %s was left attached by an earlier run: detaching it", vdi);
		error = remove_vbds(xapi, vm, vdi, fault);
		if (!error)
			error = drop(vdi, fault);
	}
	state.is_loaded = !error;
	return error;
}

static int begin(struct xapi **ret_xapi, char *ret_vm, struct fault *fault)
{
	int error = xcp_open(ret_xapi, fault);

	if (error)
		return error;
	error = own_vm(*ret_xapi, ret_vm, fault);
	if (!error && !state.is_loaded)
		error = clean(*ret_xapi, ret_vm, fault);
	if (error)
		xapi_close(*ret_xapi);
	return error;
}

static int make_vbd(struct xapi *xapi, const char *vm, const char *vdi, char *ret_vbd,
		    struct fault *fault)
{
	char number[24];
	json_t *result;
	unsigned long device = ULONG_MAX;
	int error = xapi_callf(xapi, &result, fault, "VM.get_allowed_VBD_devices", "[s]", vm);

	if (error)
		return error;
	for (size_t i = 0; i < json_array_size(result); i++) {
		const char *text = json_string_value(json_array_get(result, i));
		unsigned long free_device = text ? strtoul(text, NULL, 10) : 0;

		if (free_device != 3 && free_device < device)
			device = free_device;
	}
	json_decref(result);
	if (device > 254)
		return fault_set(fault, FAULT_STOP, ENOSPC,
				 "the receiver's VM has no room for another disk: run a second "
				 "receiver in another VM");
	snprintf(number, sizeof(number), "%lu", device);
	error = xapi_callf(xapi, &result, fault, "VBD.create",
			   "[{s:s, s:s, s:s, s:b, s:s, s:s, s:b, s:b, s:{}, s:s, s:{}}]", "VM", vm,
			   "VDI", vdi, "userdevice", number, "bootable", 0, "mode", "RW", "type",
			   "Disk", "unpluggable", 1, "empty", 0, "other_config",
			   "qos_algorithm_type", "", "qos_algorithm_params");
	if (error)
		return error;
	snprintf(ret_vbd, XAPI_REF_MAX, "%s",
		 json_string_value(result) ? json_string_value(result) : "");
	json_decref(result);
	return 0;
}

static int wait_for_device(unsigned int device, char *ret_name, size_t size, struct fault *fault)
{
	uint64_t deadline_ns = os_monotonic_ns() + DEVICE_NS;
	char path[512];

	while (os_monotonic_ns() < deadline_ns) {
		if (xcp_device_find("/sys/block", xcp_xenstore_id(device), ret_name, size) == 0) {
			snprintf(path, sizeof(path), "/dev/%s", ret_name);
			if (os_file_exists(path))
				return 0;
		}
		os_sleep_ns(LOOK_NS);
	}
	return fault_set(fault, FAULT_RETRY, ENODEV,
			 "the disk was attached as device %u of this VM, but no /dev/xvd appeared: "
			 "has this kernel xen-blkfront? (/sys/block/*/device/nodename with "
			 "device/vbd/%u)",
			 device, xcp_xenstore_id(device));
}

/* What a plugged VBD is here. */
static int describe(struct xapi *xapi, const char *vdi, const char *vdi_ref, const char *vbd,
		    char *ret_uri, size_t size, struct fault *fault)
{
	char name[128], number[24], sr[XAPI_REF_MAX], sr_uuid[XCP_UUID_MAX];
	int error = -EINVAL;

	switch ((enum xcp_attach)xcp_pool()->xcp_attach) {
	case XCP_ATTACH_HELPER:
		error = xapi_get_text(xapi, "VBD.get_userdevice", vbd, number, sizeof(number),
				      fault);
		if (!error)
			error = wait_for_device((unsigned int)strtoul(number, NULL, 10), name, 64,
						fault);
		break;
	case XCP_ATTACH_DOM0:
		error = xapi_get_text(xapi, "VBD.get_device", vbd, name, sizeof(name), fault);
		break;
	case XCP_ATTACH_DOM0_NBD:
		error = xapi_get_text(xapi, "VDI.get_SR", vdi_ref, sr, sizeof(sr), fault);
		if (!error)
			error = xapi_get_text(xapi, "SR.get_uuid", sr, sr_uuid, sizeof(sr_uuid),
					      fault);
		if (!error)
			snprintf(ret_uri, size,
				 "nbd+unix:///%s?socket=/run/blktap-control/nbd/%s/%s", vdi,
				 sr_uuid, vdi);
		return error;
	}
	if (!error)
		snprintf(ret_uri, size, "block:/dev/%s", name);
	return error;
}

/* Makes a VBD and plugs it. When it fails, *ret_is_left says that it could not be taken away again. */
static int plug(struct xapi *xapi, const char *vm, const char *vdi_ref, char *ret_vbd,
		bool *ret_is_left, struct fault *fault)
{
	struct fault ignored = {0};
	int error = make_vbd(xapi, vm, vdi_ref, ret_vbd, fault);

	/* One whose making was not answered may be there, or come. */
	*ret_is_left = error && xapi_error_is(xapi, "");
	if (error)
		return error;
	error = xapi_run(xapi, "VBD.plug", json_pack("[s]", ret_vbd), PLUG_NS, NULL, 0, fault);
	if (error)
		*ret_is_left = unplug(xapi, ret_vbd, &ignored) ||
			       xapi_callf(xapi, NULL, &ignored, "VBD.destroy", "[s]", ret_vbd);
	return error;
}

/* The plugged VBD of the VDI on our VM, "" when there is none. */
static int find_plugged(struct xapi *xapi, const char *vm, const char *vdi_ref, char *ret_vbd,
			struct fault *fault)
{
	bool is_attached = false;
	int error = xcp_vbd_find(xapi, vm, vdi_ref, ret_vbd, fault);

	if (!error && ret_vbd[0])
		error = xapi_get_switch(xapi, "VBD.get_currently_attached", ret_vbd, &is_attached,
					fault);
	if (!is_attached)
		ret_vbd[0] = '\0';
	return error;
}

/* The lock is held. may_plug: false only looks. */
static int attach(struct xapi *xapi, const char *vm, const char *vdi, bool may_plug, char *ret_uri,
		  size_t size, struct fault *fault)
{
	char ref[XAPI_REF_MAX], vbd[XAPI_REF_MAX] = "";
	struct fault ignored = {0};
	bool is_listed = find(vdi) < state.count, is_left = true;
	int error = xapi_get_text(xapi, "VDI.get_by_uuid", vdi, ref, sizeof(ref), fault);

	if (!error && is_listed)
		error = find_plugged(xapi, vm, ref, vbd, fault);
	if (!error && !vbd[0] && !may_plug)
		error = fault_set(fault, FAULT_RETRY, ENODEV,
				  "the disk %s was taken away from the receiver's VM", vdi);
	if (!error && !vbd[0]) {
		/* Of ours, and not plugged: what somebody unplugged by hand. */
		error = is_listed ? remove_vbds(xapi, vm, vdi, fault) : add(vdi, fault);
		if (!error)
			error = plug(xapi, vm, ref, vbd, &is_left, fault);
		if (error && find(vdi) < state.count && !is_left)
			(void)drop(vdi, &ignored); /* else it is tried again */
	}
	return error ? error : describe(xapi, vdi, ref, vbd, ret_uri, size, fault);
}

static int attach_or_confirm(const char *vdi, bool may_plug, char *ret_uri, size_t size,
			     struct fault *fault)
{
	char vm[XAPI_REF_MAX];
	struct xapi *xapi;
	int error;

	if (!xcp_pool())
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "receiver.ini has no section [xcp] that says which pool has it");
	os_mutex_lock(&state.lock);
	error = begin(&xapi, vm, fault);
	if (!error) {
		error = attach(xapi, vm, vdi, may_plug, ret_uri, size, fault);
		xapi_close(xapi);
	}
	os_mutex_unlock(&state.lock);
	return error;
}

int xcp_attach(const char *vdi, char *ret_uri, size_t size, struct fault *fault)
{
	return attach_or_confirm(vdi, true, ret_uri, size, fault);
}

int xcp_confirm(const char *vdi, const char *uri, struct fault *fault)
{
	char now[256];
	int error = attach_or_confirm(vdi, false, now, sizeof(now), fault);

	if (!error && strcmp(now, uri) != 0)
		error = fault_set(
			fault, FAULT_RETRY, ENODEV,
			"the disk %s was %s, and is %s now: somebody changed the disks of "
			"the receiver's VM",
			vdi, uri, now);
	return error;
}

int xcp_detach(const char *vdi, struct fault *fault)
{
	char vm[XAPI_REF_MAX];
	struct xapi *xapi;
	int error;

	if (!xcp_pool())
		return 0;
	os_mutex_lock(&state.lock);
	error = begin(&xapi, vm, fault);
	if (!error) {
		if (find(vdi) < state.count)
			error = remove_vbds(xapi, vm, vdi, fault);
		if (!error)
			error = drop(vdi, fault);
		xapi_close(xapi);
	}
	os_mutex_unlock(&state.lock);
	return error;
}

static void clean_now(void *argument)
{
	struct fault fault = {0};
	char vm[XAPI_REF_MAX];
	struct xapi *xapi;

	os_mutex_lock(&state.lock);
	if (begin(&xapi, vm, &fault))
		log_warning("%s; this is tried again when a disk is needed", fault.text);
	else
		xapi_close(xapi);
	os_mutex_unlock(&state.lock);
}

/* In a thread that nobody waits for: a pool that is slow to answer must not keep the receiver from starting or
 * ending. */
int xcp_init(const struct receiver_options *options, struct fault *fault)
{
	static struct os_thread thread; /* it may outlive this function's caller */

	if (!options->xcp_host)
		return 0;
	if (xcp_set_pool(options))
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	if (os_thread_start(&thread, "xcp", clean_now, NULL))
		return fault_set(fault, FAULT_STOP, EAGAIN, "cannot start a thread");
	pthread_detach(thread.handle);
	return 0;
}
