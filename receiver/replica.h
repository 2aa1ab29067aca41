/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine's replica while somebody uses it: targets, have bitmaps, journal, history, and the applier that
 * takes batches from the journal to the targets. A session uses it, and so do views, rollback and cutover when
 * there is no session. There is one for a machine at most; it is opened by the first who needs it and closed by
 * the last.
 *
 *   stream connection --journal_append, sync--> journal --applier--> history_protect --> target
 *   data connections  --replica_protect---------------------------------------------^
 *
 * On opening, what the journal holds and the targets may lack is applied first. The journal and the data
 * connections must never overtake one another: before the first DATA after a stream, and before WELCOME, all
 * that the journal holds has been applied and is noted so durably (an older record applied after newer DATA
 * would be silent corruption), whatever the agent waits for by itself. SEAL is answered with COMMIT only when
 * the journal is applied and the targets are flushed. A replica that failed stays so until all have released
 * it.
 */
#ifndef BLKFERRY_RECEIVER_REPLICA_H
#define BLKFERRY_RECEIVER_REPLICA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"
#include "common/wire.h"
#include "receiver/have.h"
#include "receiver/history.h"
#include "receiver/journal.h"
#include "receiver/machine.h"
#include "receiver/target.h"

struct batch;
struct replica;

struct replica_disk {
	unsigned int slot;
	uint64_t size_bytes;
	char uri[256]; /* of the target */
	struct target *target;
	struct have *have;
	bool is_wanted;	       /* to be opened */
	bool is_marked_in_use; /* replica_in_use.c */
};

/* Takes the machine's replica, opening it if nobody has: the disks that are present at the source, as the
 * machine's slots say (a session chooses them first), or all when there was no session yet. */
struct replica_user {
	bool (*has_left)(void *context); /* asked while it is being opened, which may take long */
	void *context;
	bool is_session;      /* it appends to the stream: a journal that broke is opened anew */
	bool is_before_start; /* after a cutover, before its start-command: nobody else may then */
};
int replica_hold_as(struct machines *machines, struct machine *machine,
		    const struct replica_user *user, struct replica **ret_replica,
		    struct fault *fault);
int replica_hold(struct machines *machines, struct machine *machine, struct replica **ret_replica,
		 struct fault *fault);
void replica_release(struct replica *replica);

unsigned int replica_disk_count(const struct replica *replica); /* slots */
/* One that is not present at the source has no target. */
struct replica_disk *replica_disk(struct replica *replica, unsigned int slot);
bool replica_disk_is_new(const struct replica_disk *disk); /* nothing was ever copied to it */
struct history *replica_history(struct replica *replica);

/* The stream's disk i goes to slots[i] from now on; what came before is applied first. The caller stores the
 * machine before he lets a batch in. */
int replica_stream_map(struct replica *replica, const unsigned int *slots, unsigned int count,
		       struct fault *fault);
/* For STREAM_READY. All 0: the agent's stream does not go on here, it has to begin with a gap. */
void replica_stream_end(struct replica *replica, struct journal_place *ret_end,
			uint64_t *ret_newest_mark);
/* A buffer for a STREAM frame's payload; NULL: no memory. */
struct batch *replica_stream_begin(struct replica *replica);
void *replica_stream_buffer(struct batch *batch); /* WIRE_STREAM_FRAME_MAX */
void replica_stream_end_batch(struct replica *replica, struct batch *batch); /* gives it back */
/* Checks the frame in *batch down to its records, and appends it. *batch is another buffer afterwards. Faults:
 * -EPROTO, -ENOSPC (nothing was appended), ... */
int replica_stream_append(struct replica *replica, struct batch **batch, struct fault *fault);
/* Makes what was appended durable; then the applier may have it. */
int replica_stream_sync(struct replica *replica, struct journal_place *ret_durable,
			struct fault *fault);
void replica_stream_applied(struct replica *replica, struct journal_place *ret_applied);
/* False: journal and history have reached journal-size, though the oldest checkpoints were dropped: read
 * no more of the stream for now. */
bool replica_stream_has_room(struct replica *replica);
/* Drops the oldest checkpoint, because the journal's file system is full. False: there is none to drop, or it would
 * make room elsewhere. */
bool replica_make_room(struct replica *replica);
/* For status: checkpoints went because there was no space for them. */
void replica_count_dropped(struct replica *replica, unsigned int count);

/* Waits until all that was appended is applied, flushed, and noted so: applied again never. timeout_ns 0: only
 * looks. -ETIMEDOUT; or what the applier failed with. */
int replica_drain(struct replica *replica, uint64_t timeout_ns, struct fault *fault);

/* Both are called on the applier's thread; never after replica_listen(NULL) has returned. */
struct replica_listener {
	/* What a DIGEST record found. */
	void (*result)(void *context, const struct wire_stream_result *result,
		       const uint8_t *verdicts);
	void (*failed)(void *context, const struct fault *fault);
	void *context;
};
void replica_listen(struct replica *replica, const struct replica_listener *listener);

/* Before a data connection overwrites target ranges: history_protect, with what a full disk means. */
int replica_protect(struct replica *replica, const struct history_extent *extents,
		    unsigned int count, struct fault *fault);
/* From now on, until the next confirmed mark, the targets are no state that the disks were ever in (I8). */
void replica_note_building(struct replica *replica);

struct replica_status {
	bool is_building;
	uint64_t newest_point_ns; /* wall clock of the newest durable confirmed mark; 0: none */
	uint64_t oldest_point_ns; /* ... of the oldest kept checkpoint */
	unsigned int points;
	uint64_t unapplied_bytes, journal_bytes, history_bytes, size_limit_bytes;
};
/* Also of machine->replica, without a hold, while the machine's lock is held. */
void replica_get_status(struct replica *replica, struct replica_status *ret_status);

/* Makes the targets what they were at that checkpoint, by writes that are protected themselves. No session may
 * be alive. Failed or killed midway it is done again. */
int replica_restore(struct replica *replica, uint64_t number, struct fault *fault);
/* Before that: a checkpoint with this label, of how it is now, so that it can be undone. */
#define REPLICA_UNDO_LABEL "before-rollback"
int replica_mark_undo(struct replica *replica, struct fault *fault);
/* The targets do not hold what agents believe: all is compared with the source when one comes. */
int replica_distrust(struct replica *replica, struct fault *fault);

#endif
