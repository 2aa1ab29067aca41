/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What --fix would do: files as they should be, and the initramfs images to build again. */
#ifndef BLKFERRY_AGENT_CHECK_PLAN_H
#define BLKFERRY_AGENT_CHECK_PLAN_H

#include <limits.h>
#include <stdbool.h>

#include "agent/linux/check/check.h"
#include "agent/linux/check/text.h"

enum plan_kind {
	PLAN_WRITE = 1, /* the file has that text then */
	PLAN_COPY,	/* the file has the content of another file of the root then */
	PLAN_REMOVE,
};

struct plan_item {
	enum plan_kind kind;
	char path[PATH_MAX]; /* resolved: no link in it */
	char from[PATH_MAX]; /* PLAN_COPY, resolved */
	char *text;	     /* PLAN_WRITE */
};

#define PLAN_ITEMS_MAX	 256
#define PLAN_KERNELS_MAX 64
#define KERNEL_NAME_MAX	 128

struct plan {
	struct plan_item *items;
	unsigned int count;
	char rebuild[PLAN_KERNELS_MAX][KERNEL_NAME_MAX]; /* kernels, by version */
	unsigned int rebuild_count;
	bool is_rebuilding_all; /* what the images contain was changed */
	bool has_failed;	/* out of memory, or of room: the plan is not to be carried out */
};

struct plan *plan_new(void);
void plan_free(struct plan *plan);
bool plan_is_empty(const struct plan *plan);

/* A text file as it will be; the caller frees. NULL when it is not there (any more). */
char *plan_read(struct check_context *context, const char *path);
/* Takes text over, which may be NULL: then the plan has failed. False when path leads nowhere. */
bool plan_write(struct check_context *context, const char *path, char *text);
/* Applies the edits to what plan_read gave, and plans the outcome. No edits: nothing is planned. */
bool plan_edit(struct check_context *context, const char *path, struct edits *edits);
bool plan_copy(struct check_context *context, const char *from, const char *path);
bool plan_remove(struct check_context *context, const char *path);
void plan_rebuild(struct check_context *context, const char *kernel);

#endif
