// SPDX-License-Identifier: GPL-2.0-or-later
/* What was made for a machine in the pool, kept in machines/NAME/xcp.json; and the options of the pool. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_file.h"
#include "receiver/xapi/xcp_internal.h"

#define PATH_LENGTH 768
#define STORED_MAX  (64u << 10)
#define FILE_NAME   "xcp.json"

static const struct receiver_options *pool;
static struct receiver_options pool_copy;

static struct xapi_options api_options(const struct receiver_options *options)
{
	return (struct xapi_options){
		.host = options->xcp_host,
		.user = options->xcp_user,
		.password_file = options->xcp_password_file,
		.fingerprint = options->xcp_fingerprint,
		.ca_file = options->xcp_ca_file,
	};
}

int xcp_check_options(const struct receiver_options *options, struct fault *fault)
{
	struct xapi_options api = api_options(options);

	if (options->xcp_host)
		return xapi_check_options(&api, fault);
	if (options->xcp_user || options->xcp_password_file || options->xcp_fingerprint ||
	    options->xcp_ca_file || options->xcp_snapshots)
		return fault_set(fault, FAULT_STOP, EINVAL, "[xcp] needs host");
	return 0;
}

static int keep(const char *text, char **ret_copy)
{
	free(*ret_copy); /* of an earlier pool, in tests */
	*ret_copy = text ? strdup(text) : NULL;
	return text && !*ret_copy ? -ENOMEM : 0;
}

int xcp_set_pool(const struct receiver_options *options)
{
	struct receiver_options *copy = &pool_copy;

	copy->xcp_attach = options->xcp_attach;
	if (keep(options->state_folder, &copy->state_folder) ||
	    keep(options->xcp_host, &copy->xcp_host) || keep(options->xcp_user, &copy->xcp_user) ||
	    keep(options->xcp_password_file, &copy->xcp_password_file) ||
	    keep(options->xcp_fingerprint, &copy->xcp_fingerprint) ||
	    keep(options->xcp_ca_file, &copy->xcp_ca_file))
		return -ENOMEM;
	pool = copy;
	return 0;
}

const struct receiver_options *xcp_pool(void)
{
	return pool;
}

int xcp_open_until(const atomic_bool *is_over, struct xapi **ret_xapi, struct fault *fault)
{
	struct xapi_options api;

	if (!pool)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "receiver.ini has no section [xcp] that says which pool");
	api = api_options(pool);
	api.is_over = is_over;
	return xapi_open(&api, ret_xapi, fault);
}

int xcp_open(struct xapi **ret_xapi, struct fault *fault)
{
	return xcp_open_until(NULL, ret_xapi, fault);
}

int xcp_is_ours(struct xapi *xapi, const char *class, const char *ref, const char *id,
		bool *ret_is_ours, struct fault *fault)
{
	char method[64];
	const char *found;
	json_t *map;
	int error;

	*ret_is_ours = false;
	snprintf(method, sizeof(method), "%s.get_other_config", class);
	error = xapi_callf(xapi, &map, fault, method, "[s]", ref);
	if (error) /* one that is not there any more is nobody's */
		return xapi_error_is(xapi, "HANDLE_INVALID") ? 0 : error;
	found = json_string_value(json_object_get(map, XCP_KEY));
	*ret_is_ours = found && strcmp(found, id) == 0;
	json_decref(map);
	return 0;
}

static void record_path(const struct machines *machines, const struct machine *machine,
			char ret_path[PATH_LENGTH])
{
	machine_path(machines, machine, FILE_NAME, ret_path, PATH_LENGTH);
}

static int set_damaged(const char *path, int error, struct fault *fault)
{
	return fault_set(fault, FAULT_STOP, -error, "%s cannot be read: %s", path,
			 strerror(-error));
}

static void take(const json_t *json, const char *key, char *ret_text, size_t size)
{
	const char *text = json_string_value(json_object_get(json, key));

	snprintf(ret_text, size, "%s", text ? text : "");
}

int xcp_record_load(const struct machines *machines, const struct machine *machine,
		    struct xcp_record *ret_record, struct fault *fault)
{
	struct xcp_record record = {0};
	char path[PATH_LENGTH], *text;
	const json_t *vdis;
	json_t *json;
	size_t size;
	int error;

	record_path(machines, machine, path);
	error = os_file_read(path, STORED_MAX, &text, &size);
	if (error == -ENOENT)
		return error;
	if (error)
		return set_damaged(path, error, fault);
	json = json_loads(text, 0, NULL);
	free(text);
	vdis = json_object_get(json, "vdis");
	take(json, "id", record.id, sizeof(record.id));
	if (!record.id[0] || json_array_size(vdis) > WIRE_DISKS_MAX) {
		json_decref(json);
		return set_damaged(path, -EBADMSG, fault);
	}
	take(json, "vm", record.vm, sizeof(record.vm));
	take(json, "vm_name", record.vm_name, sizeof(record.vm_name));
	record.is_complete = json_is_true(json_object_get(json, "complete"));
	for (size_t i = 0; i < json_array_size(vdis); i++) {
		const char *vdi = json_string_value(json_array_get(vdis, i));

		snprintf(record.vdis[i], sizeof(record.vdis[i]), "%s", vdi ? vdi : "");
	}
	json_decref(json);
	*ret_record = record;
	return 0;
}

int xcp_record_store(const struct machines *machines, const struct machine *machine,
		     const struct xcp_record *record, struct fault *fault)
{
	char path[PATH_LENGTH], *text = NULL;
	json_t *vdis = json_array(), *json;
	int error = -ENOMEM;

	for (unsigned int i = 0; i < WIRE_DISKS_MAX; i++)
		json_array_append_new(vdis, json_string(record->vdis[i]));
	json = json_pack("{s:s, s:s, s:s, s:b, s:o}", "id", record->id, "vm", record->vm, "vm_name",
			 record->vm_name, "complete", record->is_complete, "vdis", vdis);
	if (json)
		text = json_dumps(json, JSON_INDENT(1));
	record_path(machines, machine, path);
	if (text)
		error = os_file_write_atomic(path, text, strlen(text), 0600);
	free(text);
	json_decref(json);
	return error ? fault_set(fault, FAULT_STOP, -error, "%s cannot be stored: %s", path,
				 strerror(-error))
		     : 0;
}

int xcp_record_remove(const struct machines *machines, const struct machine *machine,
		      struct fault *fault)
{
	char path[PATH_LENGTH];
	int error;

	record_path(machines, machine, path);
	error = os_folder_remove(path);
	return error ? fault_set(fault, FAULT_STOP, -error, "%s cannot be removed: %s", path,
				 strerror(-error))
		     : 0;
}

void xcp_disks_list(struct machine *machine, struct xcp_disks *ret_disks)
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

int xcp_disks_load(const struct machines *machines, struct machine *machine,
		   struct xcp_disks *ret_disks, struct xcp_record *ret_record, struct fault *fault)
{
	int error = xcp_record_load(machines, machine, ret_record, fault);

	xcp_disks_list(machine, ret_disks);
	if (error == -ENOENT || (!error && !ret_record->is_complete))
		return 1;
	if (error)
		return error;
	for (unsigned int i = 0; i < ret_disks->count; i++)
		if (!ret_disks->vdis[i][0])
			return fault_set(
				fault, FAULT_STOP, EINVAL,
				"disk %u of %s does not go to the pool, where its VM is: take "
				"disk%u "
				"out of receiver.ini and run 'blkferry xcp create' again, or start "
				"the machine by hand",
				i, machine->name, i);
	return 0;
}

bool xcp_slot_uri(const struct machines *machines, const struct machine *machine, unsigned int slot,
		  char *ret_uri, size_t size)
{
	struct xcp_record record = {0};

	if (!machines_options(machines)->xcp_host)
		return false;
	if (xcp_record_load(machines, machine, &record, NULL) || !record.is_complete)
		memset(&record, 0, sizeof(record));
	snprintf(ret_uri, size, XCP_SCHEME "%s", record.vdis[slot]);
	return true;
}
