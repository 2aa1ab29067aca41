/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * At the end of a stop, when nothing writes any more: records what the tracker knows, for one start.
 *
 * Nothing is lost between the record and the end of the machine. First it is seen that nobody is left who could write
 * (handover_quiet.h); then the tracker's bits are taken; then all blocks of the record are written but the one that
 * makes it count; then it is looked whether the tracker, which goes on, saw any other write since the take; and only
 * then comes that one. A process that stays until the machine ends goes on looking, and withdraws the record when it
 * sees one.
 */
#ifndef BLKFERRY_AGENT_LINUX_HANDOVER_SAVE_H
#define BLKFERRY_AGENT_LINUX_HANDOVER_SAVE_H

#include "common/fault.h"

struct saving;

/* 0 when the record counts; free *ret_saving. Else -errno with a fault that says why there is none; it stands on the disk
 * as well, as far as that could be written, for the next start to say. */
int handover_save(const char *run_folder, struct saving **ret_saving, struct fault *fault);
void handover_saving_free(struct saving *saving);
/* Looks on until something writes, and then withdraws the record; until the pins are gone; at most ten minutes. */
void handover_guard(struct saving *saving);

#endif
