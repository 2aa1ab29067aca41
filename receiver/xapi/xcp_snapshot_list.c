// SPDX-License-Identifier: GPL-2.0-or-later
/* machines/NAME/xcp-snapshots.json; see xcp_snapshot.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_file.h"
#include "receiver/xapi/xcp_snapshot.h"

#define FILE_NAME   "xcp-snapshots.json"
#define PATH_LENGTH 768
#define STORED_MAX  (1u << 20)

static void take_text(const json_t *json, const char *key, char *ret_text, size_t size)
{
	const char *text = json_string_value(json_object_get(json, key));

	snprintf(ret_text, size, "%s", text ? text : "");
}

static uint64_t number_of(const json_t *json, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(json, key));
}

static int take(const json_t *json, struct xcp_snapshot *ret_snapshot)
{
	const json_t *vdis = json_object_get(json, "vdis");

	take_text(json, "uuid", ret_snapshot->uuid, sizeof(ret_snapshot->uuid));
	take_text(json, "name", ret_snapshot->name, sizeof(ret_snapshot->name));
	ret_snapshot->number = number_of(json, "number");
	ret_snapshot->time_ns = number_of(json, "time_ns");
	ret_snapshot->made_ns = number_of(json, "made_ns");
	ret_snapshot->is_going = json_is_true(json_object_get(json, "going"));
	if (!ret_snapshot->name[0] || json_array_size(vdis) > WIRE_DISKS_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < json_array_size(vdis); i++) {
		const char *vdi = json_string_value(json_array_get(vdis, i));

		snprintf(ret_snapshot->vdis[ret_snapshot->vdi_count++], XCP_UUID_MAX, "%s",
			 vdi ? vdi : "");
	}
	return 0;
}

static int parse(const char *text, struct xcp_snapshots *list)
{
	json_t *json = json_loads(text, 0, NULL);
	int error = json_is_array(json) && json_array_size(json) <= XCP_SNAPSHOTS_MAX ? 0
										      : -EBADMSG;

	for (size_t i = 0; !error && i < json_array_size(json); i++)
		error = take(json_array_get(json, i), &list->list[list->count++]);
	json_decref(json);
	return error;
}

int xcp_snapshots_load(const struct machines *machines, const struct machine *machine,
		       struct xcp_snapshots **ret_list, struct fault *fault)
{
	struct xcp_snapshots *list = calloc(1, sizeof(*list));
	char path[PATH_LENGTH], *text = NULL;
	size_t size;
	int error;

	if (!list)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	machine_path(machines, machine, FILE_NAME, path, sizeof(path));
	error = os_file_read(path, STORED_MAX, &text, &size);
	if (!error)
		error = parse(text, list);
	free(text);
	if (error && error != -ENOENT) {
		free(list);
		return fault_set(fault, FAULT_STOP, -error,
				 "%s cannot be read (%s): no snapshots are made or thinned out. "
				 "Remove the file to begin anew; those that there are stay then",
				 path, strerror(-error));
	}
	*ret_list = list;
	return 0;
}

static json_t *to_json(const struct xcp_snapshot *snapshot)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I}", "uuid", snapshot->uuid, "name",
			 snapshot->name, "number", (json_int_t)snapshot->number, "time_ns",
			 (json_int_t)snapshot->time_ns, "made_ns", (json_int_t)snapshot->made_ns);
}

json_t *xcp_snapshots_to_json(const struct xcp_snapshots *list)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < list->count; i++)
		if (!list->list[i].is_going)
			json_array_append_new(array, to_json(&list->list[i]));
	return array;
}

int xcp_snapshots_store(const struct machines *machines, const struct machine *machine,
			const struct xcp_snapshots *list, struct fault *fault)
{
	json_t *array = json_array();
	char path[PATH_LENGTH], *text;
	int error = -ENOMEM;

	for (unsigned int i = 0; i < list->count; i++) {
		const struct xcp_snapshot *snapshot = &list->list[i];
		json_t *json = to_json(snapshot), *vdis = json_array();

		for (unsigned int k = 0; k < snapshot->vdi_count; k++)
			json_array_append_new(vdis, json_string(snapshot->vdis[k]));
		json_object_set_new(json, "vdis", vdis);
		json_object_set_new(json, "going", json_boolean(snapshot->is_going));
		json_array_append_new(array, json);
	}
	text = json_dumps(array, JSON_INDENT(1));
	json_decref(array);
	machine_path(machines, machine, FILE_NAME, path, sizeof(path));
	if (text)
		error = os_file_write_atomic(path, text, strlen(text), 0600);
	free(text);
	return error ? fault_set(fault, FAULT_RETRY, -error, "%s cannot be stored: %s", path,
				 strerror(-error))
		     : 0;
}
