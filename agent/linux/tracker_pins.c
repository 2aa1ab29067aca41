/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The folders of pins in bpffs: made, put in force, tidied up after a crash, removed. */
#include "agent/linux/tracker_set.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

int pins_path(char *path, const char *pin_folder, const char *name, const char *file)
{
	int length = snprintf(path, SET_PATH_MAX, "%s/%s%s%s", pin_folder, name, file ? "/" : "",
			      file ? file : "");

	return length < 0 || length >= SET_PATH_MAX ? -ENAMETOOLONG : 0;
}

static int fault_errno(struct fault *fault, const char *what, const char *path)
{
	int error = errno;

	return fault_set(fault, FAULT_STOP, error, "cannot %s %s: %s", what, path, strerror(error));
}

int pins_prepare(const char *pin_folder, struct fault *fault)
{
	char parent[SET_PATH_MAX];
	struct statfs fs;
	char *slash;

	if (strlen(pin_folder) >= sizeof(parent))
		return fault_set(fault, FAULT_STOP, ENAMETOOLONG,
				 "the pin folder's path is too long");
	strcpy(parent, pin_folder);
	slash = strrchr(parent, '/');
	if (slash && slash != parent)
		*slash = '\0';
	if (statfs(parent, &fs) < 0)
		return fault_set(fault, FAULT_STOP, EOPNOTSUPP, "no bpffs at %s: %s", parent,
				 strerror(errno));
	if (fs.f_type != BPF_FS_MAGIC)
		return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
				 "%s is not on a bpffs: run 'mount -t bpf bpf /sys/fs/bpf'",
				 parent);
	if (strchr(pin_folder + strlen(parent), '.'))
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "pin folder %s: names on a bpffs have no dots", pin_folder);
	if (mkdir(pin_folder, 0700) < 0 && errno != EEXIST)
		return fault_errno(fault, "make", pin_folder);
	return 0;
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* Removes the pins of a folder whose names begin with prefix. */
static int remove_pins(const char *folder, const char *prefix, struct fault *fault)
{
	char path[SET_PATH_MAX + 256];
	struct dirent *entry;
	DIR *dir = opendir(folder);
	int r = 0;

	if (!dir)
		return errno == ENOENT ? 0 : fault_errno(fault, "list", folder);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (unlink(path) < 0 && errno != ENOENT)
			r = fault_errno(fault, "remove", path);
	}
	closedir(dir);
	return r;
}

int pins_remove_set(const char *pin_folder, const char *name, struct fault *fault)
{
	char folder[SET_PATH_MAX];
	int r = pins_path(folder, pin_folder, name, NULL);

	if (r < 0)
		return fault_set(fault, FAULT_STOP, -r, "the pin folder's path is too long");
	/* Links first: what is left by a crash here tracks nothing, and is seen not to be whole. */
	r = remove_pins(folder, "link_", fault);
	if (r == 0)
		r = remove_pins(folder, "", fault);
	if (r == 0 && rmdir(folder) < 0 && errno != ENOENT)
		r = fault_errno(fault, "remove", folder);
	return r;
}

static int rename_set(const char *pin_folder, const char *from, const char *to, struct fault *fault)
{
	char from_path[SET_PATH_MAX], to_path[SET_PATH_MAX];

	if (pins_path(from_path, pin_folder, from, NULL) < 0 ||
	    pins_path(to_path, pin_folder, to, NULL) < 0)
		return fault_set(fault, FAULT_STOP, ENAMETOOLONG,
				 "the pin folder's path is too long");
	if (rename(from_path, to_path) < 0)
		return fault_errno(fault, "rename", from_path);
	return 0;
}

/* Which folders a crash can leave, and which of them holds the set in force:
 *
 *   new              live, if there is one   it was never put in force
 *   old, new         new                     between the renames of pins_commit: it has all bits
 *   old, live        live
 *   old              old                     somebody removed `new` by hand
 */
int pins_recover(const char *pin_folder, struct fault *fault)
{
	char live[SET_PATH_MAX], old[SET_PATH_MAX], new[SET_PATH_MAX];
	int r;

	if (pins_path(live, pin_folder, "live", NULL) < 0 ||
	    pins_path(old, pin_folder, "old", NULL) < 0 ||
	    pins_path(new, pin_folder, "new", NULL) < 0)
		return fault_set(fault, FAULT_STOP, ENAMETOOLONG,
				 "the pin folder's path is too long");
	if (!exists(live) && exists(old)) {
		r = rename_set(pin_folder, exists(new) ? "new" : "old", "live", fault);
		if (r < 0)
			return r;
	}
	r = pins_remove_set(pin_folder, "new", fault);
	if (r == 0)
		r = pins_remove_set(pin_folder, "old", fault);
	return r;
}

int pins_commit(const char *pin_folder, struct fault *fault)
{
	char live[SET_PATH_MAX];
	int r = pins_path(live, pin_folder, "live", NULL);

	if (r == 0 && exists(live))
		r = rename_set(pin_folder, "live", "old", fault);
	if (r == 0)
		r = rename_set(pin_folder, "new", "live", fault);
	if (r == 0)
		r = pins_remove_set(pin_folder, "old", fault);
	return r;
}

/* A set that cannot be opened does not say what it changed. */
static void put_back(const char *pin_folder)
{
	char folder[SET_PATH_MAX];
	struct tracker_set set;

	if (pins_path(folder, pin_folder, "live", NULL) < 0 ||
	    set_open(folder, &set, &(enum tracker_broken){0}, NULL) < 0)
		return;
	for (unsigned int i = 0; i < set.state->header.slots; i++)
		iostats_put_back(&set.state->slots[i]);
	set_close(&set);
}

int tracker_bpf_remove_pins(const char *pin_folder, struct fault *fault)
{
	static const char *const names[] = {"old", "new", "live"};

	if (!exists(pin_folder))
		return 0;
	put_back(pin_folder);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int r = pins_remove_set(pin_folder, names[i], fault);

		if (r < 0)
			return r;
	}
	if (rmdir(pin_folder) < 0)
		return fault_errno(fault, "remove", pin_folder);
	return 0;
}
