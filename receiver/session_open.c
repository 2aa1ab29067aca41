// SPDX-License-Identifier: GPL-2.0-or-later
/* Opening a session's disks: which slot each one is, its target, its have bitmap. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/os_file.h"
#include "receiver/session_internal.h"
#include "receiver/view.h"
#include "receiver/xapi/xcp.h"

#define PATH_LENGTH 768

static void slot_uri(struct session *session, unsigned int slot, char *ret_uri, size_t size)
{
	const struct machine_options *options =
		options_machine(machines_options(session->machines), session->machine->name);

	if (options && options->disks[slot])
		snprintf(ret_uri, size, "%s", options->disks[slot]);
	else if (!xcp_slot_uri(session->machines, session->machine, slot, ret_uri, size))
		snprintf(ret_uri, size, "auto");
}

/* A disk is known by its identity; a new one gets the next slot. The machine's lock is held. */
static int find_slot(struct session *session, const struct wire_disk *disk, unsigned int *ret_slot,
		     struct fault *fault)
{
	struct machine *machine = session->machine;
	struct machine_slot *slot;
	unsigned int i;

	for (i = 0; i < machine->slot_count; i++)
		if (strcmp(machine->slots[i].identity, disk->identity) == 0)
			break;
	if (i == WIRE_DISKS_MAX)
		return fault_set(fault, FAULT_STOP, E2BIG, "more than %d disks", WIRE_DISKS_MAX);
	slot = &machine->slots[i];
	if (i == machine->slot_count) {
		memset(slot, 0, sizeof(*slot));
		snprintf(slot->identity, sizeof(slot->identity), "%s", disk->identity);
		slot_uri(session, i, slot->target, sizeof(slot->target));
		slot->size_bytes = disk->size_bytes;
		slot->stream_disk = -1;
		machine->slot_count++;
	}
	if (slot->is_present)
		return fault_set(fault, FAULT_STOP, EINVAL, "two disks have the identity '%s'",
				 disk->identity);
	if (disk->size_bytes < slot->size_bytes)
		return fault_set(
			fault, FAULT_STOP, EINVAL,
			"disk %s (%s) has shrunk from %" PRIu64 " to %" PRIu64
			" bytes; if that is meant, 'blkferry remove %s' and enroll it anew",
			disk->path, disk->identity, slot->size_bytes, disk->size_bytes,
			machine->name);
	slot->size_bytes = disk->size_bytes;
	slot->is_present = true;
	snprintf(slot->path, sizeof(slot->path), "%s", disk->path);
	*ret_slot = i;
	return 0;
}

/* The configuration may name another target than the replica was made on: then it is another replica. */
static int follow_configuration(struct session *session, unsigned int index, struct fault *fault)
{
	struct machine_slot *slot = &session->machine->slots[index];
	char uri[sizeof(slot->target)], file[32], path[PATH_LENGTH];

	slot_uri(session, index, uri, sizeof(uri));
	if (strcmp(slot->target, uri) == 0)
		return 0;
	log_info("%s: disk %u goes to %s now (was %s): it is copied anew", session->machine->name,
		 index, uri, slot->target);
	snprintf(file, sizeof(file), "disk%u.have", index);
	machine_path(session->machines, session->machine, file, path, sizeof(path));
	if (os_folder_remove(path))
		return fault_set(fault, FAULT_STOP, EIO, "cannot remove %s", path);
	snprintf(file, sizeof(file), "disk%u.in-use", index); /* said of the other target */
	machine_path(session->machines, session->machine, file, path, sizeof(path));
	if (os_folder_remove(path))
		return fault_set(fault, FAULT_STOP, EIO, "cannot remove %s", path);
	snprintf(slot->target, sizeof(slot->target), "%s", uri);
	return 0;
}

static int choose_slots(struct session *session, struct fault *fault)
{
	struct machine *machine = session->machine;
	int error = 0;

	os_mutex_lock(&machine->lock);
	for (unsigned int i = 0; i < machine->slot_count; i++)
		machine->slots[i].is_present = false;
	for (unsigned int i = 0; !error && i < session->disk_count; i++) {
		error = find_slot(session, &session->announced[i], &session->slots[i], fault);
		if (!error)
			error = follow_configuration(session, session->slots[i], fault);
	}
	os_mutex_unlock(&machine->lock);
	return error;
}

static bool has_left(void *context)
{
	return session_has_failed(context);
}

static int store(struct session *session, struct fault *fault)
{
	int error;

	os_mutex_lock(&session->machine->lock);
	error = machine_store(session->machines, session->machine, fault);
	os_mutex_unlock(&session->machine->lock);
	return error;
}

/* Views must not keep replication from going on: those of a replica that failed, or is open with disks of other
 * sizes, end here. */
static int hold_replica(struct session *session, struct fault *fault)
{
	const struct replica_user user = {
		.has_left = has_left, .context = session, .is_session = true};
	int error = replica_hold_as(session->machines, session->machine, &user, &session->replica,
				    fault);

	if (error == -EBUSY && view_end_all(session->machine, fault->text))
		error = replica_hold_as(session->machines, session->machine, &user,
					&session->replica, fault);
	return error;
}

int session_open_disks(struct session *session, struct fault *fault)
{
	struct machine *machine = session->machine;
	char path[PATH_LENGTH];
	int error;

	machine_path(session->machines, machine, "", path, sizeof(path));
	error = os_folder_make(path, 0700);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "cannot make %s: %s", path,
				 strerror(-error));
	error = choose_slots(session, fault);
	/* Before the targets, which may wait for 'blkferry xcp create': that needs the disks. */
	if (!error)
		error = store(session, fault);
	if (!error)
		error = hold_replica(session, fault);
	if (!error)
		error = replica_stream_map(session->replica, session->slots, session->disk_count,
					   fault);
	return error ? error : store(session, fault);
}

void session_close_disks(struct session *session)
{
	replica_release(session->replica);
	session->replica = NULL;
}

static int say_stream(struct session *session, struct fault *fault)
{
	struct journal_place end;
	struct wire_stream_ready ready = {0};
	uint64_t mark;

	replica_stream_end(session->replica, &end, &mark);
	ready.stream = end.stream;
	ready.batch = end.batch;
	ready.position = end.position;
	ready.mark = mark;
	return frame_send(session->link, WIRE_STREAM_READY, &ready, sizeof(ready), NULL, 0, fault);
}

int session_welcome(struct session *session, struct fault *fault)
{
	struct wire_welcome welcome = {
		.version = WIRE_VERSION,
		.connections = (uint16_t)session->connections,
	};
	int error;

	memcpy(welcome.session, session->id, sizeof(welcome.session));
	error = frame_send(session->link, WIRE_WELCOME, &welcome, sizeof(welcome), NULL, 0, fault);
	for (unsigned int i = 0; !error && i < session->disk_count; i++) {
		const struct replica_disk *disk = session_disk(session, i);
		const struct target_info *info = target_info(disk->target);
		bool is_new = replica_disk_is_new(disk);
		struct wire_disk_ready ready = {
			.index = (uint16_t)i,
			.flags = (uint16_t)((is_new ? WIRE_DISK_IS_NEW : 0) |
					    (is_new && info->is_known_zero ? WIRE_DISK_KNOWN_ZERO
									   : 0) |
					    (info->can_flush ? WIRE_DISK_CAN_FLUSH : 0)),
			.target_bytes = info->size_bytes,
			.have_bytes = have_count_bytes(disk->have),
			.epoch = have_epoch(disk->have),
		};

		memcpy(ready.replica, have_replica_id(disk->have), sizeof(ready.replica));
		snprintf(ready.target, sizeof(ready.target), "%s", info->text);
		error = frame_send(session->link, WIRE_DISK_READY, &ready, sizeof(ready), NULL, 0,
				   fault);
	}
	if (!error)
		error = say_stream(session, fault);
	return error;
}
