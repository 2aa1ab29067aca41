// SPDX-License-Identifier: GPL-2.0-or-later
/* Machines and their stored state; see machine.h. */
#include "receiver/machine.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/os_file.h"

#define STORED_MAX  (1u << 20)
#define PATH_LENGTH 768

struct machines {
	const struct receiver_options *options;
	struct os_mutex lock; /* of the list */
	struct machine *first;
};

static const char *const state_names[] = {
	[MACHINE_REPLICATING] = "replicating",
	[MACHINE_COMMITTED] = "committed",
	[MACHINE_COMPLETED] = "completed",
	[MACHINE_ROLLED_BACK] = "rolled-back",
};

void machine_path(const struct machines *machines, const struct machine *machine, const char *file,
		  char *ret_path, size_t size)
{
	snprintf(ret_path, size, "%s/machines/%s%s%s", machines->options->state_folder,
		 machine->name, file[0] ? "/" : "", file);
}

static json_t *slot_to_json(const struct machine_slot *slot)
{
	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:b, s:i}", "identity", slot->identity,
			 "path", slot->path, "size", (json_int_t)slot->size_bytes, "target",
			 slot->target, "target_text", slot->target_text, "target_path",
			 slot->target_path, "can_flush", slot->can_flush, "stream_disk",
			 slot->stream_disk);
}

int machine_store(struct machines *machines, struct machine *machine, struct fault *fault)
{
	char path[PATH_LENGTH], id[24];
	json_t *disks = json_array(), *root;
	char *text = NULL;
	int error = -ENOMEM;

	snprintf(id, sizeof(id), "%016" PRIx64, machine->cutover_id);
	for (unsigned int i = 0; i < machine->slot_count; i++)
		json_array_append_new(disks, slot_to_json(&machine->slots[i]));
	root = json_pack("{s:i, s:s, s:s, s:s, s:b, s:b, s:b, s:I, s:o, s:I, s:I, s:b}", "format",
			 1, "name", machine->name, "state", state_names[machine->state], "cutover",
			 id, "started", machine->has_started, "paused", machine->is_paused,
			 "has_limit", machine->has_limit, "limit", (json_int_t)machine->limit,
			 "disks", disks, "cutover_point", (json_int_t)machine->cutover_point,
			 "rollback_point", (json_int_t)machine->rollback_point, "rollback_done",
			 machine->is_rollback_done);
	if (root && machine->facts.cpus)
		json_object_set_new(root, "source", machine_facts_to_json(&machine->facts));
	if (root)
		text = json_dumps(root, JSON_INDENT(2));
	if (text) {
		machine_path(machines, machine, "", path, sizeof(path));
		error = os_folder_make(path, 0700);
		machine_path(machines, machine, "machine.json", path, sizeof(path));
		if (!error)
			error = os_file_write_atomic(path, text, strlen(text), 0600);
	}
	free(text);
	json_decref(root);
	if (error)
		return fault_set(fault, FAULT_RETRY, -error, "cannot store the state of %s: %s",
				 machine->name, strerror(-error));
	return 0;
}

static void copy_text(char *to, size_t size, json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	snprintf(to, size, "%s", text ? text : "");
}

static int load_slots(struct machine *machine, json_t *disks)
{
	size_t count = json_array_size(disks);

	if (count > WIRE_DISKS_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < count; i++) {
		struct machine_slot *slot = &machine->slots[i];
		json_t *disk = json_array_get(disks, i);
		json_int_t size = json_integer_value(json_object_get(disk, "size"));
		json_t *number = json_object_get(disk, "stream_disk");

		copy_text(slot->identity, sizeof(slot->identity), disk, "identity");
		copy_text(slot->path, sizeof(slot->path), disk, "path");
		copy_text(slot->target, sizeof(slot->target), disk, "target");
		copy_text(slot->target_text, sizeof(slot->target_text), disk, "target_text");
		copy_text(slot->target_path, sizeof(slot->target_path), disk, "target_path");
		slot->can_flush = json_is_true(json_object_get(disk, "can_flush"));
		if (!slot->identity[0] || !slot->target[0] || size <= 0)
			return -EBADMSG;
		slot->size_bytes = (uint64_t)size;
		slot->stream_disk = -1;
		if (json_is_integer(number) && json_integer_value(number) < WIRE_DISKS_MAX)
			slot->stream_disk = (int)json_integer_value(number);
	}
	machine->slot_count = (unsigned int)count;
	return 0;
}

static int load_one(struct machines *machines, const char *name, struct fault *fault)
{
	struct machine *machine = machines_add(machines, name);
	char path[PATH_LENGTH];
	char *text = NULL;
	const char *state;
	json_t *root = NULL;
	size_t size;
	int error = -ENOMEM;

	if (!machine)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	machine_path(machines, machine, "machine.json", path, sizeof(path));
	error = os_file_read(path, STORED_MAX, &text, &size);
	if (error == -ENOENT)
		return 0; /* enrolled, never connected */
	if (!error) {
		root = json_loads(text, 0, NULL);
		free(text);
		error = root ? 0 : -EBADMSG;
	}
	state = json_string_value(json_object_get(root, "state"));
	machine->state = 0;
	for (size_t i = 1; state && i < sizeof(state_names) / sizeof(state_names[0]); i++)
		if (strcmp(state, state_names[i]) == 0)
			machine->state = (enum machine_state)i;
	if (!error && (!machine->state || json_integer_value(json_object_get(root, "format")) != 1))
		error = -EBADMSG;
	if (!error)
		error = load_slots(machine, json_object_get(root, "disks"));
	if (!error) {
		const char *id = json_string_value(json_object_get(root, "cutover"));

		machine->cutover_id = id ? strtoull(id, NULL, 16) : 0;
		machine->has_started = json_is_true(json_object_get(root, "started"));
		machine->is_paused = json_is_true(json_object_get(root, "paused"));
		machine->has_limit = json_is_true(json_object_get(root, "has_limit"));
		machine->cutover_point =
			(uint64_t)json_integer_value(json_object_get(root, "cutover_point"));
		machine->rollback_point =
			(uint64_t)json_integer_value(json_object_get(root, "rollback_point"));
		machine->is_rollback_done = json_is_true(json_object_get(root, "rollback_done"));
		machine->limit = (uint64_t)json_integer_value(json_object_get(root, "limit"));
		machine_facts_from_json(json_object_get(root, "source"), &machine->facts);
	}
	json_decref(root);
	if (error)
		return fault_set(
			fault, FAULT_STOP, -error,
			"%s is damaged (%s): restore it, or remove the folder it is in and "
			"enroll %s again",
			path, strerror(-error), name);
	return 0;
}

int machines_load(const struct receiver_options *options, struct machines **ret_machines,
		  struct fault *fault)
{
	struct machines *machines = calloc(1, sizeof(*machines));
	char path[PATH_LENGTH];
	struct dirent *entry;
	DIR *folder;
	int error = 0;

	if (!machines)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	machines->options = options;
	os_mutex_init(&machines->lock);
	snprintf(path, sizeof(path), "%s/machines", options->state_folder);
	folder = opendir(path);
	while (folder && !error && (entry = readdir(folder)))
		if (pki_name_is_valid(entry->d_name))
			error = load_one(machines, entry->d_name, fault);
	if (folder)
		closedir(folder);
	if (error) {
		machines_free(machines);
		return error;
	}
	*ret_machines = machines;
	return 0;
}

void machines_free(struct machines *machines)
{
	struct machine *next;

	if (!machines)
		return;
	for (struct machine *machine = machines->first; machine; machine = next) {
		next = machine->next;
		os_cond_fini(&machine->changed);
		os_mutex_fini(&machine->lock);
		free(machine);
	}
	os_mutex_fini(&machines->lock);
	free(machines);
}

const struct receiver_options *machines_options(const struct machines *machines)
{
	return machines->options;
}

struct machine *machines_first(struct machines *machines)
{
	struct machine *first;

	os_mutex_lock(&machines->lock);
	first = machines->first;
	os_mutex_unlock(&machines->lock);
	return first;
}

static struct machine *find_locked(struct machines *machines, const char *name)
{
	for (struct machine *machine = machines->first; machine; machine = machine->next)
		if (strcmp(machine->name, name) == 0)
			return machine;
	return NULL;
}

struct machine *machines_find(struct machines *machines, const char *name)
{
	struct machine *machine;

	os_mutex_lock(&machines->lock);
	machine = find_locked(machines, name);
	os_mutex_unlock(&machines->lock);
	return machine;
}

struct machine *machines_add(struct machines *machines, const char *name)
{
	struct machine *machine;

	os_mutex_lock(&machines->lock);
	machine = find_locked(machines, name);
	if (!machine) {
		machine = calloc(1, sizeof(*machine));
		if (machine) {
			snprintf(machine->name, sizeof(machine->name), "%s", name);
			os_mutex_init(&machine->lock);
			os_cond_init(&machine->changed);
			machine->state = MACHINE_REPLICATING;
			machine->next = machines->first;
			machines->first = machine;
		}
	}
	os_mutex_unlock(&machines->lock);
	return machine;
}

void machine_set_error(struct machine *machine, const char *text)
{
	os_mutex_lock(&machine->lock);
	snprintf(machine->last_error, sizeof(machine->last_error), "%s", text);
	os_mutex_unlock(&machine->lock);
}
