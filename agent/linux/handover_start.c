/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Goes on from the record of the last stop; see handover_start.h. */
#include "agent/linux/handover_start.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "agent/linux/handover_place.h"
#include "agent/linux/handover_watch.h"
#include "agent/platform.h"
#include "agent/tracker.h"
#include "common/os_clock.h"

#define LOOK_NS		(50 * NS_PER_MS)
#define BPFFS		"/sys/fs/bpf"
#define NO_STATE_FOLDER "/nonexistent" /* nothing is mounted: the self-test has no file to write */

struct starting {
	struct handover_plan plan;
	struct handover record;
	struct tracked_disk disks[TRACKER_DISKS_MAX];
	unsigned int saved[TRACKER_DISKS_MAX]; /* which of the record's disk i is */
	unsigned int count;
	struct tracker *tracker;
	uint64_t deadline_ns;
};

/* --- the record ---------------------------------------------------------------------------------------- */

static int find_disk(struct starting *starting, char ret_path[128], struct fault *fault)
{
	int error;

	while ((error = handover_find_disk(&starting->plan, ret_path, fault)) != 0 &&
	       os_monotonic_ns() < starting->deadline_ns)
		os_sleep_ns(LOOK_NS);
	return error;
}

/* Why a state that is not CLEAN is none to go on from. */
static int fault_state(const struct handover_block *block, const struct handover_plan *plan,
		       struct fault *fault)
{
	char text[START_TEXT_MAX] = "";

	if (!handover_block_is_whole(block, plan->file_id, 0))
		return fault_set(fault, FAULT_RESYNC, EBADMSG,
				 "the record of the last stop is damaged");
	if (block->record_bytes && block->record_bytes < sizeof(text) - 32)
		memcpy(text, block->payload, block->record_bytes);
	switch ((enum handover_state)block->state) {
	case HANDOVER_REFUSED:
		return fault_set(fault, FAULT_RESYNC, ESTALE, "the last stop was not clean: %s",
				 text);
	case HANDOVER_WITHDRAWN:
		return fault_set(fault, FAULT_RESYNC, ESTALE, "%s", text);
	case HANDOVER_EMPTY:
		return fault_set(fault, FAULT_RESYNC, ESTALE,
				 "no clean stop was recorded: it is the first start since that was "
				 "set up");
	case HANDOVER_CONSUMED:
	case HANDOVER_CLEAN:
		break;
	}
	return fault_set(fault, FAULT_RESYNC, ESTALE,
			 "no clean stop was recorded (a crash, a reset, a power cut, or a forced "
			 "reboot)");
}

/* Reads the record and uses it up. What cannot be used up is not believed. */
static int take_record(struct starting *starting, const char *path, struct fault *fault)
{
	struct handover_block *blocks = handover_new_blocks();
	struct handover_plan place;
	struct fault why = {0};
	void *record = NULL;
	uint32_t bytes = 0;
	int fd = -1, error, used;

	error = blocks ? handover_open_place(&starting->plan, path, &place, &fd, fault)
		       : fault_set(fault, FAULT_RESYNC, ENOMEM, "out of memory");
	if (!error)
		error = handover_read(fd, &place, 0, 1, blocks, fault);
	if (!error && (!handover_block_is_whole(&blocks[0], starting->plan.file_id, 0) ||
		       blocks[0].state != HANDOVER_CLEAN))
		error = fault_state(&blocks[0], &starting->plan, fault);
	if (error)
		goto out;
	error = handover_read(fd, &place, 0, HANDOVER_BLOCKS, blocks, &why);
	used = handover_set_state(fd, &place, HANDOVER_CONSUMED, NULL, fault);
	if (!used && !error)
		error = handover_gather(blocks, starting->plan.file_id, &record, &bytes, &why);
	if (!used && !error)
		error = handover_decode(record, bytes, &starting->record, &why);
	if (used)
		error = used;
	else if (error)
		*fault = why;
out:
	free(record);
	free(blocks);
	if (fd >= 0)
		close(fd);
	return error;
}

/* --- the disks ----------------------------------------------------------------------------------------- */

/* Only what is certainly the same disk; whether its contents are, is seen later. */
static void match_disks(struct starting *starting, const struct found_disk *found,
			unsigned int count)
{
	starting->count = 0;
	for (unsigned int s = 0; s < starting->record.head.disks; s++) {
		const struct handover_disk *saved = &starting->record.disks[s];
		int match = -1;

		for (unsigned int i = 0; i < count; i++) {
			if (strcmp(found[i].disk.identity, saved->identity) != 0 ||
			    found[i].disk.size_bytes != saved->size_bytes)
				continue;
			match = match < 0 ? (int)i : -2;
		}
		if (match < 0)
			continue;
		starting->saved[starting->count] = s;
		starting->disks[starting->count++] = found[match].disk;
	}
}

static int find_disks(struct starting *starting, struct fault *fault)
{
	struct found_disk *found;
	unsigned int count;

	for (;;) {
		int error = disks_find(NULL, &found, &count, fault);

		if (error)
			return error;
		match_disks(starting, found, count);
		free(found);
		if (starting->count == starting->record.head.disks ||
		    os_monotonic_ns() >= starting->deadline_ns)
			break;
		os_sleep_ns(LOOK_NS);
	}
	if (starting->count == 0)
		return fault_set(fault, FAULT_RESYNC, ENODEV,
				 "none of the disks was there in time");
	return 0;
}

static int mount_bpffs(struct fault *fault)
{
	struct statfs fs;

	if (statfs(BPFFS, &fs) == 0 && fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		return fault_set(fault, FAULT_RESYNC, errno, "cannot mount " BPFFS ": %s",
				 strerror(errno));
	return 0;
}

static int begin_tracking(struct starting *starting, struct fault *fault)
{
	const struct handover_record *head = &starting->record.head;
	struct tracker_options options = {
		.pin_folder = head->pin_folder,
		.state_folder = NO_STATE_FOLDER,
		.bitmap_bytes = head->bitmap_bytes,
		.ring_bytes = head->ring_bytes,
	};
	int error = mount_bpffs(fault);

	if (!error)
		error = tracker_bpf_open(&options, starting->disks, starting->count,
					 &starting->tracker, fault);
	return error ? fault_prefix(fault, "tracking could not begin before the file systems were "
					   "mounted")
		     : 0;
}

/* Has anybody used the disk since? */
static int check_watches(const struct starting *starting, unsigned int disk, struct fault *fault)
{
	unsigned int saved = starting->saved[disk];
	const char *path = starting->disks[disk].path;
	int fd, error = handover_open_disk(path, &fd, fault);

	if (error)
		return error;
	for (uint32_t i = 0; i < starting->record.head.watches && !error; i++) {
		const struct handover_watch *watch = &starting->record.watches[i];
		uint8_t digest[sizeof(watch->digest)];

		if (watch->disk != saved)
			continue;
		error = watch_digest(fd, watch->offset, watch->length, digest);
		if (error)
			fault_set(fault, FAULT_RESYNC, -error, "%s cannot be read: %s", path,
				  strerror(-error));
		else if (memcmp(digest, watch->digest, sizeof(digest)) != 0)
			error = fault_set(
				fault, FAULT_RESYNC, ESTALE,
				"%s was changed while this system was off (another system "
				"used it, or it was restored)",
				path);
	}
	close(fd);
	return error;
}

static void adopt(struct starting *starting, unsigned int disk)
{
	struct tracker *tracker = starting->tracker;
	const struct handover_disk *saved = &starting->record.disks[starting->saved[disk]];
	struct tracker_disk_memory *memory = tracker->ops->memory(tracker, disk);
	struct tracker_disk_memory known = saved->memory;
	struct bitmap dirty, todo;

	tracker->ops->bitmaps(tracker, disk, &dirty, &todo);
	handover_list(&starting->record, starting->saved[disk], &todo,
		      tracker->ops->block_bytes(tracker, disk));
	/* In this order: with the id, and not before, the bits are whole. */
	memset(known.replica_id, 0, sizeof(known.replica_id));
	*memory = known;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy(memory->replica_id, saved->memory.replica_id, sizeof(memory->replica_id));
}

static int go_on(struct starting *starting, struct fault *fault)
{
	unsigned int adopted = 0;
	int error = find_disks(starting, fault);

	if (!error)
		error = begin_tracking(starting, fault);
	if (error)
		return error;
	for (unsigned int i = 0; i < starting->count; i++) {
		struct fault why = {0};

		if (check_watches(starting, i, &why) != 0) {
			/* The first is told. */
			if (!error)
				*fault = why;
			error = -fault->error;
			continue;
		}
		adopt(starting, i);
		adopted++;
	}
	starting->tracker->ops->close(starting->tracker);
	if (!error && adopted < starting->record.head.disks)
		error = fault_set(fault, FAULT_RESYNC, ENODEV,
				  "%u of %u disks were not there in time",
				  starting->record.head.disks - adopted,
				  starting->record.head.disks);
	return error;
}

void handover_start(const char *plan_path, uint64_t deadline_ns, struct start_note *ret_note,
		    char ret_run_folder[128])
{
	struct starting *starting = calloc(1, sizeof(*starting));
	struct fault fault = {0};
	char path[128];
	int error;

	ret_run_folder[0] = '\0';
	*ret_note = (struct start_note){.kind = START_COMPARED, .text = "out of memory"};
	if (!starting)
		return;
	starting->deadline_ns = deadline_ns;
	error = handover_read_plan(plan_path, &starting->plan, &fault);
	if (!error) {
		memcpy(ret_run_folder, starting->plan.run_folder, 128);
		error = find_disk(starting, path, &fault);
	}
	if (!error)
		error = take_record(starting, path, &fault);
	if (!error)
		error = go_on(starting, &fault);
	if (error) {
		snprintf(ret_note->text, sizeof(ret_note->text), "%.*s",
			 (int)sizeof(ret_note->text) - 1, fault.text);
	} else {
		ret_note->kind = START_ORDERLY;
		snprintf(ret_note->text, sizeof(ret_note->text),
			 "restarted in order: nothing to compare");
	}
	handover_fini(&starting->record);
	free(starting);
}
