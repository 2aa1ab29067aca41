/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a replica share: its body. */
#ifndef BLKFERRY_RECEIVER_REPLICA_INTERNAL_H
#define BLKFERRY_RECEIVER_REPLICA_INTERNAL_H

#include "common/os_thread.h"
#include "receiver/batch.h"
#include "receiver/replica.h"

#define REPLICA_QUEUE_MAX  32	/* batches that wait in memory for the applier */
#define REPLICA_UNUSED_MAX 48	/* batches kept for the next */
#define REPLICA_MARKS_MAX  1024 /* whose times are known until they are confirmed, and applied */

struct replica_mark {
	uint64_t number, time_ns;
	bool is_confirmed;
};

struct replica {
	struct machines *machines;
	struct machine *machine;
	struct replica_disk disks[WIRE_DISKS_MAX]; /* by slot; without a target: not opened */
	unsigned int disk_count;
	unsigned int holds;		   /* under the machine's lock */
	const struct replica_user *opener; /* while it is being opened; may be NULL */

	struct journal *journal;
	struct history *history;
	uint64_t size_limit_bytes; /* journal-size */
	/* The stream's disks; changed only while nothing is unapplied. */
	unsigned int stream_disks;
	unsigned int stream_slots[WIRE_DISKS_MAX];
	uint64_t stream_bytes[WIRE_DISKS_MAX];

	struct os_thread applier, housekeeper;
	struct os_mutex read_lock; /* of what replica_read.c has */
	struct target_channel *readers[WIRE_DISKS_MAX];
	int read_fds[WIRE_DISKS_MAX];

	struct os_mutex lock; /* what follows */
	struct os_cond changed;
	bool is_stopping, is_applier_stopping, has_failed;
	struct fault failure; /* when has_failed */
	/* Newest batches: appended >= durable >= applied >= flushed (and noted as applied in the journal). The
	 * numbers are batch.number: 0 for what was there when it was opened. */
	struct journal_place appended, durable, applied;
	uint64_t appended_number, durable_number, flushed_number;
	bool is_recovering;			/* not all of what was there then is flushed */
	uint64_t appended_bytes, applied_bytes; /* plain, of what came since */
	bool is_drain_wanted;			/* up to batch drain_number */
	uint64_t drain_number;
	bool is_stream_broken; /* what the agent believes to be here may not be: its stream must not go on */
	struct batch *queue_first, **queue_last;
	unsigned int queue_length;
	struct batch *unused;
	unsigned int unused_length;

	bool is_building;
	uint64_t newest_mark, gap_mark; /* newest of all that came; newest when the last gap came */
	struct replica_mark marks[REPLICA_MARKS_MAX];	   /* by number modulo their count */
	struct replica_mark appended_point, durable_point; /* newest confirmed */

	struct os_mutex listener_lock;
	struct replica_listener listener;
};

/* Nothing can be applied, or appended, until all have released it. */
void replica_set_failed(struct replica *replica, const struct fault *fault);
/* Has the one who is opening it left? */
bool replica_is_given_up(const struct replica *replica);

/* replica_disks.c: which disks and the stream's numbers of them; then opens them. */
void replica_choose_disks(struct replica *replica);
int replica_open_disks(struct replica *replica, struct fault *fault);
void replica_close_disk(struct replica *replica, struct replica_disk *disk);
/* diskN.SUFFIX beside the machine's state. */
#define REPLICA_PATH_LENGTH 768
void replica_disk_path(const struct replica *replica, const struct replica_disk *disk,
		       const char *suffix, char ret_path[REPLICA_PATH_LENGTH]);

/* replica_trust.c: opens the have bitmap of a disk whose target is open. If that is not the target that it
 * speaks of, the replica is a new one, or is compared. */
int replica_trust(struct replica *replica, struct replica_disk *disk, struct fault *fault);

/* replica_in_use.c: was a foreign server's target left with writes under way? Called when target and have
 * are open, and before the target is closed. */
int replica_begin_use(struct replica *replica, struct replica_disk *disk, struct fault *fault);
void replica_end_use(struct replica *replica, const struct replica_disk *disk);

/* replica_storage.c: the journal before the disks, the rest after them. */
int replica_open_journal(struct replica *replica, struct fault *fault);
int replica_open_storage(struct replica *replica, struct fault *fault);
/* The journal broke while somebody keeps the replica open: once more, as when it is opened first. */
int replica_reopen_journal(struct replica *replica, struct fault *fault);
/* When all is applied: the newest kept checkpoint is the newest point that is known. */
int replica_load_points(struct replica *replica, struct fault *fault);
void replica_close_storage(struct replica *replica);
/* Before a disk begins anew: what the checkpoints stand on will not be there. history is not open. */
int replica_forget_history(struct replica *replica, const char *why, struct fault *fault);
/* All is applied: an empty journal, by which the agent learns that its stream does not go on here. */
int replica_empty_journal(struct replica *replica, struct fault *fault);
/* Before a disk begins anew: its checkpoints go, and what is unapplied. */
int replica_begin_anew(struct replica *replica, const char *why, struct fault *fault);
/* What the journal holds and the targets lack cannot be had: all disks are compared. The applier does not
 * run. */
int replica_repair(struct replica *replica, const char *why, struct fault *fault);

/* replica_channels.c: by slot, and NULL where a disk is not open; all NULL before. After a failure they are to be
 * closed as well. */
int replica_channels_open(struct replica *replica, struct target_channel *channels[WIRE_DISKS_MAX],
			  struct fault *fault);
/* What was written by them is durable, and after that the have bitmaps. */
int replica_channels_flush(struct replica *replica,
			   struct target_channel *const channels[WIRE_DISKS_MAX],
			   struct fault *fault);
/* What cannot be waited for, so long for each, leaves its target unclean. */
void replica_channels_close(struct target_channel *channels[WIRE_DISKS_MAX], uint64_t stall_ns);

/* replica_read.c: history_read_fn; context is the replica. */
int replica_read(void *context, unsigned int slot, void *data, uint64_t offset, uint32_t length);
void replica_close_readers(struct replica *replica);

/* replica_stream.c */
/* The next durable batch behind *at, opened; moves *at. 1: there is one. 0: none came until deadline_ns (0: at
 * once), or a drain is wanted, or it is stopping. -errno. */
int replica_next_batch(struct replica *replica, struct journal_place *at, uint64_t deadline_ns,
		       struct batch **ret_batch, struct fault *fault);
void replica_free_batches(struct replica *replica);

/* applier.c */
int replica_start_applier(struct replica *replica, struct fault *fault);
void replica_stop_applier(struct replica *replica);
/* Tells who listens. */
void replica_tell_failure(struct replica *replica, const struct fault *fault);

#endif
