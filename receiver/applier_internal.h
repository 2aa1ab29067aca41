/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the applier's files share: its body. Everything is its thread's. */
#ifndef BLKFERRY_RECEIVER_APPLIER_INTERNAL_H
#define BLKFERRY_RECEIVER_APPLIER_INTERNAL_H

#include "receiver/replica_internal.h"
#include "receiver/write_group.h"

#define APPLIER_HELD_MAX    12
#define APPLIER_DIGESTS_MAX 8

/* A DIGEST record that is due; its digests lie in a batch that is held. */
struct applier_digest {
	struct applier *applier;
	struct wire_record record;
	uint64_t batch;
	const uint8_t *theirs;
	uint8_t *bytes; /* WIRE_DIGEST_EXTENT_MAX, made when needed */
	int error;	/* positive */
};

struct applier {
	struct replica *replica;
	struct target_channel *channels[WIRE_DISKS_MAX]; /* by slot */
	struct write_group *group;
	/* Batches that have records in the group; the last may be being walked. */
	struct batch *held[APPLIER_HELD_MAX];
	unsigned int held_count;
	bool is_walking;
	struct applier_digest digests[APPLIER_DIGESTS_MAX];
	unsigned int digest_count;

	/* taken >= applied (on the targets) >= flushed >= noted in the journal */
	struct journal_place taken, applied_place, flushed_place, noted_place;
	struct journal_place recovery_end;
	bool has_recovered;
	uint64_t taken_number, applied_number, flushed_number;
	uint64_t applied_bytes, noted_ns;
};

/* Brings everything that was gathered to the targets; then compares. */
int applier_apply(struct applier *applier, struct fault *fault);

/* applier_digest.c */
int applier_digest(struct applier *applier, const struct wire_record *record, struct fault *fault);
/* Reads what was gathered, compares, tells. The write group is empty. */
int applier_compare(struct applier *applier, struct fault *fault);
void applier_free_digests(struct applier *applier);

/* applier_hold.c: the mark's state is on the targets, flushed, and in the history. */
void applier_hold(struct applier *applier, const struct wire_record *mark);

#endif
