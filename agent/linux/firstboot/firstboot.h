/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network of the target's first start.
 *
 *   source:  first-boot.ini by a person ──arm──▶ STATE/first-boot.ini ··replicated··▶
 *   target:  blkferry-agent-first-boot.service finds that file, before the network is set up: other hardware? ──apply──▶
 *            names bound, addresses written ──▶ the file is renamed to first-boot.done
 *
 * On the source it does nothing, however often that is started: its hardware is in the file. Applying twice
 * gives what applying once gives, so a power cut between the steps does no harm.
 */
#ifndef BLKFERRY_AGENT_FIRSTBOOT_FIRSTBOOT_H
#define BLKFERRY_AGENT_FIRSTBOOT_FIRSTBOOT_H

#include "agent/linux/check/keep.h"
#include "agent/linux/firstboot/nicmap.h"

/* Checks the mapping of plan (a path on this machine) against the cards, and arms. */
int firstboot_arm(const struct check_root *root, const char *state, const char *plan,
		  keep_tell_fn *tell, void *context, struct fault *fault);
/* 0 when all was applied, or nothing is to be done; what is done is told. */
int firstboot_apply(const struct check_root *root, const char *state, keep_tell_fn *tell,
		    void *context, struct fault *fault);
/* 0, or -ENOENT when it is not armed. */
int firstboot_cancel(const struct check_root *root, const char *state, struct fault *fault);

#endif
