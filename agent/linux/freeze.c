/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Freezing all file systems of the machine's disks at once. A thread does the freezing, since one that
 * hangs cannot be interrupted: freezer_freeze returns at the deadline all the same, and what the thread
 * freezes later is thawed again (watchdog.h has the rule). The freezer lives until both its owner and
 * the thread have let go of it.
 */
#include "agent/linux/freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>

#include "common/os_clock.h"
#include "common/os_thread.h"

#define FREEZER_TEXT_MAX 512

struct freezer {
	struct freeze_list list;
	struct freeze_target targets[FREEZE_LIST_MAX];
	struct freeze_ops ops;
	struct watchdog watchdog;
	char text[FREEZER_TEXT_MAX];
	atomic_int references;
	bool has_started;

	struct os_mutex lock; /* for the three below */
	struct os_cond has_ended;
	bool is_freezing; /* the thread is at it */
	int result;
	unsigned int failed; /* index of what failed, when result is not 0 */
};

static const struct freeze_ops real_ops = {freeze_method_freeze, freeze_method_thaw, fence_run};

/* --- opening ---------------------------------------------------------------------------------- */

/* A mount may be hidden below a later one: is it the file system that we mean? btrfs gives each
 * subvolume a device number of its own, so there the type of it has to do. */
static bool is_meant(const struct freeze_entry *entry, const char *path, const struct stat *info)
{
	struct statfs type;

	if (strcmp(entry->type, "btrfs") == 0)
		return statfs(path, &type) == 0 && type.f_type == BTRFS_SUPER_MAGIC;
	if (entry->major == 0)
		return true;
	return major(info->st_dev) == entry->major && minor(info->st_dev) == entry->minor;
}

static int open_path(const struct system_roots *roots, const struct freeze_entry *entry,
		     const struct freeze_path *way)
{
	char path[SYSFS_PATH_MAX];
	struct stat info;
	int fd;

	if (way->pid)
		snprintf(path, sizeof(path), "%s/%u/root%s", roots->proc, way->pid, way->point);
	else
		snprintf(path, sizeof(path), "%s", way->point);
	/* A file may be bound to a mount point as well; but opening a device or a pipe does things. */
	if (stat(path, &info) < 0)
		return -errno;
	if ((!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode)) || !is_meant(entry, path, &info))
		return -ENOENT;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_entry(const struct system_roots *roots, const struct freeze_entry *entry,
		      struct freeze_target *target, struct fault *fault)
{
	int result = -ENOENT;

	for (unsigned int i = 0; i < entry->path_count && result < 0; i++)
		result = open_path(roots, entry, &entry->paths[i]);
	if (result < 0)
		return fault_set(fault, FAULT_STOP, -result,
				 "cannot reach the file system at %s (%s): %s",
				 entry->path_count ? entry->paths[0].point : "?", entry->type,
				 result == -ENOENT ? "its mount points are hidden by others"
						   : strerror(-result));
	target->fd = result;
	target->method = entry->method;
	return 0;
}

static void describe(struct freezer *freezer)
{
	size_t length = 0;

	for (unsigned int i = freezer->list.count; i-- > 0;) {
		const struct freeze_entry *entry = &freezer->list.entries[i];
		size_t room = sizeof(freezer->text) - length;
		char item[FREEZE_POINT_MAX + 40];

		snprintf(item, sizeof(item), "%s%s (%s)", length ? ", " : "", entry->paths[0].point,
			 entry->type);
		if (strlen(item) + sizeof(", ...") > room) {
			snprintf(freezer->text + length, room, ", ...");
			return;
		}
		length += (size_t)snprintf(freezer->text + length, room, "%s", item);
	}
}

/* Nothing is left to the watchdog. */
static bool is_settled(const struct freezer *freezer)
{
	const struct watchdog_board *board = freezer->watchdog.board;

	if (board && watchdog_is_committed(board))
		return false;
	for (unsigned int i = 0; board && i < freezer->list.count; i++)
		if (atomic_load(&board->states[i]) != FREEZE_IDLE)
			return false;
	return true;
}

static void destroy(struct freezer *freezer)
{
	if (is_settled(freezer))
		watchdog_end(&freezer->watchdog);
	else
		watchdog_abandon(&freezer->watchdog);
	watchdog_board_free(&freezer->watchdog);
	for (unsigned int i = 0; i < freezer->list.count; i++)
		if (freezer->targets[i].fd >= 0)
			close(freezer->targets[i].fd);
	freeze_list_fini(&freezer->list);
	os_cond_fini(&freezer->has_ended);
	os_mutex_fini(&freezer->lock);
	free(freezer);
}

int freezer_open(const struct system_roots *roots, const struct freeze_list *list,
		 const struct freeze_ops *ops, struct freezer **ret_freezer, struct fault *fault)
{
	struct freezer *freezer = calloc(1, sizeof(*freezer));
	int result = 0;

	if (!freezer)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	atomic_store(&freezer->references, 1);
	os_mutex_init(&freezer->lock);
	os_cond_init(&freezer->has_ended);
	freezer->ops = *ops;
	freezer->list.entries = calloc(list->count + 1, sizeof(*list->entries));
	if (freezer->list.entries)
		freezer->list.count = list->count;
	else
		result = fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	for (unsigned int i = 0; i < freezer->list.count; i++) {
		freezer->list.entries[i] = list->entries[i];
		freezer->targets[i].fd = -1;
	}
	for (unsigned int i = 0; result == 0 && i < list->count; i++)
		result = open_entry(roots, &list->entries[i], &freezer->targets[i], fault);
	if (result == 0 && watchdog_board_new(&freezer->watchdog) < 0)
		result = fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	if (result < 0) {
		destroy(freezer);
		return result;
	}
	describe(freezer);
	*ret_freezer = freezer;
	return 0;
}

int freezer_new(const struct tracked_disk *disks, unsigned int count, struct freezer **ret_freezer,
		struct fault *fault)
{
	struct freeze_list list;
	int result = freeze_list_load(&system_roots_default, disks, count, &list, fault);

	if (result < 0)
		return result;
	result = freezer_open(&system_roots_default, &list, &real_ops, ret_freezer, fault);
	freeze_list_fini(&list);
	return result;
}

int freezer_check(struct freezer *freezer, struct fault *fault)
{
	char text[256] = "";
	size_t length = 0;

	for (unsigned int i = 0; i < freezer->list.count; i++) {
		const struct freeze_entry *entry = &freezer->list.entries[i];

		if (entry->method != FREEZE_IMPOSSIBLE || length >= sizeof(text))
			continue;
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s (%s)",
					   length ? ", " : "", entry->paths[0].point, entry->type);
	}
	if (length == 0)
		return 0;
	return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
			 "cannot be frozen: %s; unmount it, or remount it read-only", text);
}

unsigned int freezer_count(const struct freezer *freezer)
{
	return freezer->list.count;
}

const char *freezer_text(const struct freezer *freezer)
{
	return freezer->text;
}

void freezer_sync(struct freezer *freezer)
{
	for (unsigned int i = 0; i < freezer->list.count; i++)
		(void)syncfs(freezer->targets[i].fd); /* an error is the writers' to see */
}

/* --- freezing --------------------------------------------------------------------------------- */

static void run_freezing(void *argument)
{
	struct freezer *freezer = argument;
	unsigned int i = 0;
	int result = 0;
	bool is_last;

	while (result == 0 && i < freezer->list.count) {
		result = watchdog_freeze_one(freezer->watchdog.board, i, &freezer->targets[i],
					     &freezer->ops);
		if (result == 0)
			i++;
	}
	os_mutex_lock(&freezer->lock);
	freezer->result = result;
	freezer->failed = i;
	freezer->is_freezing = false;
	/* In the lock, so that who sees that we have ended sees that we have let go as well. */
	is_last = atomic_fetch_sub(&freezer->references, 1) == 1;
	os_cond_broadcast(&freezer->has_ended);
	os_mutex_unlock(&freezer->lock);
	if (is_last)
		destroy(freezer);
}

/* Waits for the thread. Returns false when the deadline came first. */
static bool await_freezing(struct freezer *freezer, uint64_t deadline_ns)
{
	int result = 0;

	os_mutex_lock(&freezer->lock);
	while (freezer->is_freezing && result == 0)
		result = os_cond_wait_until(&freezer->has_ended, &freezer->lock, deadline_ns);
	result = freezer->is_freezing;
	os_mutex_unlock(&freezer->lock);
	return !result;
}

static int fault_at(const struct freezer *freezer, unsigned int index, int error,
		    struct fault *fault)
{
	const struct freeze_entry *entry = &freezer->list.entries[index];
	const char *point = entry->paths[0].point;

	if (error == EBUSY && entry->method == FREEZE_BY_READ_ONLY)
		return fault_set(fault, FAULT_STOP, EBUSY,
				 "%s (%s) cannot be frozen, and cannot be made read-only either "
				 "since a file on it is open for writing",
				 point, entry->type);
	if (error == EBUSY)
		return fault_set(fault, FAULT_STOP, EBUSY,
				 "%s (%s) is frozen already, by something else (a backup?)", point,
				 entry->type);
	return fault_set(fault, FAULT_STOP, error, "%s (%s) cannot be frozen: %s", point,
			 entry->type, strerror(error));
}

static int fault_late(const struct freezer *freezer, struct fault *fault)
{
	for (unsigned int i = 0; i < freezer->list.count; i++)
		if (atomic_load(&freezer->watchdog.board->states[i]) == FREEZE_FREEZING)
			return fault_set(fault, FAULT_STOP, ETIMEDOUT,
					 "%s (%s) did not freeze in time: something is stuck "
					 "writing to it, or its disk is slow",
					 freezer->list.entries[i].paths[0].point,
					 freezer->list.entries[i].type);
	return fault_set(fault, FAULT_STOP, ETIMEDOUT, "the file systems did not freeze in time");
}

static void expedite(struct freezer *freezer)
{
	if (freeze_expedite_begin())
		atomic_store(&freezer->watchdog.board->is_expedited, true);
}

static void end_expedite(struct freezer *freezer)
{
	if (atomic_exchange(&freezer->watchdog.board->is_expedited, false))
		freeze_expedite_end();
}

static int start_freezing(struct freezer *freezer, uint64_t deadline_ns, struct fault *fault)
{
	struct os_thread thread;
	int result = watchdog_start(&freezer->watchdog, freezer->targets, freezer->list.count,
				    &freezer->ops, deadline_ns);

	if (result < 0)
		return fault_set(fault, FAULT_RETRY, -result,
				 "cannot start the watchdog, without which nothing is frozen: %s",
				 strerror(-result));
	expedite(freezer);
	freezer->is_freezing = true;
	atomic_fetch_add(&freezer->references, 1);
	result = os_thread_start(&thread, "freeze", run_freezing, freezer);
	if (result < 0) {
		freezer->is_freezing = false;
		atomic_fetch_sub(&freezer->references, 1);
		return fault_set(fault, FAULT_RETRY, -result, "cannot start a thread: %s",
				 strerror(-result));
	}
	pthread_detach(thread.handle);
	return 0;
}

int freezer_freeze(struct freezer *freezer, uint64_t deadline_ns, struct fault *fault)
{
	int result;

	if (freezer->has_started)
		return fault_set(fault, FAULT_STOP, EALREADY, "a freezer freezes once");
	freezer->has_started = true;
	result = start_freezing(freezer, deadline_ns, fault);
	if (result == 0 && !await_freezing(freezer, deadline_ns))
		result = fault_late(freezer, fault);
	else if (result == 0 && freezer->result == -ECANCELED)
		result = fault_late(freezer, fault);
	else if (result == 0 && freezer->result < 0)
		result = fault_at(freezer, freezer->failed, -freezer->result, fault);
	else if (result == 0 && !freezer_is_frozen(freezer))
		result = fault_late(freezer, fault);
	if (result < 0)
		freezer_thaw(freezer);
	end_expedite(freezer);
	return result;
}

static void thaw_all(struct freezer *freezer)
{
	if (watchdog_thaw_all(freezer->watchdog.board, freezer->targets, freezer->list.count,
			      &freezer->ops) == 0)
		watchdog_end(&freezer->watchdog);
	else /* the thread hangs, or something would not thaw: it goes on trying */
		watchdog_nudge(&freezer->watchdog);
}

void freezer_thaw(struct freezer *freezer)
{
	struct watchdog_board *board = freezer->watchdog.board;

	if (!freezer->has_started)
		return;
	(void)watchdog_decide(board, VERDICT_OPEN, VERDICT_THAWED);
	if (!watchdog_is_committed(board))
		thaw_all(freezer);
}

bool freezer_is_frozen(struct freezer *freezer)
{
	if (watchdog_is_committed(freezer->watchdog.board))
		return true;
	for (unsigned int i = 0; i < freezer->list.count; i++)
		if (atomic_load(&freezer->watchdog.board->states[i]) != FREEZE_FROZEN)
			return false;
	/* Without a watchdog it is a freeze that nobody would end: as good as thawed. */
	return atomic_load(&freezer->watchdog.board->verdict) == VERDICT_OPEN &&
	       watchdog_lives(&freezer->watchdog);
}

int freezer_commit(struct freezer *freezer, enum fence_kind fence, struct fault *fault)
{
	if (!freezer_is_frozen(freezer) ||
	    !watchdog_commit(freezer->watchdog.board, fence, os_monotonic_ns() + FREEZER_FENCE_NS))
		return fault_set(fault, FAULT_STOP, ETIMEDOUT,
				 "too late: the file systems were thawed at the deadline");
	/* From the deadline of the freeze to that of the fence, which may be the earlier one. */
	watchdog_nudge(&freezer->watchdog);
	return 0;
}

int freezer_uncommit(struct freezer *freezer)
{
	if (!watchdog_decide(freezer->watchdog.board, VERDICT_COMMITTED, VERDICT_THAWED))
		return -ETIMEDOUT;
	thaw_all(freezer);
	return 0;
}

pid_t freezer_watchdog_pid(const struct freezer *freezer)
{
	return freezer->watchdog.pid;
}

void freezer_free(struct freezer *freezer)
{
	bool is_last;

	if (!freezer)
		return;
	freezer_thaw(freezer);
	os_mutex_lock(&freezer->lock);
	is_last = atomic_fetch_sub(&freezer->references, 1) == 1;
	os_mutex_unlock(&freezer->lock);
	if (is_last)
		destroy(freezer);
}
