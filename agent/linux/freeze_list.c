/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Collects the file systems to be frozen from every mount namespace, and puts them in order. */
#include "agent/linux/freeze_list.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/linux/disks_tree.h"
#include "agent/linux/mounts.h"

/* A mounted super block, wanted or not. */
struct candidate {
	struct freeze_entry entry;
	bool is_wanted, is_listed;
	int inner_of; /* the candidate that holds the file of the loop device it lies on; -1 */
	char backing[FREEZE_POINT_MAX]; /* that file; "" when it is not on a loop device */
};

struct collection {
	struct block_tree tree;
	struct candidate *candidates; /* in mount order */
	unsigned int count;
	bool is_disk[TREE_DEVICES_MAX];
};

static bool may_lie_on_disk(const struct mount *mount)
{
	return mount->major != 0 || strcmp(mount->type, "btrfs") == 0 ||
	       strcmp(mount->type, "zfs") == 0;
}

/* Marks the leaf disks of a mount. False when it lies on none. */
static bool mark_mount_leaves(const struct collection *collection, const struct mount *mount,
			      bool *is_leaf)
{
	const struct block_tree *tree = &collection->tree;
	bool is_member[TREE_DEVICES_MAX] = {false};
	int device = tree_find_number(tree, mount->major, mount->minor);

	if (strcmp(mount->type, "zfs") == 0)
		return false;
	if (strcmp(mount->type, "btrfs") == 0)
		tree_mark_btrfs(tree, mount->source, is_member);
	else if (device >= 0)
		is_member[device] = true;
	else
		return false;
	for (unsigned int i = 0; i < tree->count; i++)
		if (is_member[i])
			tree_mark_leaves(tree, i, is_leaf);
	return true;
}

static void judge_candidate(struct collection *collection, const struct mount *mount,
			    struct candidate *candidate)
{
	const struct block_tree *tree = &collection->tree;
	bool is_leaf[TREE_DEVICES_MAX] = {false};

	candidate->inner_of = -1;
	/* The disks of a pool cannot be told: taken as ours, and named as what cannot be frozen. */
	if (strcmp(mount->type, "zfs") == 0)
		candidate->is_wanted = true;
	if (!mark_mount_leaves(collection, mount, is_leaf))
		return;
	for (unsigned int i = 0; i < tree->count; i++) {
		if (!is_leaf[i])
			continue;
		candidate->is_wanted |= collection->is_disk[i];
		(void)sysfs_attribute(&tree->roots, tree->devices[i].name, "loop/backing_file",
				      candidate->backing, sizeof(candidate->backing));
	}
}

static struct candidate *find_candidate(struct collection *collection, const struct mount *mount)
{
	for (unsigned int i = 0; i < collection->count; i++) {
		struct freeze_entry *entry = &collection->candidates[i].entry;

		if (entry->major == mount->major && entry->minor == mount->minor)
			return &collection->candidates[i];
	}
	return NULL;
}

static int add_mount(struct collection *collection, const struct mount *mount, unsigned int pid)
{
	struct candidate *candidate = find_candidate(collection, mount);
	struct freeze_path *path;

	if (mount->is_read_only || !may_lie_on_disk(mount))
		return 0;
	if (!candidate) {
		if (collection->count % 64 == 0) {
			struct candidate *more = realloc(collection->candidates,
							 (collection->count + 64) * sizeof(*more));

			if (!more)
				return -ENOMEM;
			collection->candidates = more;
		}
		candidate = &collection->candidates[collection->count++];
		*candidate = (struct candidate){.inner_of = -1};
		candidate->entry.major = mount->major;
		candidate->entry.minor = mount->minor;
		candidate->entry.method = freeze_method_of(mount->type);
		snprintf(candidate->entry.type, sizeof(candidate->entry.type), "%s", mount->type);
		judge_candidate(collection, mount, candidate);
	}
	if (candidate->entry.path_count == FREEZE_PATHS_PER_FS ||
	    strlen(mount->point) >= FREEZE_POINT_MAX)
		return 0;
	path = &candidate->entry.paths[candidate->entry.path_count++];
	path->pid = pid;
	snprintf(path->point, sizeof(path->point), "%s", mount->point);
	return 0;
}

/* The file system that a file lies on, by the longest mount point above it; the later of two alike. */
static int find_holder(const struct collection *collection, const struct mount_table *table,
		       const char *file)
{
	const struct mount *holder = NULL;
	size_t longest = 0;

	for (unsigned int i = 0; i < table->count; i++) {
		const char *point = table->mounts[i].point;
		size_t length = strcmp(point, "/") == 0 ? 0 : strlen(point);

		if (length >= longest && strncmp(file, point, length) == 0 && file[length] == '/') {
			holder = &table->mounts[i];
			longest = length;
		}
	}
	for (unsigned int i = 0; holder && i < collection->count; i++)
		if (collection->candidates[i].entry.major == holder->major &&
		    collection->candidates[i].entry.minor == holder->minor)
			return (int)i;
	return -1;
}

/* What lies in a file on a file system that is frozen has to be frozen before it, or its own
 * writing back would wait for the thaw. */
static void want_inner(struct collection *collection, const struct mount_table *table)
{
	bool has_changed = true;

	for (unsigned int i = 0; i < collection->count; i++)
		if (collection->candidates[i].backing[0])
			collection->candidates[i].inner_of =
				find_holder(collection, table, collection->candidates[i].backing);
	while (has_changed) {
		has_changed = false;
		for (unsigned int i = 0; i < collection->count; i++) {
			struct candidate *candidate = &collection->candidates[i];

			if (candidate->is_wanted || candidate->inner_of < 0 ||
			    !collection->candidates[candidate->inner_of].is_wanted)
				continue;
			candidate->is_wanted = true;
			has_changed = true;
		}
	}
}

static int add_namespace(struct collection *collection, unsigned int pid)
{
	const struct system_roots *roots = &collection->tree.roots;
	struct mount_table table;
	char path[SYSFS_PATH_MAX], *text;
	size_t size;
	int result;

	snprintf(path, sizeof(path), "%s/%u/mountinfo", roots->proc, pid);
	result = sysfs_read_table(path, SYSFS_TABLE_MAX, &text, &size);
	if (result < 0)
		return 0; /* the process is gone, and perhaps its namespace */
	result = mounts_parse(text, size, &table);
	free(text);
	if (result < 0)
		return result;
	for (unsigned int i = 0; result == 0 && i < table.count; i++)
		result = add_mount(collection, &table.mounts[i], pid);
	mounts_fini(&table);
	return result;
}

static bool read_namespace(const struct system_roots *roots, const char *process, char *ret_name,
			   size_t size)
{
	char path[SYSFS_PATH_MAX];
	ssize_t length;

	snprintf(path, sizeof(path), "%s/%s/ns/mnt", roots->proc, process);
	length = readlink(path, ret_name, size - 1);
	if (length <= 0)
		return false;
	ret_name[length] = '\0';
	return true;
}

/* Every namespace once, through one of its processes. */
static int add_other_namespaces(struct collection *collection)
{
	const struct system_roots *roots = &collection->tree.roots;
	char(*seen)[32] = calloc(FREEZE_NAMESPACES_MAX, sizeof(*seen));
	DIR *folder = opendir(roots->proc);
	struct dirent *entry;
	unsigned int count = 0;
	int result = seen && folder ? 0 : -ENOMEM;

	if (result == 0 && read_namespace(roots, "self", seen[0], sizeof(seen[0])))
		count = 1;
	while (result == 0 && count > 0 && (entry = readdir(folder))) {
		char name[32];
		uint64_t pid;
		unsigned int i = 0;

		if (sysfs_parse_number(entry->d_name, &pid) < 0 ||
		    !read_namespace(roots, entry->d_name, name, sizeof(name)))
			continue;
		while (i < count && strcmp(seen[i], name) != 0)
			i++;
		if (i < count)
			continue;
		if (count == FREEZE_NAMESPACES_MAX)
			result = -E2BIG;
		else
			result = add_namespace(collection, (unsigned int)pid);
		memcpy(seen[count++ % FREEZE_NAMESPACES_MAX], name, sizeof(name));
	}
	if (folder)
		closedir(folder);
	free(seen);
	return result;
}

/* Appends a candidate to the list, what lies inside it first. */
static void list_candidate(struct collection *collection, unsigned int index,
			   struct freeze_list *list)
{
	struct candidate *candidate = &collection->candidates[index];

	if (!candidate->is_wanted || candidate->is_listed)
		return;
	candidate->is_listed = true;
	for (unsigned int i = collection->count; i-- > 0;)
		if (collection->candidates[i].inner_of == (int)index)
			list_candidate(collection, i, list);
	list->entries[list->count++] = candidate->entry;
}

static int make_list(struct collection *collection, struct freeze_list *ret_list,
		     struct fault *fault)
{
	struct freeze_list list = {.entries = NULL};
	unsigned int wanted = 0;

	for (unsigned int i = 0; i < collection->count; i++)
		wanted += collection->candidates[i].is_wanted;
	if (wanted > FREEZE_LIST_MAX)
		return fault_set(fault, FAULT_STOP, E2BIG,
				 "%u file systems would have to be frozen; %u is the most", wanted,
				 FREEZE_LIST_MAX);
	list.entries = calloc(wanted + 1, sizeof(*list.entries));
	if (!list.entries)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	/* What was mounted last lies innermost. */
	for (unsigned int i = collection->count; i-- > 0;)
		list_candidate(collection, i, &list);
	*ret_list = list;
	return 0;
}

int freeze_list_load(const struct system_roots *roots, const struct tracked_disk *disks,
		     unsigned int count, struct freeze_list *ret_list, struct fault *fault)
{
	struct collection collection = {.candidates = NULL};
	struct mount_table table = {.text = NULL};
	int result = tree_load(roots, &collection.tree);

	for (unsigned int i = 0; result == 0 && i < count; i++) {
		int device = tree_find_number(&collection.tree, disks[i].major, disks[i].minor);

		if (device < 0)
			result = device;
		else
			collection.is_disk[device] = true;
	}
	if (result == 0)
		result = mounts_load(roots, &table);
	for (unsigned int i = 0; result == 0 && i < table.count; i++)
		result = add_mount(&collection, &table.mounts[i], 0);
	if (result == 0)
		result = add_other_namespaces(&collection);
	if (result == 0)
		want_inner(&collection, &table);
	if (result < 0)
		fault_set(fault, FAULT_STOP, -result,
			  "cannot tell which file systems lie on the disks: %s", strerror(-result));
	else
		result = make_list(&collection, ret_list, fault);
	mounts_fini(&table);
	tree_fini(&collection.tree);
	free(collection.candidates);
	return result;
}

void freeze_list_fini(struct freeze_list *list)
{
	free(list->entries);
	list->entries = NULL;
	list->count = 0;
}
