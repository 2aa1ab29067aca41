/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live verify (I11): digests of both sides, while the disks are written and replicated.
 *
 * The blocks in scope are compared in slices of a second with a delta pass before each, so that
 * replication never stops. A block that differs may have changed meanwhile: it is looked at again, each
 * time after a delta pass and a growing pause. It is called different only when it differed in
 * DIFFERS_LOOKS looks in a row and no write to it was seen during the last one.
 */
#ifndef BLKFERRY_AGENT_VERIFY_H
#define BLKFERRY_AGENT_VERIFY_H

#include <stdint.h>

#include "agent/replicate.h"
#include "common/fault.h"
#include "common/wire.h"

#define VERIFY_FINDINGS_MAX 4096

struct verify_finding {
	uint64_t offset;
	uint32_t length;
	uint16_t disk;
	uint16_t kind; /* enum wire_digest_verdict */
};

struct verify {
	struct replicator *replicator;
	uint64_t cutover;     /* a CANCEL for this one ends it; 0: a command does */
	struct bitmap *scope; /* one a disk: what is still to be found the same */
	uint64_t compared_bytes, all_bytes;
	/* After verify_run, in bytes. */
	uint64_t differed_bytes; /* had been copied and differs: what must never be */
	uint64_t
		never_copied_bytes; /* differs, but was free at the full pass and never written since */
	uint64_t repaired_bytes;   /* of both, sent again and then the same */
	uint64_t unrepaired_bytes; /* ... and still not the same */
	uint64_t changing_bytes;   /* changed in every look */
	struct verify_finding *findings;
	unsigned int findings_count;
	bool findings_overflowed;
};

enum verify_scope { VERIFY_ALLOCATED = 1, VERIFY_EVERYTHING, VERIFY_NOTHING };

int verify_init(struct verify *verify, struct replicator *replicator, enum verify_scope scope,
		struct fault *fault);
void verify_fini(struct verify *verify);
/* What is still to be found the same, in bytes. */
uint64_t verify_scope_bytes(const struct verify *verify);
/* Compares the scope and settles what differs. Returns 0 also when differences were found; -EINTR when
 * it was cancelled or a command came in, else what broke the session. */
int verify_run(struct verify *verify, struct fault *fault);
/* After verify_run: sends what it found, and looks whether it is the same then. */
int verify_repair(struct verify *verify, struct fault *fault);
/* One look at the scope without any delta pass: for frozen disks. What stays set differs. */
int verify_look(struct verify *verify, uint32_t digest_block, uint64_t budget_ns,
		bool *ret_is_complete, struct fault *fault);

/* verify_command.c: runs WIRE_COMMAND_VERIFY, sends what it found as RANGES, and replies. */
void verify_command(struct replicator *replicator, const struct wire_command *command);

#endif
