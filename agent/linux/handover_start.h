/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In the initramfs, before anything is mounted: goes on from the record of the last stop, if there is one.
 *
 * The record is used up, durably, before it is believed. Then the tracker begins; then it is looked whether anybody
 * used the disks since; and last the bits go in, and after them the replica's id, without which they count for
 * nothing. Whatever fails on the way, or is cut short, leaves a tracker that knows of no replica, or none: then the
 * agent compares.
 */
#ifndef BLKFERRY_AGENT_LINUX_HANDOVER_START_H
#define BLKFERRY_AGENT_LINUX_HANDOVER_START_H

#include <stdint.h>

#include "agent/platform.h"

/* Fills the note, always. deadline_ns (os_monotonic_ns): how long it may wait for disks. */
void handover_start(const char *plan_path, uint64_t deadline_ns, struct start_note *ret_note,
		    char ret_run_folder[128]);

/* --- handover_note.c: RUN_FOLDER/start, for the agent ----------------------------------------------------- */

int start_note_write(const char *run_folder, const struct start_note *note);
/* START_NONE when there is none. */
void start_note_read(const char *run_folder, struct start_note *ret_note);

#endif
