/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parses /proc/self/mountinfo and /proc/swaps. */
#include "agent/linux/mounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOUNT_FIELDS_MAX 32 /* six, a few optional ones, "-" and three */
#define SWAP_FIELDS	 5

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* Resolves \ooo in place: the kernel writes blanks, newlines and backslashes so. */
static void unescape(char *text)
{
	char *to = text;

	while (*text) {
		if (text[0] == '\\' && is_octal(text[1]) && is_octal(text[2]) &&
		    is_octal(text[3])) {
			*to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 |
				       (text[3] - '0'));
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

/* Cuts a line at its blanks. Returns the number of fields, or -EINVAL when there are more than most. */
static int split_fields(char *line, char **ret_fields, int most)
{
	int count = 0;
	char *rest = line, *field;

	while ((field = strsep(&rest, " \t"))) {
		if (*field == '\0')
			continue;
		if (count == most)
			return -EINVAL;
		ret_fields[count++] = field;
	}
	return count;
}

static bool has_option(const char *options, const char *wanted)
{
	size_t length = strlen(wanted);

	for (const char *option = options; option; option = strchr(option, ',')) {
		if (*option == ',')
			option++;
		if (strncmp(option, wanted, length) == 0 &&
		    (option[length] == ',' || option[length] == '\0'))
			return true;
	}
	return false;
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue" */
static int parse_mount(char *line, struct mount *ret_mount)
{
	char *fields[MOUNT_FIELDS_MAX];
	int count = split_fields(line, fields, MOUNT_FIELDS_MAX);
	int dash = 6;

	while (dash < count && strcmp(fields[dash], "-") != 0)
		dash++;
	/* A source may be empty, and is then no field at all. */
	if (count < 0 || dash + 2 >= count)
		return -EINVAL;
	if (sysfs_parse_device(fields[2], &ret_mount->major, &ret_mount->minor) < 0)
		return -EINVAL;
	unescape(fields[3]);
	unescape(fields[4]);
	unescape(fields[dash + 1]);
	unescape(fields[dash + 2]);
	ret_mount->root = fields[3];
	ret_mount->point = fields[4];
	ret_mount->type = fields[dash + 1];
	ret_mount->source = dash + 3 < count ? fields[dash + 2] : "";
	ret_mount->options = fields[count - 1];
	ret_mount->is_read_only = has_option(fields[count - 1], "ro");
	return 0;
}

static char *copy_text(const char *text, size_t size)
{
	char *copy = malloc(size + 1);

	if (copy) {
		memcpy(copy, text, size);
		copy[size] = '\0';
	}
	return copy;
}

static int parse_mount_lines(struct mount_table *table)
{
	char *rest = table->text, *line;
	unsigned int room = 0;

	while ((line = strsep(&rest, "\n"))) {
		if (*line == '\0')
			continue;
		if (table->count == MOUNTS_MAX)
			return -E2BIG;
		if (table->count == room) {
			struct mount *more;

			room = room ? 2 * room : 64;
			more = realloc(table->mounts, room * sizeof(*more));
			if (!more)
				return -ENOMEM;
			table->mounts = more;
		}
		if (parse_mount(line, &table->mounts[table->count]) < 0)
			return -EINVAL;
		table->count++;
	}
	return 0;
}

int mounts_parse(const char *text, size_t size, struct mount_table *ret_table)
{
	struct mount_table table = {.text = copy_text(text, size)};
	int result = table.text ? parse_mount_lines(&table) : -ENOMEM;

	if (result < 0)
		mounts_fini(&table);
	else
		*ret_table = table;
	return result;
}

static int load(const struct system_roots *roots, const char *name, char **ret_text,
		size_t *ret_size)
{
	char path[SYSFS_PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", roots->proc, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return sysfs_read_table(path, SYSFS_TABLE_MAX, ret_text, ret_size);
}

int mounts_load(const struct system_roots *roots, struct mount_table *ret_table)
{
	char *text;
	size_t size;
	int result = load(roots, "self/mountinfo", &text, &size);

	if (result < 0)
		return result;
	result = mounts_parse(text, size, ret_table);
	free(text);
	return result;
}

void mounts_fini(struct mount_table *table)
{
	free(table->mounts);
	free(table->text);
	*table = (struct mount_table){.text = NULL};
}

/* "/dev/vda2   partition   2097148   0   -2"; a deleted swap file has " (deleted)" behind its path,
 * escaped, and then no path leads to it. */
static int parse_swap(char *line, struct swap *ret_swap)
{
	char *fields[SWAP_FIELDS];

	if (split_fields(line, fields, SWAP_FIELDS) != SWAP_FIELDS)
		return -EINVAL;
	unescape(fields[0]);
	if (fields[0][0] != '/')
		return -EINVAL;
	ret_swap->path = fields[0];
	ret_swap->is_file = strcmp(fields[1], "partition") != 0;
	return 0;
}

static int parse_swap_lines(struct swap_table *table)
{
	char *rest = table->text, *line;
	bool is_heading = true;

	while ((line = strsep(&rest, "\n"))) {
		if (*line == '\0')
			continue;
		if (is_heading) {
			is_heading = false;
			continue;
		}
		if (table->count == SWAPS_MAX)
			return -E2BIG;
		if (parse_swap(line, &table->swaps[table->count]) < 0)
			return -EINVAL;
		table->count++;
	}
	return 0;
}

int swaps_parse(const char *text, size_t size, struct swap_table *ret_table)
{
	struct swap_table table = {.text = copy_text(text, size)};
	int result = table.text ? parse_swap_lines(&table) : -ENOMEM;

	if (result < 0)
		swaps_fini(&table);
	else
		*ret_table = table;
	return result;
}

int swaps_load(const struct system_roots *roots, struct swap_table *ret_table)
{
	char *text;
	size_t size;
	int result = load(roots, "swaps", &text, &size);

	if (result == -ENOENT) { /* a kernel without swap */
		text = NULL;
		size = 0;
	} else if (result < 0) {
		return result;
	}
	result = swaps_parse(text ? text : "", size, ret_table);
	free(text);
	return result;
}

void swaps_fini(struct swap_table *table)
{
	free(table->text);
	table->text = NULL;
	table->count = 0;
}
