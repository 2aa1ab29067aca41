/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots of a machine's VM in the pool, each with its disks as they are at a checkpoint: what Xen Orchestra
 * shows as the VM's snapshots. When one is made and which stay is receiver/snapshots.h's.
 *
 * machines/NAME/xcp-snapshots.json lists them. An entry is there before the pool is asked for the snapshot, marked as
 * one that goes; the mark is taken off when all is well. So what a receiver that died, or a call that failed, left behind
 * is known: by its name, which has the checkpoint's number, and the record's id in its other_config. Nothing else is
 * ever destroyed: no snapshot that a person made, and no disk that is not a snapshot's.
 */
#ifndef BLKFERRY_RECEIVER_XAPI_XCP_SNAPSHOT_H
#define BLKFERRY_RECEIVER_XAPI_XCP_SNAPSHOT_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "receiver/machine.h"
#include "receiver/xapi/xcp.h"

#define XCP_SNAPSHOTS_MAX     64
#define XCP_SNAPSHOT_NAME_MAX 160
#define XCP_CHECKPOINT_KEY    "blkferry-checkpoint" /* in its other_config: the number */
#define XCP_SNAPSHOT_NS	      (300 * NS_PER_S)	    /* how long making one may take */

struct xcp_snapshot {
	char uuid[XCP_UUID_MAX]; /* of the VM that is the snapshot; "": not known yet */
	char name[XCP_SNAPSHOT_NAME_MAX];
	uint64_t number, time_ns; /* the checkpoint, and its time at the source */
	uint64_t made_ns;	  /* this side's clock */
	char vdis[WIRE_DISKS_MAX][XCP_UUID_MAX];
	unsigned int vdi_count;
	bool is_going; /* not made completely, or thinned out: to be destroyed */
};

struct xcp_snapshots {
	unsigned int count;
	struct xcp_snapshot list[XCP_SNAPSHOTS_MAX]; /* in the order of their making */
};

/* An empty list when there is no file. The caller frees *ret_list. */
int xcp_snapshots_load(const struct machines *machines, const struct machine *machine,
		       struct xcp_snapshots **ret_list, struct fault *fault);
int xcp_snapshots_store(const struct machines *machines, const struct machine *machine,
			const struct xcp_snapshots *list, struct fault *fault);
/* Those that stay: number, time_ns, made_ns, name, uuid. */
json_t *xcp_snapshots_to_json(const struct xcp_snapshots *list);

struct xcp_snapshot_order {
	uint64_t number, time_ns;   /* the checkpoint that the targets are, flushed, now */
	const atomic_bool *is_over; /* as in struct xapi_options */
	/* Called once, as soon as the targets may go on. Says whether they did not change until now. */
	bool (*release)(void *context);
	void *context;
};
/* Makes one and adds it to list, which is stored. When it fails, what is left is in the list, going. Entries of
 * snapshots that a person destroyed are dropped. */
int xcp_snapshot_make(const struct machines *machines, struct machine *machine,
		      struct xcp_snapshots *list, const struct xcp_snapshot_order *order,
		      struct fault *fault);
/* Destroys those that are going. */
int xcp_snapshots_clean(const struct machines *machines, const struct machine *machine,
			struct xcp_snapshots *list, const atomic_bool *is_over,
			struct fault *fault);

#endif
