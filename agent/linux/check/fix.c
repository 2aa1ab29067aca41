// SPDX-License-Identifier: GPL-2.0-or-later
/* Carries out what --fix is to do; see fix.h. */
#include "agent/linux/check/fix.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/linux/check/initramfs.h"

#define FILE_MODE 0644

struct fixing {
	struct check_context *context;
	struct keep *keep;
	keep_tell_fn *tell;
	void *tell_context;
};

static int fail(struct fault *fault, const char *path, int error)
{
	return fault_set(fault, FAULT_STOP, -error,
			 "%s: %s; 'check --undo' takes back what was done", path, strerror(-error));
}

/* Notes the folders that are missing for a file, the outermost first: they are undone the other way round. */
static int keep_folders_of(struct fixing *fixing, const char *path, struct fault *fault)
{
	char folder[PATH_MAX];
	int error = 0;

	for (const char *slash = strchr(path + 1, '/'); slash && !error;
	     slash = strchr(slash + 1, '/')) {
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
		if (!root_is_folder(&fixing->context->root, folder))
			error = keep_add_folder(fixing->keep, folder, fault);
	}
	return error;
}

/* Keeps one file, and notes what it is going to be. */
static int prepare(struct fixing *fixing, const struct plan_item *item, struct fault *fault)
{
	char digest[KEEP_DIGEST_MAX] = "", from[PATH_MAX];
	int error = keep_folders_of(fixing, item->path, fault);

	if (!error)
		error = keep_add(fixing->keep, item->path, false, fault);
	if (error)
		return error;
	switch (item->kind) {
	case PLAN_WRITE:
		keep_digest_text(item->text, digest);
		break;
	case PLAN_COPY:
		error = root_outside(&fixing->context->root, item->from, from, sizeof(from));
		if (!error)
			error = keep_digest(from, digest);
		if (error)
			return fail(fault, item->from, error);
		break;
	case PLAN_REMOVE:
		break;
	}
	keep_note(fixing->keep, item->path, digest);
	return 0;
}

static int prepare_image(struct fixing *fixing, const struct kernel *kernel, struct fault *fault)
{
	char paths[2][PATH_MAX];
	unsigned int count = initramfs_outputs(&fixing->context->root, kernel, paths);
	int error = 0;

	for (unsigned int i = 0; i < count && !error; i++)
		error = keep_add(fixing->keep, paths[i], true, fault);
	return error;
}

static int replace(struct fixing *fixing, const struct plan_item *item, struct fault *fault)
{
	const struct check_root *root = &fixing->context->root;
	char outside[PATH_MAX], from[PATH_MAX];
	int error = root_outside(root, item->path, outside, sizeof(outside));

	if (error)
		return fail(fault, item->path, error);
	switch (item->kind) {
	case PLAN_WRITE:
		error = keep_replace(outside, item->text, NULL, FILE_MODE);
		break;
	case PLAN_COPY:
		error = root_outside(root, item->from, from, sizeof(from));
		if (!error)
			error = keep_replace(outside, NULL, from, FILE_MODE);
		break;
	case PLAN_REMOVE:
		error = unlink(outside) != 0 ? -errno : 0;
		break;
	}
	if (error)
		return fail(fault, item->path, error);
	fixing->tell(fixing->tell_context, item->path,
		     item->kind == PLAN_REMOVE ? "moved away" : "written");
	return 0;
}

static int build(struct fixing *fixing, const struct kernel *kernel, struct fault *fault)
{
	const struct check_root *root = &fixing->context->root;
	char paths[2][PATH_MAX], outside[PATH_MAX], digest[KEEP_DIGEST_MAX];
	unsigned int count;
	int error = initramfs_build(root, kernel, fault);

	if (error) {
		fault_prefix(fault,
			     "%s (the old one is still there; 'check --undo' takes back "
			     "what was done)",
			     kernel->initramfs);
		return error;
	}
	count = initramfs_outputs(root, kernel, paths);
	for (unsigned int i = 0; i < count; i++)
		if (root_outside(root, paths[i], outside, sizeof(outside)) == 0 &&
		    keep_digest(outside, digest) == 0)
			keep_note(fixing->keep, paths[i], digest);
	fixing->tell(fixing->tell_context, kernel->initramfs, "built again");
	return keep_store(fixing->keep, fault);
}

static int carry_out(struct fixing *fixing, const struct kernels *images, struct fault *fault)
{
	const struct plan *plan = fixing->context->plan;
	int error = 0;

	for (unsigned int i = 0; i < plan->count && !error; i++)
		error = prepare(fixing, &plan->items[i], fault);
	for (unsigned int i = 0; i < images->count && !error; i++)
		error = prepare_image(fixing, &images->list[i], fault);
	if (!error)
		error = keep_store(fixing->keep, fault);
	for (unsigned int i = 0; i < plan->count && !error; i++)
		error = replace(fixing, &plan->items[i], fault);
	for (unsigned int i = 0; i < images->count && !error; i++)
		error = build(fixing, &images->list[i], fault);
	return error;
}

int fix_apply(struct check_context *context, const char *state, keep_tell_fn *tell,
	      void *tell_context, struct fault *fault)
{
	struct fixing fixing = {.context = context, .tell = tell, .tell_context = tell_context};
	struct kernels images;
	struct keep keep;
	int error;

	if (context->plan->has_failed)
		return fault_set(
			fault, FAULT_STOP, ENOMEM,
			"what is to be changed could not be worked out; nothing was changed");
	if (plan_is_empty(context->plan))
		return 0;
	error = keep_open(&context->root, state, &keep, fault);
	if (error)
		return error;
	fixing.keep = &keep;
	initramfs_planned(&context->root, context->plan, &images);
	error = carry_out(&fixing, &images, fault);
	kernels_fini(&images);
	keep_close(&keep);
	return error;
}

int fix_undo(const struct check_root *root, const char *state, keep_tell_fn *tell,
	     void *tell_context, struct fault *fault)
{
	struct keep keep;
	int error = keep_open(root, state, &keep, fault);

	if (error)
		return error;
	if (keep_is_empty(&keep))
		error = fault_set(fault, FAULT_STOP, ENOENT,
				  "there is nothing to undo: --fix has changed nothing");
	else
		error = keep_undo(&keep, tell, tell_context, fault);
	keep_close(&keep);
	return error;
}
