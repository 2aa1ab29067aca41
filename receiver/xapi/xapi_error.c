// SPDX-License-Identifier: GPL-2.0-or-later
/* XAPI's errors as a person understands them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "receiver/xapi/xapi.h"

#define PARAMS_SHOWN 4
#define PARAM_MAX    160

struct meaning {
	const char *code;
	int error;
	enum fault_class class;
	const char *text; /* %1 ... %4: the error's parameters */
};

/* What is not in here is told as XAPI told it. */
static const struct meaning meanings[] = {
	{"SESSION_AUTHENTICATION_FAILED", EACCES, FAULT_STOP,
	 "the pool does not know this user and password (%2): see user and password-file in [xcp]"},
	{"RBAC_PERMISSION_DENIED", EACCES, FAULT_STOP,
	 "[xcp] user may not do this (%1): it needs the role vm-power-admin"},
	{"HOST_STILL_BOOTING", EAGAIN, FAULT_RETRY, "the host is still booting"},
	{"HOST_OFFLINE", EHOSTDOWN, FAULT_RETRY, "a host that is needed is off (%1)"},
	{"HOST_NOT_ENOUGH_FREE_MEMORY", ENOMEM, FAULT_STOP,
	 "no host has enough free memory (%1 bytes are needed, %2 are free): shut down or "
	 "move other VMs"},
	{"NO_HOSTS_AVAILABLE", ENOMEM, FAULT_STOP,
	 "no host can run this VM: see whether each has enough memory, and reaches the "
	 "storage and the network"},
	{"SR_FULL", ENOSPC, FAULT_STOP,
	 "the storage repository has no room: %1 bytes are needed, at most %2 are allowed"},
	{"SR_BACKEND_FAILURE_44", ENOSPC, FAULT_STOP,
	 "the storage repository has no room (%2): make room, or give another with --sr"},
	{"SR_BACKEND_FAILURE_46", EBUSY, FAULT_STOP,
	 "the disk was not detached cleanly by some host (%2): look there who uses it"},
	{"SR_BACKEND_FAILURE_79", EFBIG, FAULT_STOP,
	 "the storage repository cannot have a disk of this size (%2)"},
	{"SR_BACKEND_FAILURE_109", ENOSPC, FAULT_STOP,
	 "the disk has too many snapshots (%2): destroy some, and wait until the storage has "
	 "merged "
	 "what they leave; or fewer in xcp-snapshots"},
	{"SR_OPERATION_NOT_SUPPORTED", EOPNOTSUPP, FAULT_STOP,
	 "the storage repository cannot do this (%1); raw disks, for one, have no snapshots"},
	{"VDI_INCOMPATIBLE_TYPE", EOPNOTSUPP, FAULT_STOP,
	 "this kind of disk cannot do this (%1, %2)"},
	{"SR_NOT_ATTACHED", ENODEV, FAULT_STOP, "the storage repository is not attached (%1)"},
	{"SR_HAS_NO_PBDS", ENODEV, FAULT_STOP,
	 "the storage repository is attached to no host (%1)"},
	{"VDI_IN_USE", EBUSY, FAULT_STOP,
	 "a disk is in use (%1, for %2): by another VM, or by one that was not shut down cleanly"},
	{"VDI_READONLY", EROFS, FAULT_STOP, "the disk is read-only (%1)"},
	{"VDI_LOCATION_MISSING", ENOENT, FAULT_STOP,
	 "the disk is not in its storage repository (%2)"},
	{"VDI_NOT_AVAILABLE", EBUSY, FAULT_RETRY, "the disk is not available now (%1)"},
	{"VDI_NOT_IN_MAP", ENOENT, FAULT_STOP, "the disk is not known any more (%1)"},
	{"VM_BAD_POWER_STATE", EBUSY, FAULT_STOP, "the VM is %3, and has to be %2 for this"},
	{"VM_IS_TEMPLATE", EINVAL, FAULT_STOP, "this is a template, no VM (%1)"},
	{"VM_MISSING_PV_DRIVERS", ENODEV, FAULT_STOP,
	 "this VM has no Xen drivers (%1): disks cannot be attached while it runs"},
	{"VM_REQUIRES_SR", ENODEV, FAULT_STOP,
	 "the host that runs the VM does not reach the storage repository (%2)"},
	{"OPERATION_BLOCKED", EPERM, FAULT_STOP, "this is blocked for the VM: %2"},
	{"OPERATION_NOT_ALLOWED", EPERM, FAULT_STOP, "XAPI does not allow this now: %1"},
	{"OTHER_OPERATION_IN_PROGRESS", EBUSY, FAULT_RETRY,
	 "something else is being done with this object now (%1, %2)"},
	{"DEVICE_ALREADY_EXISTS", EEXIST, FAULT_STOP, "the VM has a device %1 already"},
	{"DEVICE_ALREADY_ATTACHED", EEXIST, FAULT_STOP, "the disk is attached already (%1)"},
	{"DEVICE_ALREADY_DETACHED", ENODEV, FAULT_STOP, "the disk is detached already (%1)"},
	{"DEVICE_DETACH_REJECTED", EBUSY, FAULT_RETRY,
	 "the VM does not let go of the disk: something has it open there (%3)"},
	{"DEVICE_DETACH_TIMEOUT", ETIMEDOUT, FAULT_RETRY,
	 "the VM did not let go of the disk in time (%1, %2)"},
	{"MAC_INVALID", EINVAL, FAULT_STOP, "%1 is not a MAC address"},
	{"DUPLICATE_VM", EEXIST, FAULT_STOP, "there is such a VM already"},
	{"INVALID_VALUE", EINVAL, FAULT_STOP, "XAPI does not take the value '%2' for %1"},
	{"HANDLE_INVALID", ENOENT, FAULT_STOP, "the %1 is not there any more (%2)"},
	{"UUID_INVALID", ENOENT, FAULT_STOP, "there is no %1 with the UUID %2"},
	{"MESSAGE_METHOD_UNKNOWN", EOPNOTSUPP, FAULT_STOP,
	 "this version of XAPI does not know the call (%1): is the host older than XCP-ng 8.2?"},
	{"TASK_CANCELLED", ECANCELED, FAULT_STOP, "it was cancelled"},
	{"CANNOT_CONTACT_HOST", EHOSTUNREACH, FAULT_RETRY, "the pool does not reach its host %1"},
	{"TOO_MANY_PENDING_TASKS", EAGAIN, FAULT_RETRY, "the pool has too much to do now"},
	{"INTERNAL_ERROR", EIO, FAULT_RETRY, "XAPI failed: %1"},
};

static void add(char *text, size_t size, const char *what, size_t length)
{
	size_t used = strlen(text);

	if (length > size - used - 1)
		length = size - used - 1;
	memcpy(text + used, what, length);
	text[used + length] = '\0';
}

static const char *param(const json_t *params, size_t index)
{
	const char *text = json_string_value(json_array_get(params, index));

	return text ? text : "?";
}

static void fill_in(const char *pattern, const json_t *params, char *text, size_t size)
{
	text[0] = '\0';
	for (const char *at = pattern; *at; at++) {
		if (at[0] == '%' && at[1] >= '1' && at[1] <= '0' + PARAMS_SHOWN) {
			const char *value = param(params, (size_t)(*++at - '1'));
			size_t length = strlen(value);

			add(text, size, value, length < PARAM_MAX ? length : PARAM_MAX);
		} else {
			add(text, size, at, 1);
		}
	}
}

int xapi_error_to_fault(const char *method, const char *code, const json_t *params,
			struct fault *fault)
{
	char text[XAPI_TEXT_MAX] = "";

	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
		if (strcmp(meanings[i].code, code) != 0)
			continue;
		fill_in(meanings[i].text, params, text, sizeof(text));
		return fault_set(fault, meanings[i].class, meanings[i].error, "%s: %s", method,
				 text);
	}
	for (size_t i = 0; i < json_array_size(params) && i < PARAMS_SHOWN; i++) {
		add(text, sizeof(text), i ? ", " : "", i ? 2 : 0);
		add(text, sizeof(text), param(params, i), strnlen(param(params, i), PARAM_MAX));
	}
	return fault_set(fault, FAULT_STOP, EREMOTEIO, "%s: XAPI says %s (%s)", method, code, text);
}
