// SPDX-License-Identifier: GPL-2.0-or-later
/* Files and folders in the root that is looked at; see root.h. */
#include "agent/linux/check/root.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/os_file.h"

int root_open(const char *path, struct check_root *ret_root, struct fault *fault)
{
	char *real = realpath(path, NULL);
	int fd;

	if (!real)
		return fault_set(fault, FAULT_STOP, errno, "--root %s: %s", path, strerror(errno));
	fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		int error = errno;

		free(real);
		return fault_set(fault, FAULT_STOP, error, "--root %s: %s", path, strerror(error));
	}
	if (!strcmp(real, "/"))
		real[0] = '\0';
	ret_root->path = real;
	ret_root->fd = fd;
	return 0;
}

void root_close(struct check_root *root)
{
	if (!root->path)
		return;
	close(root->fd);
	free(root->path);
	root->path = NULL;
}

int root_open_file(const struct check_root *root, const char *path, int flags, int *ret_fd)
{
	struct open_how how = {.flags = (unsigned int)flags | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT};
	long fd = syscall(SYS_openat2, root->fd, path, &how, sizeof(how));

	/* Before 5.6 there is no openat2; in "/" nothing can lead out. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM) && root->path[0] == '\0')
		fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = (int)fd;
	return 0;
}

bool root_exists(const struct check_root *root, const char *path)
{
	int fd = -1;

	if (root_open_file(root, path, O_PATH, &fd) != 0)
		return false;
	close(fd);
	return true;
}

bool root_is_folder(const struct check_root *root, const char *path)
{
	int fd = -1;

	if (root_open_file(root, path, O_PATH | O_DIRECTORY, &fd) != 0)
		return false;
	close(fd);
	return true;
}

char *root_read(const struct check_root *root, const char *path)
{
	struct stat status;
	char *text = NULL;
	size_t size = 0;
	int fd;

	/* O_NONBLOCK: a fifo in a foreign tree must not stop us. */
	if (root_open_file(root, path, O_RDONLY | O_NONBLOCK, &fd) != 0)
		return NULL;
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
		(void)os_file_read_fd(fd, ROOT_FILE_MAX, &text, &size); /* NULL says it */
	close(fd);
	if (text &&
	    strlen(text) != size) { /* not text: what follows would be lost when rewritten */
		free(text);
		text = NULL;
	}
	return text;
}

void root_read_line(const struct check_root *root, const char *path, char *ret_text, size_t size)
{
	char *text = root_read(root, path);
	const char *from = text ? text : "";
	size_t length;

	from += strspn(from, " \t");
	length = strcspn(from, "\n");
	while (length > 0 && isspace((unsigned char)from[length - 1]))
		length--;
	snprintf(ret_text, size, "%.*s", (int)length, from);
	free(text);
}

int root_resolve(const struct check_root *root, const char *path, char *ret_path, size_t size)
{
	char name[64], real[PATH_MAX];
	size_t prefix = strlen(root->path);
	ssize_t length;
	int fd, error = root_open_file(root, path, O_PATH, &fd);

	if (error)
		return error;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	length = readlink(name, real, sizeof(real) - 1);
	error = length < 0 ? -errno : 0;
	close(fd);
	if (error)
		return error;
	real[length] = '\0';
	if (strncmp(real, root->path, prefix) != 0 || (real[prefix] && real[prefix] != '/'))
		return -EXDEV;
	if (snprintf(ret_path, size, "%s", real[prefix] ? real + prefix : "/") >= (int)size)
		return -ENAMETOOLONG;
	return 0;
}

int root_resolve_new(const struct check_root *root, const char *path, char *ret_path, size_t size)
{
	char folder[PATH_MAX], real[PATH_MAX];
	const char *name = strrchr(path, '/');
	int error = root_resolve(root, path, ret_path, size);

	if (error != -ENOENT)
		return error;
	if (!name || snprintf(folder, sizeof(folder), "%.*s", (int)(name - path), path) < 0)
		return -EINVAL;
	error = root_resolve(root, folder[0] ? folder : "/", real, sizeof(real));
	if (error)
		return error;
	if (snprintf(ret_path, size, "%s%s", strcmp(real, "/") != 0 ? real : "", name) >= (int)size)
		return -ENAMETOOLONG;
	return 0;
}

int root_outside(const struct check_root *root, const char *path, char *ret_path, size_t size)
{
	return snprintf(ret_path, size, "%s%s", root->path, path) >= (int)size ? -ENAMETOOLONG : 0;
}

/* Adds the name in folder that is part in any case. */
static bool add_nocase(const struct check_root *root, char *folder, size_t size, const char *part,
		       size_t length)
{
	struct root_names names;
	size_t used = strlen(folder);
	bool is_found = false;

	root_list(root, used ? folder : "/", &names);
	for (unsigned int i = 0; i < names.count && !is_found; i++) {
		if (strlen(names.names[i]) != length ||
		    strncasecmp(names.names[i], part, length) != 0)
			continue;
		is_found = snprintf(folder + used, size - used, "/%s", names.names[i]) <
			   (int)(size - used);
	}
	root_names_free(&names);
	return is_found;
}

int root_find_nocase(const struct check_root *root, const char *path, char *ret_path, size_t size)
{
	char found[PATH_MAX] = "";

	while (*path) {
		size_t length;

		path += strspn(path, "/");
		length = strcspn(path, "/");
		if (length > 0 && !add_nocase(root, found, sizeof(found), path, length))
			return -ENOENT;
		path += length;
	}
	return snprintf(ret_path, size, "%s", found) >= (int)size ? -ENAMETOOLONG : 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void root_list(const struct check_root *root, const char *folder, struct root_names *ret_names)
{
	struct root_names names = {.names = NULL};
	struct dirent *entry;
	DIR *dir;
	int fd;

	*ret_names = names;
	if (root_open_file(root, folder, O_RDONLY | O_DIRECTORY, &fd) != 0)
		return;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return;
	}
	names.names = calloc(ROOT_NAMES_MAX, sizeof(*names.names));
	while (names.names && names.count < ROOT_NAMES_MAX && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		names.names[names.count] = strdup(entry->d_name);
		if (!names.names[names.count])
			break;
		names.count++;
	}
	closedir(dir);
	if (names.names)
		qsort(names.names, names.count, sizeof(*names.names), compare_names);
	*ret_names = names;
}

void root_names_free(struct root_names *names)
{
	for (unsigned int i = 0; i < names->count; i++)
		free(names->names[i]);
	free(names->names);
	*names = (struct root_names){.names = NULL};
}
