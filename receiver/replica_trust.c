// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Is the target what the have bitmap says of it? The bitmap lies in the state folder, the target anywhere: a
 * storage that is not mounted, a file that was removed and made again, or was put back from a backup. What
 * was acknowledged to the agent is not there then, and must not be trusted any more (I6).
 *
 * diskN.target-id, beside the bitmap, names the file that the bitmap speaks of, where the target is a file
 * that this machine sees. A target that is empty although it was copied to is not it either.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/os_file.h"
#include "common/units.h"
#include "receiver/replica_internal.h"

/* Does diskN.target-id name the file that is open? One that is not there names none. */
static bool is_named(const char *id_path, const struct target_info *info)
{
	char *text;
	size_t size;
	bool is_same;

	if (os_file_read(id_path, sizeof(info->file_identity), &text, &size) != 0)
		return false;
	is_same = strcmp(text, info->file_identity) == 0;
	free(text);
	return is_same;
}

static int set_store_fault(int error, const char *path, struct fault *fault)
{
	return fault_set(fault, FAULT_STOP, -error, "cannot change %s: %s", path, strerror(-error));
}

/* What was copied is gone: the replica begins again, under another id. */
static int start_over(struct replica *replica, struct replica_disk *disk, const char *have_path,
		      struct fault *fault)
{
	bool is_new;
	int error;

	error = replica_begin_anew(replica, "what was copied to a target is gone", fault);
	if (error)
		return error;
	have_close(disk->have);
	disk->have = NULL;
	error = os_folder_remove(have_path);
	if (error)
		return set_store_fault(error, have_path, fault);
	return have_open(have_path, disk->size_bytes, &disk->have, &is_new, fault);
}

static int distrust(struct replica *replica, struct replica_disk *disk, const char *have_path,
		    struct fault *fault)
{
	const struct target_info *info = target_info(disk->target);
	const char *name = info->path[0] ? info->path : info->text;
	char copied[32];
	int error;

	units_format_bytes(have_count_bytes(disk->have), copied, sizeof(copied));
	if (info->is_known_zero) {
		log_warning("%s: disk %u: %s is empty, and %s were copied to it: was its storage "
			    "not mounted, or the file removed? It is copied anew",
			    replica->machine->name, disk->slot, name, copied);
		return start_over(replica, disk, have_path, fault);
	}
	log_warning("%s: disk %u: %s is another file than the one that %s were copied to: all of "
		    "it is compared",
		    replica->machine->name, disk->slot, name, copied);
	error = replica_forget_history(replica, "a target is another file than before", fault);
	if (error)
		return error;
	replica->is_stream_broken = true;
	error = have_renew(disk->have);
	return error ? set_store_fault(error, have_path, fault) : 0;
}

int replica_trust(struct replica *replica, struct replica_disk *disk, struct fault *fault)
{
	const struct target_info *info = target_info(disk->target);
	char have_path[REPLICA_PATH_LENGTH], id_path[REPLICA_PATH_LENGTH];
	bool is_new, is_same;
	int error;

	replica_disk_path(replica, disk, "have", have_path);
	replica_disk_path(replica, disk, "target-id", id_path);
	error = have_open(have_path, disk->size_bytes, &disk->have, &is_new, fault);
	if (error)
		return error;
	is_same = !info->file_identity[0] || is_named(id_path, info);
	if (have_count_bytes(disk->have) > 0 && (info->is_known_zero || !is_same)) {
		error = distrust(replica, disk, have_path, fault);
		if (error)
			return error;
	}
	/* The file's name comes after the replica's: killed in between, it is distrusted once more. */
	if (!is_same) {
		error = os_file_write_atomic(id_path, info->file_identity,
					     strlen(info->file_identity), 0600);
		if (error)
			return set_store_fault(error, id_path, fault);
	}
	return 0;
}
