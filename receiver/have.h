/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The have bitmap: which 4 KiB blocks of a disk were ever written to its target and flushed. One
 * file a disk beside the machine's state, mmapped. Format, little-endian:
 *   0     magic "BFHAVE1\0"
 *   8     u64 size of the disk in bytes
 *   16    replica id[16]: random, made with the file; names this replica for ever
 *   32    u64 epoch: newest epoch that is durable on the target
 *   40    u32 the low half of the XXH3-64 of bytes 0..39
 *   4096  the bits, one a 4 KiB block, LSB first
 * have_commit makes bits durable before the epoch, so an epoch on disk vouches for its bits.
 */
#ifndef BLKFERRY_RECEIVER_HAVE_H
#define BLKFERRY_RECEIVER_HAVE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"

#define HAVE_BLOCK_BYTES    4096u
#define HAVE_REPLICA_ID_LEN 16

struct have;

/* Opens path, or makes it for a disk of size_bytes with a new replica id. A file that is not whole is
 * a STOP fault that says so (deleting it means: compare the whole disk again). A larger size_bytes than
 * before extends it; a smaller one is refused. */
int have_open(const char *path, uint64_t size_bytes, struct have **ret_have, bool *ret_is_new,
	      struct fault *fault);
void have_close(struct have *have);
const uint8_t *have_replica_id(const struct have *have);
uint64_t have_epoch(const struct have *have);
uint64_t have_size_bytes(const struct have *have);
uint64_t have_count_bytes(const struct have *have); /* blocks had, in bytes; kept up, cheap */

/* Another replica id, durably; the bits stay. For a target that may not have what it had: agents compare
 * all of it then, instead of trusting what was acknowledged to them. */
int have_renew(struct have *have);

/* Marks every block that [offset, offset + length) touches. Thread-safe. Not durable until commit. */
void have_mark(struct have *have, uint64_t offset, uint64_t length);
/* Was every / any block of the range ever had? */
bool have_test_all(const struct have *have, uint64_t offset, uint64_t length);
bool have_test_any(const struct have *have, uint64_t offset, uint64_t length);
/* Makes marks durable, then the epoch. Call only after the target was flushed. */
int have_commit(struct have *have, uint64_t epoch);
/* Makes marks durable; the epoch stays. */
int have_commit_marks(struct have *have);

#endif
