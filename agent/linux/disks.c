/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which disks belong to the machine's replica: all in use, or those of a list; and finding one again. */
#include "agent/linux/disks.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"

static void fill_tracked(const struct block_tree *tree, const struct surveyed_disk *from,
			 struct tracked_disk *disk)
{
	const struct block_device *device = &tree->devices[from->device];
	uint64_t number;

	*disk = (struct tracked_disk){
		.major = device->major,
		.minor = device->minor,
		.size_bytes = device->size_bytes,
		.logical_block_bytes = 512,
		.is_request_based = sysfs_attribute_exists(&tree->roots, device->name, "mq"),
	};
	snprintf(disk->path, sizeof(disk->path), "%s", from->path);
	snprintf(disk->identity, sizeof(disk->identity), "%s",
		 identity_choose(&from->names, from->path));
	if (sysfs_attribute_number(&tree->roots, device->name, "queue/logical_block_size",
				   &number) == 0 &&
	    number >= 512 && number <= 65536)
		disk->logical_block_bytes = (uint32_t)number;
	if (sysfs_attribute_number(&tree->roots, device->name, "diskseq", &number) == 0)
		disk->sequence = number;
}

/* "/dev/vda (256.0 GiB, serial)" added to text at length. Returns false when it does not fit. */
static bool describe(const struct disk_survey *survey, const struct surveyed_disk *disk, char *text,
		     size_t size, size_t *length)
{
	const char *identity = identity_choose(&disk->names, disk->path);
	bool has_name = strcmp(identity, disk->path) != 0;
	char item[320], bytes[32];

	units_format_bytes(survey->tree.devices[disk->device].size_bytes, bytes, sizeof(bytes));
	snprintf(item, sizeof(item), "%s%s (%s%s%s)", *length ? ", " : "", disk->path, bytes,
		 has_name ? ", " : "", has_name ? identity : "");
	if (*length + strlen(item) + sizeof(", ...") > size) {
		snprintf(text + *length, size - *length, "%s...", *length ? ", " : "");
		return false;
	}
	*length += (size_t)snprintf(text + *length, size - *length, "%s", item);
	return true;
}

/* All disks for a message, those first that auto may choose: there may be many loop disks. */
static void describe_all(const struct disk_survey *survey, char *text, size_t size)
{
	bool has_room = true;
	size_t length = 0;

	snprintf(text, size, "%s", survey->count ? "" : "no disk at all");
	for (int is_unfit = 0; is_unfit <= 1; is_unfit++)
		for (unsigned int i = 0; has_room && i < survey->count; i++)
			if ((survey->disks[i].unfit[0] != '\0') == is_unfit)
				has_room = describe(survey, &survey->disks[i], text, size, &length);
}

static int fault_with_list(const struct disk_survey *survey, struct fault *fault, int error,
			   const char *what, const char *entry)
{
	char text[DISKS_TEXT_MAX];

	describe_all(survey, text, sizeof(text));
	return fault_set(fault, FAULT_STOP, error, "disks: %s%.150s; this machine has %s", what,
			 entry, text);
}

static void choose_auto(const struct disk_survey *survey, struct found_disk *found)
{
	for (unsigned int i = 0; i < survey->count; i++) {
		const struct surveyed_disk *disk = &survey->disks[i];

		if (disk->never[0]) {
			snprintf(found[i].why, sizeof(found[i].why), "not chosen: %s", disk->never);
		} else if (disk->unfit[0]) {
			snprintf(found[i].why, sizeof(found[i].why),
				 "not chosen by auto: %s; name it to have it", disk->unfit);
		} else if (disk->holds[0]) {
			found[i].is_chosen = true;
			snprintf(found[i].why, sizeof(found[i].why), "holds %s", disk->holds);
		} else if (strcmp(disk->names.udev_content, "zfs_member") == 0) {
			found[i].is_chosen = true;
			snprintf(found[i].why, sizeof(found[i].why), "holds ZFS");
		} else {
			snprintf(found[i].why, sizeof(found[i].why),
				 "not chosen: nothing on it is mounted, no swap, no LVM");
		}
	}
}

static int fault_not_whole(const struct disk_survey *survey, unsigned int device, const char *entry,
			   struct fault *fault)
{
	const struct block_tree *tree = &survey->tree;
	bool is_leaf[TREE_DEVICES_MAX] = {false};
	char text[DISKS_TEXT_MAX] = "";
	size_t length = 0;

	tree_mark_leaves(tree, device, is_leaf);
	for (unsigned int i = 0; i < survey->count; i++)
		if (is_leaf[survey->disks[i].device] && length + 140 < sizeof(text))
			length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s",
						   length ? "," : "", survey->disks[i].path);
	return fault_set(fault, FAULT_STOP, EINVAL,
			 "disks: %.150s is not a whole disk; whole disks are replicated: write %s",
			 entry, *text ? text : "one of those that `blkferry-agent disks` lists");
}

/* Finds the one disk that an entry of the list means. Returns its index in the survey. */
static int match_entry(const struct disk_survey *survey, const char *entry, struct fault *fault)
{
	int match = -1;
	int device = entry[0] == '/' ? tree_find_path(&survey->tree, entry)
				     : tree_find_name(&survey->tree, entry);

	if (device >= 0 && !tree_is_leaf(&survey->tree, (unsigned int)device))
		return fault_not_whole(survey, (unsigned int)device, entry, fault);
	for (unsigned int i = 0; i < survey->count; i++) {
		const struct surveyed_disk *disk = &survey->disks[i];

		if ((int)disk->device != device &&
		    (device >= 0 || !identity_matches(&disk->names, entry)))
			continue;
		if (match >= 0)
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "disks: %.150s is the name of two disks, %s and %s: name "
					 "them by path",
					 entry, survey->disks[match].path, disk->path);
		match = (int)i;
	}
	if (match < 0)
		return fault_with_list(survey, fault, ENODEV, "no disk is ", entry);
	if (survey->disks[match].never[0])
		return fault_set(fault, FAULT_STOP, EINVAL, "disks: %s cannot be replicated: %s",
				 survey->disks[match].path, survey->disks[match].never);
	return match;
}

static int choose_listed(const struct disk_survey *survey, const char *wanted,
			 struct found_disk *found, struct fault *fault)
{
	char *list = strdup(wanted);
	char *rest = list, *entry;
	int result = list ? 0 : fault_set(fault, FAULT_RETRY, ENOMEM, "disks: out of memory");

	for (unsigned int i = 0; i < survey->count; i++)
		snprintf(found[i].why, sizeof(found[i].why), "not chosen: not in the list%s%s",
			 survey->disks[i].holds[0] ? "; holds " : "", survey->disks[i].holds);
	while (result >= 0 && (entry = strsep(&rest, ","))) {
		size_t length;

		entry += strspn(entry, " \t");
		for (length = strlen(entry);
		     length > 0 && isblank((unsigned char)entry[length - 1]);)
			entry[--length] = '\0';
		if (*entry == '\0')
			continue;
		result = match_entry(survey, entry, fault);
		if (result < 0)
			break;
		found[result].is_chosen = true;
		snprintf(found[result].why, sizeof(found[result].why), "in the list%s%s",
			 survey->disks[result].holds[0] ? "; holds " : "",
			 survey->disks[result].holds);
	}
	free(list);
	return result < 0 ? result : 0;
}

/* Two disks of one name (clones of a virtual disk often keep the serial) are known by path. */
static void separate_twins(struct found_disk *found, unsigned int count)
{
	bool is_twin;

	for (unsigned int i = 0; i < count; i++) {
		char identity[sizeof(found[i].disk.identity)];

		memcpy(identity, found[i].disk.identity, sizeof(identity));
		is_twin = false;
		for (unsigned int other = i + 1; other < count; other++) {
			if (strcmp(found[other].disk.identity, identity) != 0)
				continue;
			is_twin = true;
			memcpy(found[other].disk.identity, found[other].disk.path,
			       sizeof(identity));
		}
		if (is_twin)
			memcpy(found[i].disk.identity, found[i].disk.path, sizeof(identity));
	}
}

static int check_choice(const struct disk_survey *survey, const struct found_disk *found,
			const char *wanted, struct fault *fault)
{
	unsigned int chosen = 0;

	for (unsigned int i = 0; i < survey->count; i++)
		chosen += found[i].is_chosen;
	if (chosen == 0)
		return fault_with_list(survey, fault, ENODEV,
				       "nothing to replicate was found with disks = ", wanted);
	if (chosen > TRACKER_DISKS_MAX)
		return fault_set(fault, FAULT_STOP, E2BIG, "disks: %u disks, but %u is the most",
				 chosen, TRACKER_DISKS_MAX);
	return 0;
}

int disks_find_in(const struct system_roots *roots, const char *wanted,
		  struct found_disk **ret_disks, unsigned int *ret_count, struct fault *fault)
{
	struct disk_survey survey;
	struct found_disk *found;
	int result = survey_load(roots, &survey, fault);

	if (result < 0)
		return result;
	found = calloc(survey.count + 1, sizeof(*found));
	if (!found) {
		survey_fini(&survey);
		return fault_set(fault, FAULT_RETRY, ENOMEM, "disks: out of memory");
	}
	for (unsigned int i = 0; i < survey.count; i++) {
		fill_tracked(&survey.tree, &survey.disks[i], &found[i].disk);
		snprintf(found[i].model, sizeof(found[i].model), "%s", survey.disks[i].names.model);
	}
	separate_twins(found, survey.count);
	if (wanted && strcmp(wanted, "auto") == 0)
		choose_auto(&survey, found);
	else if (wanted)
		result = choose_listed(&survey, wanted, found, fault);
	if (result == 0 && wanted)
		result = check_choice(&survey, found, wanted, fault);
	if (result == 0) {
		*ret_disks = found;
		*ret_count = survey.count;
	} else {
		free(found);
	}
	survey_fini(&survey);
	return result;
}

int disks_refresh_in(const struct system_roots *roots, struct tracked_disk *disk,
		     struct fault *fault)
{
	struct surveyed_disk now = {.path = ""};
	struct tracked_disk fresh;
	struct block_tree tree;
	int result = tree_load(roots, &tree);
	int device;

	if (result < 0)
		return fault_set(fault, FAULT_RETRY, -result,
				 "cannot read the block devices in sysfs: %s", strerror(-result));
	device = tree_find_path(&tree, disk->path);
	if (device < 0 || tree.devices[device].size_bytes == 0) {
		tree_fini(&tree);
		return fault_set(fault, FAULT_STOP, ENODEV, "the disk %s is gone", disk->path);
	}
	now.device = (unsigned int)device;
	snprintf(now.path, sizeof(now.path), "%s", disk->path);
	identity_read(&tree, now.device, &now.names);
	fill_tracked(&tree, &now, &fresh);
	tree_fini(&tree);
	if (strcmp(disk->identity, disk->path) == 0) /* had no name, or shared it: its path is it */
		memcpy(fresh.identity, fresh.path, sizeof(fresh.identity));
	if (strcmp(fresh.identity, disk->identity) != 0)
		return fault_set(fault, FAULT_STOP, ENODEV,
				 "%s is another disk now: %s instead of %s", disk->path,
				 fresh.identity, disk->identity);
	*disk = fresh;
	return 0;
}

int disks_find(const char *wanted, struct found_disk **ret_disks, unsigned int *ret_count,
	       struct fault *fault)
{
	return disks_find_in(&system_roots_default, wanted, ret_disks, ret_count, fault);
}

int disks_refresh(struct tracked_disk *disk, struct fault *fault)
{
	return disks_refresh_in(&system_roots_default, disk, fault);
}
