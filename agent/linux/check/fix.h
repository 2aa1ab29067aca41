/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Carrying out a plan: originals kept, files replaced, initramfs images built again. */
#ifndef BLKFERRY_AGENT_CHECK_FIX_H
#define BLKFERRY_AGENT_CHECK_FIX_H

#include "agent/linux/check/keep.h"
#include "agent/linux/check/plan.h"

/* Does what the context's plan says. On a failure what was done so far stays, and can be undone. */
int fix_apply(struct check_context *context, const char *state, keep_tell_fn *tell,
	      void *tell_context, struct fault *fault);
int fix_undo(const struct check_root *root, const char *state, keep_tell_fn *tell,
	     void *tell_context, struct fault *fault);

#endif
