/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What --fix has replaced, so that --undo can put it back: STATE/readiness/manifest.json and the
 * originals beside it, in saved/. STATE is a folder of the root that is looked at.
 *
 *   original copied, flushed  ->  manifest names it, flushed  ->  file replaced
 *
 * So whatever is found after a power cut: a file that differs from what was there before is in the
 * manifest, with its original. An entry stays as it was first made, however often --fix is run: --undo
 * goes back to before the first.
 */
#ifndef BLKFERRY_AGENT_CHECK_KEEP_H
#define BLKFERRY_AGENT_CHECK_KEEP_H

#include <limits.h>
#include <stdbool.h>

#include "agent/linux/check/root.h"

#define KEEP_ENTRIES_MAX 1024
#define KEEP_OURS_MAX	 8  /* versions of a file that --fix wrote */
#define KEEP_DIGEST_MAX	 40 /* XXH3-128 in hexadecimal */

struct keep_entry {
	char *path; /* in the root */
	bool was_there;
	bool is_folder;	    /* one that --fix made */
	bool is_built;	    /* written by a tool of the system: an initramfs */
	unsigned int saved; /* the number of the file in saved/; was_there only */
	char original[KEEP_DIGEST_MAX];
	char ours[KEEP_OURS_MAX][KEEP_DIGEST_MAX];
	unsigned int ours_count;
};

struct keep {
	const struct check_root *root;
	char folder[PATH_MAX]; /* STATE/readiness, outside */
	int lock_fd;
	struct keep_entry *entries;
	unsigned int count;
	unsigned int next_saved;
};

/* Takes the lock and reads the manifest, if there is one. state is a folder in the root. */
int keep_open(const struct check_root *root, const char *state, struct keep *ret_keep,
	      struct fault *fault);
void keep_close(struct keep *keep);
bool keep_is_empty(const struct keep *keep);

/* Keeps a file (or that there is none) before it is replaced; not again when it is kept already. Not in
 * the manifest on disk before keep_store. */
int keep_add(struct keep *keep, const char *path, bool is_built, struct fault *fault);
int keep_add_folder(struct keep *keep, const char *path, struct fault *fault);
/* What the file is going to be, or has become, by its digest; "" for none at all. */
void keep_note(struct keep *keep, const char *path, const char digest[KEEP_DIGEST_MAX]);
int keep_store(struct keep *keep, struct fault *fault);

/* Puts everything back and forgets it. Files that somebody else has changed since are left as they are: tell
 * is called for each with what happened; they stay in the manifest (-EBUSY at the end), but for an
 * initramfs that was built again, which is right as it is. */
typedef void keep_tell_fn(void *context, const char *path, const char *what);
int keep_undo(struct keep *keep, keep_tell_fn *tell, void *context, struct fault *fault);

/* The digest of a file outside; "" when there is none. 0 or -errno. */
int keep_digest(const char *path, char ret_digest[KEEP_DIGEST_MAX]);
/* The same of a file that holds this text. */
void keep_digest_text(const char *text, char ret_digest[KEEP_DIGEST_MAX]);
/* Copies a file with its mode, owner, times and extended attributes over another, atomically and durably. */
int keep_copy(const char *from, const char *to);
/* Replaces a file by text or (text NULL) by the content of from. Mode, owner and attributes are those of the
 * file that was there; else that mode. Atomic and durable. Its folder is made if there is none. */
int keep_replace(const char *path, const char *text, const char *from, unsigned int mode);

#endif
