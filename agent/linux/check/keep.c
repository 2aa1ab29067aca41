// SPDX-License-Identifier: GPL-2.0-or-later
/* The manifest of what --fix has replaced; see keep.h. */
#include "agent/linux/check/keep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "common/os_file.h"

#define MANIFEST_MAX	 (4u << 20)
#define MANIFEST_VERSION 1

static void own_path(const struct keep *keep, const char *name, char ret_path[PATH_MAX])
{
	/* keep_open has seen to it that this fits. */
	snprintf(ret_path, PATH_MAX, "%.*s/%s", PATH_MAX - 64, keep->folder, name);
}

static void saved_path(const struct keep *keep, const struct keep_entry *entry,
		       char ret_path[PATH_MAX])
{
	char name[32];

	snprintf(name, sizeof(name), "saved/%04u", entry->saved);
	own_path(keep, name, ret_path);
}

static struct keep_entry *add_entry(struct keep *keep, const char *path)
{
	struct keep_entry *grown;

	if (keep->count == KEEP_ENTRIES_MAX)
		return NULL;
	grown = realloc(keep->entries, (keep->count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	keep->entries = grown;
	memset(&grown[keep->count], 0, sizeof(*grown));
	grown[keep->count].path = strdup(path);
	return grown[keep->count].path ? &grown[keep->count++] : NULL;
}

static struct keep_entry *find_entry(const struct keep *keep, const char *path)
{
	for (unsigned int i = 0; i < keep->count; i++)
		if (!strcmp(keep->entries[i].path, path))
			return &keep->entries[i];
	return NULL;
}

/* What is read from the manifest is used as a path, as root: only what --fix can have written. */
static bool is_path(const char *path)
{
	return path && path[0] == '/' && strlen(path) < PATH_MAX - 512 && !strstr(path, "/../") &&
	       !strstr(path, "//");
}

static int parse_entry(struct keep *keep, const json_t *item)
{
	const char *path = json_string_value(json_object_get(item, "path"));
	const char *original = json_string_value(json_object_get(item, "original"));
	const json_t *ours = json_object_get(item, "ours"), *digest;
	json_int_t saved = json_integer_value(json_object_get(item, "saved"));
	struct keep_entry *entry;
	size_t i;

	if (!is_path(path) || !original || strlen(original) >= KEEP_DIGEST_MAX || saved < 0 ||
	    saved > KEEP_ENTRIES_MAX || json_array_size(ours) > KEEP_OURS_MAX ||
	    find_entry(keep, path))
		return -EINVAL;
	entry = add_entry(keep, path);
	if (!entry)
		return -ENOMEM;
	entry->was_there = json_is_true(json_object_get(item, "was_there"));
	entry->is_folder = json_is_true(json_object_get(item, "is_folder"));
	entry->is_built = json_is_true(json_object_get(item, "is_built"));
	entry->saved = (unsigned int)saved;
	snprintf(entry->original, sizeof(entry->original), "%s", original);
	json_array_foreach(ours, i, digest)
	{
		const char *text = json_string_value(digest);

		if (!text || strlen(text) >= KEEP_DIGEST_MAX)
			return -EINVAL;
		snprintf(entry->ours[entry->ours_count++], KEEP_DIGEST_MAX, "%s", text);
	}
	if (entry->saved >= keep->next_saved)
		keep->next_saved = entry->saved + 1;
	return 0;
}

static int load(struct keep *keep, struct fault *fault)
{
	const json_t *item, *list;
	char path[PATH_MAX], *text;
	json_t *manifest;
	size_t size, i;
	int error;

	own_path(keep, "manifest.json", path);
	error = os_file_read(path, MANIFEST_MAX, &text, &size);
	if (error == -ENOENT)
		return 0;
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s: %s", path, strerror(-error));
	manifest = json_loadb(text, size, 0, NULL);
	free(text);
	list = json_object_get(manifest, "entries");
	error = json_integer_value(json_object_get(manifest, "version")) == MANIFEST_VERSION &&
				json_is_array(list)
			? 0
			: -EINVAL;
	json_array_foreach(list, i, item) if (!error) error = parse_entry(keep, item);
	json_decref(manifest);
	if (error)
		return fault_set(fault, FAULT_STOP, -error,
				 "%s is not what --fix writes; the originals are in saved/ beside "
				 "it: put them back by hand, and move the folder away",
				 path);
	return 0;
}

int keep_open(const struct check_root *root, const char *state, struct keep *ret_keep,
	      struct fault *fault)
{
	struct keep keep = {.root = root, .lock_fd = -1, .next_saved = 1};
	char real[PATH_MAX], path[PATH_MAX];
	int error = root_resolve(root, state, real, sizeof(real));

	if (error == -ENOENT) {
		error = root_resolve_new(root, state, real, sizeof(real));
		if (error == -ENOENT) /* more than one folder is missing: none of them a link */
			error = snprintf(real, sizeof(real), "%s", state) < PATH_MAX ? 0 : -EINVAL;
	}
	if (!error && snprintf(keep.folder, sizeof(keep.folder), "%s%s/readiness", root->path,
			       real) >= PATH_MAX - 64)
		error = -ENAMETOOLONG;
	if (!error) {
		own_path(&keep, "saved", path);
		error = os_folder_make(path, 0700);
	}
	if (!error) {
		own_path(&keep, "lock", path);
		error = os_file_lock(path, &keep.lock_fd);
	}
	if (error == -EWOULDBLOCK)
		return fault_set(fault, FAULT_STOP, EBUSY, "another --fix or --undo is running");
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s: %s", state, strerror(-error));
	error = load(&keep, fault);
	if (error)
		keep_close(&keep);
	else
		*ret_keep = keep;
	return error;
}

/* What is empty is not left behind. */
static void remove_if_empty(struct keep *keep)
{
	char path[PATH_MAX];

	if (keep->count > 0)
		return;
	own_path(keep, "manifest.json", path);
	if (access(path, F_OK) == 0)
		return;
	/* With it what a run that was killed has left. The lock is held on what is removed. */
	(void)os_folder_remove(keep->folder);
}

void keep_close(struct keep *keep)
{
	if (keep->lock_fd >= 0) {
		remove_if_empty(keep);
		close(keep->lock_fd);
	}
	for (unsigned int i = 0; i < keep->count; i++)
		free(keep->entries[i].path);
	free(keep->entries);
	*keep = (struct keep){.lock_fd = -1};
}

bool keep_is_empty(const struct keep *keep)
{
	return keep->count == 0;
}

int keep_add(struct keep *keep, const char *path, bool is_built, struct fault *fault)
{
	char outside[PATH_MAX], saved[PATH_MAX], digest[KEEP_DIGEST_MAX];
	struct keep_entry *entry;
	int error;

	if (find_entry(keep, path))
		return 0;
	error = is_path(path) ? root_outside(keep->root, path, outside, sizeof(outside)) : -EINVAL;
	if (!error)
		error = keep_digest(outside, digest);
	entry = error ? NULL : add_entry(keep, path);
	if (!error && !entry)
		error = -ENOMEM;
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s cannot be kept: %s", path,
				 strerror(-error));
	entry->is_built = is_built;
	entry->was_there = digest[0] != '\0';
	memcpy(entry->original, digest, sizeof(digest));
	if (!entry->was_there)
		return 0;
	entry->saved = keep->next_saved++;
	saved_path(keep, entry, saved);
	error = keep_copy(outside, saved);
	/* What was kept must be what was there: the disk may be full, or the file changing. */
	if (!error)
		error = keep_digest(saved, digest);
	if (!error && strcmp(digest, entry->original) != 0)
		error = -EIO;
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s cannot be copied to %s: %s", path,
				 saved, strerror(-error));
	return 0;
}

int keep_add_folder(struct keep *keep, const char *path, struct fault *fault)
{
	struct keep_entry *entry;

	if (find_entry(keep, path))
		return 0;
	entry = is_path(path) ? add_entry(keep, path) : NULL;
	if (!entry)
		return fault_set(fault, FAULT_STOP, ENOMEM, "%s cannot be noted", path);
	entry->is_folder = true;
	return 0;
}

void keep_note(struct keep *keep, const char *path, const char digest[KEEP_DIGEST_MAX])
{
	struct keep_entry *entry = find_entry(keep, path);

	if (!entry)
		return;
	for (unsigned int i = 0; i < entry->ours_count; i++)
		if (!strcmp(entry->ours[i], digest))
			return;
	if (entry->ours_count == KEEP_OURS_MAX) { /* the oldest is long replaced */
		memmove(entry->ours[0], entry->ours[1],
			sizeof(entry->ours[0]) * (KEEP_OURS_MAX - 1));
		entry->ours_count--;
	}
	snprintf(entry->ours[entry->ours_count++], KEEP_DIGEST_MAX, "%s", digest);
}

int keep_store(struct keep *keep, struct fault *fault)
{
	char path[PATH_MAX], *text;
	json_t *list = json_array();
	int error = list ? 0 : -ENOMEM;
	json_t *manifest;

	for (unsigned int i = 0; i < keep->count && !error; i++) {
		const struct keep_entry *entry = &keep->entries[i];
		json_t *ours = json_array(), *item;

		for (unsigned int j = 0; j < entry->ours_count; j++)
			json_array_append_new(ours, json_string(entry->ours[j]));
		item = json_pack("{s:s, s:b, s:b, s:b, s:i, s:s, s:o}", "path", entry->path,
				 "was_there", (int)entry->was_there, "is_folder",
				 (int)entry->is_folder, "is_built", (int)entry->is_built, "saved",
				 (int)entry->saved, "original", entry->original, "ours", ours);
		/* A path that is not UTF-8 cannot be written: then nothing is replaced. */
		error = item && json_array_append_new(list, item) == 0 ? 0 : -EILSEQ;
	}
	manifest = json_pack("{s:i, s:o}", "version", MANIFEST_VERSION, "entries", list);
	text = manifest && !error ? json_dumps(manifest, JSON_INDENT(1)) : NULL;
	json_decref(manifest);
	own_path(keep, "manifest.json", path);
	if (!text)
		error = error ? error : -ENOMEM;
	else
		error = os_file_write_atomic(path, text, strlen(text), 0600);
	free(text);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s: %s", path, strerror(-error));
	return 0;
}

/* Is the file as --fix left it? One that a tool built and nobody noted (the power went) counts, too. */
static bool is_ours(const struct keep_entry *entry, const char *digest)
{
	for (unsigned int i = 0; i < entry->ours_count; i++)
		if (!strcmp(entry->ours[i], digest))
			return true;
	return entry->is_built && entry->ours_count == 0;
}

static int put_back(const struct keep *keep, const struct keep_entry *entry, const char *outside)
{
	char saved[PATH_MAX], folder[PATH_MAX];
	char *slash;

	if (entry->was_there) {
		saved_path(keep, entry, saved);
		return keep_copy(saved, outside);
	}
	if (unlink(outside) != 0 && errno != ENOENT)
		return -errno;
	snprintf(folder, sizeof(folder), "%s", outside);
	slash = strrchr(folder, '/');
	*slash = '\0';
	return os_folder_sync(folder[0] ? folder : "/");
}

/* Returns 1 when the entry is settled, 0 when it has to stay, or -errno. */
static int undo_entry(const struct keep *keep, const struct keep_entry *entry, keep_tell_fn *tell,
		      void *context)
{
	char outside[PATH_MAX], digest[KEEP_DIGEST_MAX];
	int error = root_outside(keep->root, entry->path, outside, sizeof(outside));

	if (!error && entry->is_folder) {
		(void)rmdir(outside); /* somebody may have put something into it */
		return 1;
	}
	if (!error)
		error = keep_digest(outside, digest);
	if (error)
		return error;
	if (strcmp(digest, entry->original) != 0 && !is_ours(entry, digest)) {
		tell(context, entry->path,
		     entry->is_built ? "was built again by somebody else, and stays"
				     : "was changed by somebody else since, and stays");
		return entry->is_built ? 1 : 0;
	}
	/* Also when the bytes are right already: mode, owner and times. */
	error = put_back(keep, entry, outside);
	if (error)
		return error;
	tell(context, entry->path, entry->was_there ? "put back" : "removed");
	return 1;
}

int keep_undo(struct keep *keep, keep_tell_fn *tell, void *context, struct fault *fault)
{
	unsigned int left = 0;
	char path[PATH_MAX];

	for (unsigned int i = keep->count; i-- > 0;) {
		int settled = undo_entry(keep, &keep->entries[i], tell, context);

		if (settled < 0)
			return fault_set(fault, FAULT_STOP, -settled,
					 "%s cannot be put back: %s; try again",
					 keep->entries[i].path, strerror(-settled));
		if (settled) {
			free(keep->entries[i].path);
			keep->entries[i].path = NULL;
		}
	}
	for (unsigned int i = 0; i < keep->count; i++)
		if (keep->entries[i].path)
			keep->entries[left++] = keep->entries[i];
	keep->count = left;
	if (left > 0) {
		int error = keep_store(keep, fault);

		return error ? error
			     : fault_set(fault, FAULT_STOP, EBUSY,
					 "%u file(s) were changed by somebody else since --fix; "
					 "their originals are in %s/saved, their numbers in "
					 "manifest.json",
					 left, keep->folder);
	}
	own_path(keep, "manifest.json", path);
	if (unlink(path) != 0 && errno != ENOENT)
		return fault_set(fault, FAULT_STOP, errno, "%s: %s", path, strerror(errno));
	return 0;
}
