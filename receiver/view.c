// SPDX-License-Identifier: GPL-2.0-or-later
/* Opening and closing a view; see view.h. */
#include "receiver/view.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/os_file.h"
#include "receiver/view_internal.h"
#include "receiver/view_wire.h"

#define MAP_ALIGN_BYTES 4096u

static atomic_uint newest_id;

static int read_history(void *context, unsigned int disk, void *data, uint64_t offset,
			uint32_t length, struct fault *fault)
{
	struct view *view = context;

	return history_reader_read(view->reader, disk, data, offset, length, fault);
}

static int open_history(struct view *view, const char *point, const char *map_path,
			struct fault *fault)
{
	struct history *history = replica_history(view->replica);
	int error;

	if (!history)
		return fault_set(fault, FAULT_STOP, EAGAIN,
				 "%s has no checkpoints yet: it has to be streaming first",
				 view->machine->name);
	error = history_find(history, point, &view->point, fault);
	if (error)
		return error;
	return history_reader_open(history, view->point.number, map_path, &view->reader, fault);
}

static int start_socket(struct view *view, const char *path, struct fault *fault)
{
	uint64_t disk_bytes[WIRE_DISKS_MAX] = {0};
	char name[PKI_NAME_MAX + 32];
	struct view_socket_setup setup = {.path = path,
					  .name = name,
					  .disk_count = replica_disk_count(view->replica),
					  .disk_bytes = disk_bytes,
					  .read = read_history,
					  .context = view};

	snprintf(name, sizeof(name), "view %u of %s", view->id, view->machine->name);
	for (unsigned int i = 0; i < setup.disk_count; i++)
		disk_bytes[i] = replica_disk(view->replica, i)->size_bytes;
	return view_socket_start(&setup, &view->socket, fault);
}

/* What the plugin may read by itself. Where the server takes one connection, or another one would not see what the
 * first has written, it asks us, who have that. */
static const char *target_of(const struct target *target)
{
	const struct target_info *info = target_info(target);

	if (info->path[0])
		return info->path;
	return info->is_single ? NULL : info->text;
}

static uint64_t map_bytes(uint64_t disk_bytes)
{
	uint64_t blocks = (disk_bytes + VIEW_BLOCK_BYTES - 1) / VIEW_BLOCK_BYTES;
	uint64_t bytes = (blocks + 7) / 8;

	return (bytes + MAP_ALIGN_BYTES - 1) / MAP_ALIGN_BYTES * MAP_ALIGN_BYTES;
}

static int start_servers(struct view *view, struct view_server_setup *setup, uint16_t port,
			 struct fault *fault)
{
	unsigned int slots = replica_disk_count(view->replica);
	int error = 0;

	view->disks = calloc(slots ? slots : 1, sizeof(*view->disks));
	if (!view->disks)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	for (unsigned int i = 0; !error && i < slots; i++) {
		const struct replica_disk *disk = replica_disk(view->replica, i);
		struct view_disk_entry *entry = &view->disks[view->disk_count];

		if (disk->target) {
			entry->slot = setup->disk = i;
			entry->size_bytes = setup->size_bytes = disk->size_bytes;
			setup->target = target_of(disk->target);
			setup->port = port ? (uint16_t)(port + view->disk_count) : 0;
			error = view_server_start(setup, &entry->server, fault);
			entry->is_started = !error;
			view->disk_count++;
		}
		setup->map_offset += map_bytes(disk->size_bytes);
	}
	return error;
}

static int start(struct machines *machines, struct view *view, const struct view_options *options,
		 struct fault *fault)
{
	const struct receiver_options *receiver = machines_options(machines);
	char map_path[PATH_MAX + 16], socket_path[PATH_MAX + 16], address[256];
	struct view_server_setup setup = {.folder = view->folder,
					  .view_socket = socket_path,
					  .map_path = map_path,
					  .scratch_folder = receiver->storage_folder,
					  .group = receiver->control_group,
					  .address = address,
					  .key_path = view->key_path};
	uint16_t own_port;
	int error = view_folder_make(receiver, view, fault);

	snprintf(map_path, sizeof(map_path), "%s/map", view->folder);
	snprintf(socket_path, sizeof(socket_path), "%s/view.sock", view->folder);
	if (!error)
		error = options_split_listen(receiver->listen, address, sizeof(address), &own_port,
					     fault);
	if (!error && options->port)
		error = view_key_make(receiver, view, fault);
	if (!error)
		error = replica_hold(machines, view->machine, &view->replica, fault);
	if (!error && options->port + replica_disk_count(view->replica) > UINT16_MAX + 1u)
		error = fault_set(fault, FAULT_STOP, EINVAL,
				  "port %u is too high: each disk has one of its own",
				  options->port);
	if (!error)
		error = open_history(view, options->point, map_path, fault);
	if (!error)
		error = start_socket(view, socket_path, fault);
	return error ? error : start_servers(view, &setup, options->port, fault);
}

int view_open(struct machines *machines, struct machine *machine,
	      const struct view_options *options, struct view **ret_view, struct fault *fault)
{
	struct view *view = calloc(1, sizeof(*view));
	int error;

	if (!view)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	view->id = atomic_fetch_add(&newest_id, 1) + 1;
	view->machine = machine;
	view->holds = 1;
	os_mutex_init(&view->close_lock);
	snprintf(view->note, sizeof(view->note), "%s", options->note ? options->note : "");
	error = start(machines, view, options, fault);
	if (!error)
		error = view_list_add(view, fault);
	if (error) {
		view_close(view);
		view_release(view);
		return error;
	}
	log_info("%s: view %u of checkpoint #%llu is open", machine->name, view->id,
		 (unsigned long long)view->point.number);
	*ret_view = view;
	return 0;
}

void view_close(struct view *view)
{
	os_mutex_lock(&view->close_lock);
	if (!view->is_closed) {
		for (unsigned int i = 0; i < view->disk_count; i++)
			if (view->disks[i].is_started)
				view_server_end(&view->disks[i].server);
		view_socket_stop(view->socket);
		if (view->reader)
			history_reader_close(view->reader);
		replica_release(view->replica);
		if (view->folder[0] && os_folder_remove(view->folder))
			log_warning("%s cannot be removed", view->folder);
		view->is_closed = true;
		view_list_remove(view);
	}
	os_mutex_unlock(&view->close_lock);
}

bool view_is_alive(struct view *view)
{
	bool is_alive;

	os_mutex_lock(&view->close_lock);
	is_alive = !view->is_closed;
	for (unsigned int i = 0; is_alive && i < view->disk_count; i++)
		is_alive = view_server_is_alive(&view->disks[i].server);
	os_mutex_unlock(&view->close_lock);
	return is_alive;
}

unsigned int view_id(const struct view *view)
{
	return view->id;
}

const struct history_point *view_point(const struct view *view)
{
	return &view->point;
}

unsigned int view_disk_count(const struct view *view)
{
	return view->disk_count;
}

unsigned int view_disk_slot(const struct view *view, unsigned int i)
{
	return view->disks[i].slot;
}

uint64_t view_disk_bytes(const struct view *view, unsigned int i)
{
	return view->disks[i].size_bytes;
}

const char *view_disk_uri(const struct view *view, unsigned int i)
{
	return view->disks[i].server.uri;
}

const char *view_disk_socket(const struct view *view, unsigned int i)
{
	return view->disks[i].server.socket;
}

const char *view_key_path(const struct view *view)
{
	return view->key_path;
}

const char *view_note(const struct view *view)
{
	return view->note;
}
