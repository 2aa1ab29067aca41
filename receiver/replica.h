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
 * that the journal holds has been applied (an older record applied after newer DATA would be silent
 * corruption), whatever the agent waits for by itself. SEAL is answered with COMMIT only when the journal is
 * applied and the targets are flushed.
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

struct replica;

struct replica_disk {
	unsigned int slot;
	uint64_t size_bytes;
	char uri[256]; /* of the target */
	struct target *target;
	struct have *have;
	bool is_marked_in_use; /* replica_in_use.c */
};

/* Takes the machine's replica, opening it if nobody has: the disks that are present at the source, as the
 * machine's slots say (a session chooses them first), or all when there was no session yet. */
struct replica_user {
	bool (*has_left)(void *context); /* asked while it is being opened, which may take long */
	void *context;
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

/* For a stream connection: the newest durable batch; appending; making durable (then the applier may have
 * it). */
void replica_stream_end(struct replica *replica, struct journal_place *ret_end);
int replica_stream_append(struct replica *replica, const struct wire_stream *head,
			  const void *stored, struct fault *fault);
int replica_stream_sync(struct replica *replica, struct journal_place *ret_durable,
			struct fault *fault);
/* Waits until all that is durable in the journal is applied and the targets are flushed. */
int replica_drain(struct replica *replica, uint64_t timeout_ns, struct fault *fault);
/* What DIGEST records found; called on the applier's thread. NULL: nobody listens. */
typedef void replica_result_fn(void *context, const struct wire_stream_result *result,
			       const uint8_t *verdicts);
void replica_listen(struct replica *replica, replica_result_fn *listener, void *context);

/* Before a data connection overwrites target ranges: history_protect, with what a full disk means. */
int replica_protect(struct replica *replica, const struct history_extent *extents,
		    unsigned int count, struct fault *fault);

/* Makes the targets what they were at that checkpoint, by writes that are protected themselves: a checkpoint
 * labelled "before-rollback" is made first, so that this can be undone. No session may be alive. */
int replica_rollback(struct replica *replica, uint64_t number, struct fault *fault);

#endif
