/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots of the machines' VMs in the pool (xcp-snapshots in receiver.ini), each of exactly a checkpoint:
 *
 *   this file's thread          the applier of the machine
 *   one is due: it is wanted
 *                               MARK: targets flushed; it is wanted, and the mark is confirmed: snapshots_hold, which
 *   VM.snapshot                 returns when the targets may go on
 *   lets the applier go on
 *   notes it, thins out
 *
 * The stream goes on to the journal meanwhile, so nothing in the guest waits. One snapshot at a time is made, whatever the
 * machine: that is kinder to the storage. What fails is in the status and tried again later; replication never depends
 * on it. A cutover waits until the thread has let go of the machine; while one is under way none begins.
 */
#ifndef BLKFERRY_RECEIVER_SNAPSHOTS_H
#define BLKFERRY_RECEIVER_SNAPSHOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "receiver/machine.h"

/* Does nothing without [xcp]. Once a process. */
int snapshots_start(struct machines *machines, struct fault *fault);
/* Takes a second or two; what was being made is cleaned away by the next start. */
void snapshots_stop(void);

/* Is one wanted of this machine? For the applier, at a mark. */
bool snapshots_is_wanted(struct machine *machine);
/* The machine's targets are this checkpoint, flushed. Returns when they may go on, soon if none is wanted after all; at
 * once when has_to_go says so: then what is being made comes to nothing. */
void snapshots_hold(struct machine *machine, uint64_t number, uint64_t time_ns,
		    bool (*has_to_go)(void *context), void *context);

/* Until nothing is being done with the machine's VM. -EBUSY. */
#define SNAPSHOTS_WAIT_NS (400 * NS_PER_S)
int snapshots_wait(struct machine *machine, struct fault *fault);

#endif
