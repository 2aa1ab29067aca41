// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A replica's journal and history: opened after its disks, repaired when they cannot be trusted, thinned once a
 * second, and kept within journal-size.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "receiver/replica_internal.h"
#include "receiver/retention.h"

#define THIN_NS (1 * NS_PER_S)

static void folder_path(const struct replica *replica, const char *name,
			char ret_path[REPLICA_PATH_LENGTH])
{
	machine_path(replica->machines, replica->machine, name, ret_path, REPLICA_PATH_LENGTH);
}

int replica_forget_history(struct replica *replica, const char *why, struct fault *fault)
{
	char path[REPLICA_PATH_LENGTH];
	int error;

	folder_path(replica, "history", path);
	if (!os_file_exists(path))
		return 0;
	log_warning("%s: its checkpoints are dropped: %s", replica->machine->name, why);
	error = os_folder_remove(path);
	return error ? fault_set(fault, FAULT_STOP, -error, "cannot remove %s: %s", path,
				 strerror(-error))
		     : 0;
}

/* Another id for what the slot's have bitmap names: agents compare all of it. */
static int renew(struct replica *replica, struct replica_disk *disk, struct fault *fault)
{
	char path[REPLICA_PATH_LENGTH];
	struct have *have = disk->have;
	bool is_new;
	int error;

	replica_disk_path(replica, disk, "have", path);
	if (!have && !os_file_exists(path))
		return 0;
	error = have ? 0 : have_open(path, disk->size_bytes, &have, &is_new, fault);
	if (error)
		return error;
	error = have_renew(have);
	if (!disk->have)
		have_close(have);
	return error ? fault_set(fault, FAULT_STOP, -error, "cannot store what the replica has: %s",
				 strerror(-error))
		     : 0;
}

/* The order matters when it is killed midway: as long as the journal is there, this is done again. */
int replica_repair(struct replica *replica, const char *why, struct fault *fault)
{
	char path[REPLICA_PATH_LENGTH];
	int error = 0;

	log_error("%s: %s. What the journal holds and the targets lack is given up; all disks are "
		  "compared with the source",
		  replica->machine->name, why);
	for (unsigned int i = 0; !error && i < replica->disk_count; i++)
		error = renew(replica, &replica->disks[i], fault);
	folder_path(replica, "journal", path);
	if (!error)
		error = journal_discard(path, fault);
	replica->is_stream_broken = true;
	return error;
}

/* Status looks at it while it is exchanged. Returns the one before. */
static struct journal *set_journal(struct replica *replica, struct journal *journal)
{
	struct machine *machine = replica->machine;
	struct journal *old;

	os_mutex_lock(&machine->lock);
	old = replica->journal;
	replica->journal = journal;
	os_mutex_unlock(&machine->lock);
	return old;
}

int replica_distrust(struct replica *replica, struct fault *fault)
{
	int error = 0;

	for (unsigned int i = 0; !error && i < replica->disk_count; i++)
		error = renew(replica, &replica->disks[i], fault);
	replica_note_building(replica);
	return error;
}

int replica_open_journal(struct replica *replica, struct fault *fault)
{
	char path[REPLICA_PATH_LENGTH];
	struct journal_place end, applied;
	struct journal *journal;
	int error;

	folder_path(replica, "journal", path);
	error = journal_open(path, &journal, &end, &applied, fault);
	if (error == -EBADMSG) {
		char why[FAULT_TEXT_MAX];

		snprintf(why, sizeof(why), "%s", fault->text);
		error = replica_repair(replica, why, fault);
		if (!error)
			error = journal_open(path, &journal, &end, &applied, fault);
	}
	if (error)
		return error;
	(void)set_journal(replica, journal);
	os_mutex_lock(&replica->lock);
	replica->appended = replica->durable = end;
	replica->applied = applied;
	replica->is_recovering = !journal_place_is_same(&end, &applied);
	replica->appended_number = replica->durable_number = replica->flushed_number = 0;
	replica->appended_bytes = replica->applied_bytes = 0;
	replica->drain_number = 0;
	replica->is_drain_wanted = false;
	os_mutex_unlock(&replica->lock);
	return 0;
}

int replica_empty_journal(struct replica *replica, struct fault *fault)
{
	char path[REPLICA_PATH_LENGTH];
	int error;

	log_info("%s: its stream begins anew", replica->machine->name);
	replica_stop_applier(replica);
	if (replica->has_failed)
		return fault_set(fault, FAULT_RETRY, EIO, "%s", replica->failure.text);
	journal_close(set_journal(replica, NULL));
	folder_path(replica, "journal", path);
	error = journal_discard(path, fault);
	if (!error)
		error = replica_open_journal(replica, fault);
	if (!error)
		error = replica_start_applier(replica, fault);
	replica->is_stream_broken = error != 0;
	return error;
}

int replica_reopen_journal(struct replica *replica, struct fault *fault)
{
	int error;

	log_warning("%s: its journal failed and is opened anew", replica->machine->name);
	replica_stop_applier(replica);
	if (replica->has_failed)
		return fault_set(fault, FAULT_RETRY, EIO, "%s", replica->failure.text);
	journal_close(set_journal(replica, NULL));
	/* What was appended and is not durable was not promised: it comes again. */
	replica_free_batches(replica);
	os_mutex_lock(&replica->lock);
	replica->appended_point = replica->durable_point;
	os_mutex_unlock(&replica->lock);
	error = replica_open_journal(replica, fault);
	return error ? error : replica_start_applier(replica, fault);
}

int replica_begin_anew(struct replica *replica, const char *why, struct fault *fault)
{
	int error = replica_forget_history(replica, why, fault);

	replica->is_stream_broken = true;
	if (error || !replica->is_recovering)
		return error;
	/* Old records on a new target would be taken for what it was found to hold. */
	journal_close(set_journal(replica, NULL));
	error = replica_repair(replica, why, fault);
	return error ? error : replica_open_journal(replica, fault);
}

static int open_history(struct replica *replica, struct fault *fault)
{
	const struct receiver_options *options = machines_options(replica->machines);
	struct history_rule rules[HISTORY_RULES_MAX];
	char path[REPLICA_PATH_LENGTH];
	uint64_t disk_bytes[WIRE_DISKS_MAX];
	struct history_setup setup = {
		.folder = path,
		.disks = replica->disk_count,
		.disk_bytes = disk_bytes,
		.rules = rules,
		.read = replica_read,
		.context = replica,
	};
	int error;

	replica->size_limit_bytes = options_journal_size(options, replica->machine->name);
	setup.size_limit_bytes = replica->size_limit_bytes;
	error = retention_parse(options_retention(options, replica->machine->name), rules,
				&setup.rule_count, fault);
	if (error)
		return error;
	for (unsigned int i = 0; i < replica->disk_count; i++)
		disk_bytes[i] = replica->disks[i].size_bytes;
	folder_path(replica, "history", path);
	return history_open(&setup, &replica->history, fault);
}

int replica_load_points(struct replica *replica, struct fault *fault)
{
	struct history_point *points = NULL;
	unsigned int count = 0;
	int error = history_list(replica->history, &points, &count);

	if (error)
		return fault_set(fault, FAULT_RETRY, -error, "cannot list the checkpoints: %s",
				 strerror(-error));
	while (count && (points[count - 1].flags & HISTORY_MIXED))
		count--;
	if (count)
		replica->appended_point = replica->durable_point = (struct replica_mark){
			.number = points[count - 1].number, .time_ns = points[count - 1].time_ns};
	free(points);
	return 0;
}

static void keep_house(void *argument)
{
	struct replica *replica = argument;
	uint64_t complained_ns = 0;

	os_mutex_lock(&replica->lock);
	while (!replica->is_stopping) {
		struct fault fault = {0};

		os_mutex_unlock(&replica->lock);
		if (history_thin(replica->history, os_realtime_ns(), &fault) &&
		    os_monotonic_ns() - complained_ns > 60 * NS_PER_S) {
			complained_ns = os_monotonic_ns();
			log_warning("%s: checkpoints cannot be thinned, ignoring: %s",
				    replica->machine->name, fault.text);
		}
		if (history_bytes(replica->history) > replica->size_limit_bytes &&
		    os_monotonic_ns() - complained_ns > 600 * NS_PER_S) {
			complained_ns = os_monotonic_ns();
			log_warning("%s: labelled checkpoints and open views alone need more than "
				    "journal-size",
				    replica->machine->name);
		}
		os_mutex_lock(&replica->lock);
		if (!replica->is_stopping)
			(void)os_cond_wait_until(&replica->changed, &replica->lock,
						 os_monotonic_ns() + THIN_NS);
	}
	os_mutex_unlock(&replica->lock);
}

int replica_open_storage(struct replica *replica, struct fault *fault)
{
	int error = open_history(replica, fault);

	if (!error)
		error = replica_start_applier(replica, fault);
	if (!error && os_thread_start(&replica->housekeeper, "housekeeper", keep_house, replica))
		error = fault_set(fault, FAULT_RETRY, EAGAIN, "cannot start a thread");
	return error;
}

void replica_close_storage(struct replica *replica)
{
	os_mutex_lock(&replica->lock);
	replica->is_stopping = true;
	os_mutex_unlock(&replica->lock);
	replica_stop_applier(replica);
	os_thread_join(&replica->housekeeper);
	if (replica->history)
		history_close(replica->history);
	if (replica->journal)
		journal_close(set_journal(replica, NULL));
	replica_close_readers(replica);
	replica->history = NULL;
}

void replica_count_dropped(struct replica *replica, unsigned int count)
{
	struct machine *machine = replica->machine;

	os_mutex_lock(&machine->lock);
	machine->dropped_points += count;
	machine->dropped_ns = os_realtime_ns();
	os_mutex_unlock(&machine->lock);
}

static bool drop_oldest(struct replica *replica)
{
	struct fault fault = {0};

	if (history_drop_oldest(replica->history, &fault))
		return false;
	log_warning("%s: no space left: the oldest checkpoint was dropped", replica->machine->name);
	replica_count_dropped(replica, 1);
	return true;
}

bool replica_make_room(struct replica *replica)
{
	char journal[REPLICA_PATH_LENGTH], history[REPLICA_PATH_LENGTH];
	struct stat of_journal, of_history;

	folder_path(replica, "journal", journal);
	folder_path(replica, "history", history);
	if (!stat(journal, &of_journal) && !stat(history, &of_history) &&
	    of_journal.st_dev != of_history.st_dev)
		return false;
	return drop_oldest(replica);
}

/* None is lost without a word, least of all one that a person has named. */
static int drop_all(struct replica *replica, struct fault *fault)
{
	const char *name = replica->machine->name;
	struct history_point *points = NULL;
	unsigned int count = 0;
	int error;

	log_error("%s: no space left for what checkpoints need: all of them are dropped, and "
		  "replication goes on",
		  name);
	(void)history_list(replica->history, &points, &count); /* no memory: it says less */
	error = history_clear(replica->history, fault);
	for (unsigned int i = 0; !error && i < count; i++)
		if (points[i].label[0])
			log_error("%s: checkpoint #%llu \"%s\" is dropped", name,
				  (unsigned long long)points[i].number, points[i].label);
	if (!error)
		replica_count_dropped(replica, count);
	free(points);
	return error;
}

bool replica_stream_has_room(struct replica *replica)
{
	struct fault fault = {0};
	bool is_applied;

	while (journal_bytes(replica->journal) + history_bytes(replica->history) >
	       replica->size_limit_bytes) {
		if (!history_drop_oldest(replica->history, &fault)) {
			log_info("%s: journal-size is reached: the oldest checkpoint was dropped",
				 replica->machine->name);
			continue;
		}
		/* Waiting only helps against a journal that is not applied yet. */
		os_mutex_lock(&replica->lock);
		is_applied = replica->appended_bytes == replica->applied_bytes;
		os_mutex_unlock(&replica->lock);
		return is_applied;
	}
	return true;
}

/* A full disk takes checkpoints, never a write. */
int replica_protect(struct replica *replica, const struct history_extent *extents,
		    unsigned int count, struct fault *fault)
{
	int error = history_protect(replica->history, extents, count, fault);

	while (error == -ENOSPC && drop_oldest(replica))
		error = history_protect(replica->history, extents, count, fault);
	if (error != -ENOSPC)
		return error;
	error = drop_all(replica, fault);
	return error ? error : history_protect(replica->history, extents, count, fault);
}

void replica_note_building(struct replica *replica)
{
	uint64_t newest = history_newest_mark(replica->history);

	os_mutex_lock(&replica->lock);
	replica->is_building = true;
	replica->gap_mark = newest;
	os_mutex_unlock(&replica->lock);
}

void replica_get_status(struct replica *replica, struct replica_status *ret_status)
{
	struct history_point *points = NULL;
	unsigned int count = 0;

	*ret_status = (struct replica_status){
		.journal_bytes = replica->journal ? journal_bytes(replica->journal) : 0,
		.history_bytes = history_bytes(replica->history),
		.size_limit_bytes = replica->size_limit_bytes,
	};
	if (!history_list(replica->history, &points, &count) && count) {
		ret_status->points = count;
		ret_status->oldest_point_ns = points[0].time_ns;
	}
	free(points);
	os_mutex_lock(&replica->lock);
	ret_status->is_building = replica->is_building;
	ret_status->newest_point_ns = replica->durable_point.time_ns;
	ret_status->unapplied_bytes = replica->appended_bytes - replica->applied_bytes;
	os_mutex_unlock(&replica->lock);
}
