/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading small files of sysfs and procfs, and the few forms of text that they hold. */
#include "agent/linux/sysfs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/os_io.h"

const struct system_roots system_roots_default = {
	.sys = "/sys", .proc = "/proc", .udev = "/run/udev/data", .dev = "/dev"};

int sysfs_read_table(const char *path, size_t limit, char **ret_text, size_t *ret_size)
{
	size_t size = 64 * 1024;
	char *text = NULL;
	int64_t got = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	/* These files have no size to ask for; a table that fills the buffer is read again from the
	 * start, so that it is of one moment. */
	for (;; size *= 2) {
		free(text);
		text = malloc(size + 1);
		if (!text)
			got = -ENOMEM;
		else if (lseek(fd, 0, SEEK_SET) < 0)
			got = -errno;
		else
			got = os_read_up_to(fd, text, size);
		if (got < 0 || (size_t)got < size)
			break;
		if (size >= limit) {
			got = -EFBIG;
			break;
		}
	}
	close(fd);
	if (got < 0) {
		free(text);
		return (int)got;
	}
	text[got] = '\0';
	*ret_text = text;
	*ret_size = (size_t)got;
	return 0;
}

int sysfs_read_text(const char *path, char *ret_text, size_t size)
{
	char text[1024];
	int64_t got;
	size_t first = 0, end;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	got = os_read_up_to(fd, text, sizeof(text));
	close(fd);
	if (got < 0)
		return (int)got;
	end = strnlen(text, (size_t)got);
	while (end > 0 && isspace((unsigned char)text[end - 1]))
		end--;
	while (first < end && isspace((unsigned char)text[first]))
		first++;
	if (end - first >= size || (size_t)got == sizeof(text))
		return -EFBIG;
	memcpy(ret_text, text + first, end - first);
	ret_text[end - first] = '\0';
	return 0;
}

static int attribute_path(const struct system_roots *roots, const char *name, const char *attribute,
			  char *path)
{
	int length =
		snprintf(path, SYSFS_PATH_MAX, "%s/class/block/%s/%s", roots->sys, name, attribute);
	char *part = path + strlen(roots->sys) + strlen("/class/block/");

	if (length < 0 || length >= SYSFS_PATH_MAX)
		return -ENAMETOOLONG;
	for (size_t i = 0; i < strlen(name); i++)
		if (part[i] == '/')
			part[i] = '!';
	return 0;
}

int sysfs_attribute(const struct system_roots *roots, const char *name, const char *attribute,
		    char *ret_text, size_t size)
{
	char path[SYSFS_PATH_MAX];
	int result = attribute_path(roots, name, attribute, path);

	return result < 0 ? result : sysfs_read_text(path, ret_text, size);
}

int sysfs_attribute_number(const struct system_roots *roots, const char *name,
			   const char *attribute, uint64_t *ret_number)
{
	char text[32];
	int result = sysfs_attribute(roots, name, attribute, text, sizeof(text));

	return result < 0 ? result : sysfs_parse_number(text, ret_number);
}

bool sysfs_attribute_exists(const struct system_roots *roots, const char *name,
			    const char *attribute)
{
	char path[SYSFS_PATH_MAX];

	return attribute_path(roots, name, attribute, path) == 0 && access(path, F_OK) == 0;
}

/* Digits at *text; moves *text behind them. strtoull alone takes signs and spaces. */
static int parse_digits(const char **text, uint64_t *ret_number)
{
	char *end;
	unsigned long long number;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	errno = 0;
	number = strtoull(*text, &end, 10);
	if (errno)
		return -ERANGE;
	*text = end;
	*ret_number = number;
	return 0;
}

static bool is_blank(const char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	return *text == '\0';
}

int sysfs_parse_number(const char *text, uint64_t *ret_number)
{
	uint64_t number;
	int result = parse_digits(&text, &number);

	if (result < 0)
		return result;
	if (!is_blank(text))
		return -EINVAL;
	*ret_number = number;
	return 0;
}

int sysfs_parse_device(const char *text, uint32_t *ret_major, uint32_t *ret_minor)
{
	uint64_t major_number, minor_number;

	if (parse_digits(&text, &major_number) < 0 || *text++ != ':' ||
	    parse_digits(&text, &minor_number) < 0 || !is_blank(text))
		return -EINVAL;
	if (major_number > UINT32_MAX || minor_number > UINT32_MAX)
		return -EINVAL;
	*ret_major = (uint32_t)major_number;
	*ret_minor = (uint32_t)minor_number;
	return 0;
}
