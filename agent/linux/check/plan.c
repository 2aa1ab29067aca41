// SPDX-License-Identifier: GPL-2.0-or-later
/* What --fix would do; see plan.h. */
#include "agent/linux/check/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plan *plan_new(void)
{
	return calloc(1, sizeof(struct plan));
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	for (unsigned int i = 0; i < plan->count; i++)
		free(plan->items[i].text);
	free(plan->items);
	free(plan);
}

bool plan_is_empty(const struct plan *plan)
{
	return plan->count == 0 && plan->rebuild_count == 0 && !plan->is_rebuilding_all;
}

static struct plan_item *find(const struct plan *plan, const char *path)
{
	for (unsigned int i = 0; i < plan->count; i++)
		if (!strcmp(plan->items[i].path, path))
			return &plan->items[i];
	return NULL;
}

/* The item for a path, made if need be; NULL when the path leads nowhere, or there is no room. */
static struct plan_item *take(struct check_context *context, const char *path, enum plan_kind kind)
{
	struct plan *plan = context->plan;
	char real[PATH_MAX];
	struct plan_item *item;

	if (root_resolve_new(&context->root, path, real, sizeof(real)) != 0) {
		/* Its folder is missing: one level is made on the way, links in it cannot be. */
		if (snprintf(real, sizeof(real), "%s", path) >= (int)sizeof(real))
			return NULL;
	}
	item = find(plan, real);
	if (!item) {
		struct plan_item *grown =
			plan->count < PLAN_ITEMS_MAX
				? realloc(plan->items, (plan->count + 1) * sizeof(*grown))
				: NULL;

		if (!grown) {
			plan->has_failed = true;
			return NULL;
		}
		plan->items = grown;
		item = &grown[plan->count++];
		memset(item, 0, sizeof(*item));
		memcpy(item->path, real, sizeof(item->path));
	}
	free(item->text);
	item->text = NULL;
	item->kind = kind;
	return item;
}

char *plan_read(struct check_context *context, const char *path)
{
	char real[PATH_MAX];
	const struct plan_item *item = NULL;

	if (root_resolve_new(&context->root, path, real, sizeof(real)) == 0)
		item = find(context->plan, real);
	else
		item = find(context->plan, path);
	if (!item)
		return root_read(&context->root, path);
	switch (item->kind) {
	case PLAN_WRITE:
		return strdup(item->text);
	case PLAN_COPY:
		return root_read(&context->root, item->from);
	case PLAN_REMOVE:
		return NULL;
	}
	return NULL;
}

bool plan_write(struct check_context *context, const char *path, char *text)
{
	struct plan_item *item = text ? take(context, path, PLAN_WRITE) : NULL;

	if (!item) {
		context->plan->has_failed = true;
		free(text);
		return false;
	}
	item->text = text;
	return true;
}

bool plan_edit(struct check_context *context, const char *path, struct edits *edits)
{
	if (edits->count == 0 && !edits->has_failed) {
		edits_fini(edits);
		return true;
	}
	return plan_write(context, path, edits_apply(edits));
}

bool plan_copy(struct check_context *context, const char *from, const char *path)
{
	struct plan_item *item = take(context, path, PLAN_COPY);

	return item && root_resolve(&context->root, from, item->from, sizeof(item->from)) == 0;
}

bool plan_remove(struct check_context *context, const char *path)
{
	return take(context, path, PLAN_REMOVE) != NULL;
}

void plan_rebuild(struct check_context *context, const char *kernel)
{
	struct plan *plan = context->plan;

	for (unsigned int i = 0; i < plan->rebuild_count; i++)
		if (!strcmp(plan->rebuild[i], kernel))
			return;
	if (plan->rebuild_count == PLAN_KERNELS_MAX) {
		plan->has_failed = true;
		return;
	}
	snprintf(plan->rebuild[plan->rebuild_count++], KERNEL_NAME_MAX, "%s", kernel);
}
