// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mounting a view; see view_mount.h. Partitions are found by blkid and partx, and each gets a loop device
 * of its own with its offset: the kernel need not know their table, and the loop devices go by themselves
 * when their file systems are unmounted.
 */
#include "receiver/cli/view_mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "receiver/cli/text.h"
#include "receiver/cli/tool.h"

#define START_MS       10000
#define LOOK_MS	       20
#define SECTOR_BYTES   512u
#define OUTPUT_MAX     16384
#define MOUNTS_MAX     1024
#define NAME_MAX_BYTES 64
#define IN_USE_TRIES   20

static int complain(const char *what, const char *path, int error)
{
	fprintf(stderr, "blkferry: %s %s: %s\n", what, path, strerror(error));
	return -1;
}

static void pause_ms(long ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&time, NULL);
}

int view_mount_prepare(const char *folder, char ret_folder[PATH_MAX])
{
	struct stat st;

	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return complain("cannot make", folder, errno);
	if (!realpath(folder, ret_folder))
		return complain("cannot use", folder, errno);
	if (strlen(ret_folder) > PATH_MAX - NAME_MAX_BYTES)
		return complain("cannot use", folder, ENAMETOOLONG);
	/* rmdir is the test that nobody can be faster than. */
	if (rmdir(ret_folder) < 0)
		return complain("cannot mount in", folder, errno);
	if (mkdir(ret_folder, 0700) < 0 || stat(ret_folder, &st) < 0)
		return complain("cannot make", folder, errno);
	return 0;
}

/* Waits until path has the disk's size, or the process has ended. */
static bool wait_for_file(const char *path, uint64_t size_bytes, pid_t pid)
{
	for (int waited = 0; waited < START_MS; waited += LOOK_MS) {
		struct stat st;
		int status;

		if (stat(path, &st) == 0 && (uint64_t)st.st_size == size_bytes)
			return true;
		if (waitpid(pid, &status, WNOHANG) == pid)
			return false;
		pause_ms(LOOK_MS);
	}
	return false;
}

/* nbdfuse makes the plain file at path a file of the disk's size. It stays until it is unmounted. */
static int start_nbdfuse(const char *path, const json_t *disk)
{
	const char *const argv[] = {"nbdfuse", path, text_of(disk, "uri"), NULL};
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char said[512] = "";
	bool is_there;
	pid_t pid;
	int errors, error;

	if (fd < 0)
		return complain("cannot make", path, errno);
	close(fd);
	error = tool_start(argv, &pid, &errors);
	if (error) {
		fprintf(stderr,
			"blkferry: nbdfuse cannot be run: %s (install libnbd-bin and fuse3)\n",
			strerror(-error));
		return -1;
	}
	is_there = wait_for_file(path, number_of(disk, "size"), pid);
	if (!is_there) {
		if (read(errors, said, sizeof(said) - 1) <= 0)
			strcpy(said, "it does not say why\n");
		fprintf(stderr, "blkferry: nbdfuse did not mount %s: %s", path, said);
	}
	close(errors);
	return is_there ? 0 : -1;
}

/* Mounts what is at offset of the disk's file, if it is a file system; size 0: all the rest. */
static void mount_part(const char *file, unsigned int number, uint64_t offset, uint64_t size)
{
	char folder[PATH_MAX], device[64], type[32], offset_text[32], size_text[32];
	const char *const losetup[] = {"losetup",     "--find",	 "--show", "--offset", offset_text,
				       "--sizelimit", size_text, file,	   NULL};
	const char *const blkid[] = {"blkid", "-p", "-o",	  "value", "-s",
				     "TYPE",  "-u", "filesystem", device,  NULL};
	const char *const detach[] = {"losetup", "--detach", device, NULL};

	snprintf(offset_text, sizeof(offset_text), "%llu", (unsigned long long)offset);
	snprintf(size_text, sizeof(size_text), "%llu", (unsigned long long)size);
	if (tool_run(losetup, device, sizeof(device), false) != 0)
		return;
	if (tool_run(blkid, type, sizeof(type), true) == 0 && type[0]) {
		const char *const mount_argv[] = {"mount",
						  "-t",
						  type,
						  "-o",
						  strcmp(type, "xfs") == 0
							  ? "ro,noexec,nosuid,nodev,nouuid"
							  : "ro,noexec,nosuid,nodev",
						  device,
						  folder,
						  NULL};

		snprintf(folder, sizeof(folder), "%.*sp%u", PATH_MAX - 16, file, number);
		if (mkdir(folder, 0700) == 0 && tool_run(mount_argv, NULL, 0, false) != 0) {
			fprintf(stderr, "blkferry: the %s of %s is not mounted\n", type, folder);
			(void)rmdir(folder);
		}
	}
	/* What is mounted keeps it until it is unmounted. */
	(void)tool_run(detach, NULL, 0, true);
}

static void mount_parts(const char *file)
{
	const char *const partx[] = {
		"partx", "--show", "--noheadings", "--output", "NR,START,SECTORS", file, NULL};
	char *table = malloc(OUTPUT_MAX), *save = NULL, *line;
	unsigned int count = 0;

	if (!table)
		return;
	table[0] = '\0';
	(void)tool_run(partx, table, OUTPUT_MAX, true); /* fails where there is no table */
	for (line = strtok_r(table, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long start, sectors;
		unsigned int number;

		if (sscanf(line, "%u %llu %llu", &number, &start, &sectors) != 3)
			continue;
		mount_part(file, number, start * SECTOR_BYTES, sectors * SECTOR_BYTES);
		count++;
	}
	if (count == 0)
		mount_part(file, 0, 0, 0);
	free(table);
}

int view_mount(const char *folder, const json_t *disks)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(disks, i, disk)
	{
		char file[PATH_MAX];

		snprintf(file, sizeof(file), "%.*s/disk%llu", PATH_MAX - 32, folder,
			 (unsigned long long)number_of(disk, "disk"));
		if (start_nbdfuse(file, disk))
			return -1;
		if (geteuid() == 0)
			mount_parts(file);
	}
	return 0;
}

/* \ooo of mountinfo */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] && text[3]) {
			*to++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + text[3] - '0');
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

/* The newest mount below folder. */
static bool find_mount(const char *folder, char ret_path[PATH_MAX])
{
	size_t length = strlen(folder);
	bool is_found = false;
	char *line = NULL;
	size_t room = 0;
	FILE *file = fopen("/proc/self/mountinfo", "re");

	while (file && getline(&line, &room, file) > 0) {
		char path[PATH_MAX];

		if (sscanf(line, "%*u %*u %*s %*s %4095s", path) != 1)
			continue;
		unescape(path);
		if (strncmp(path, folder, length) == 0 && path[length] == '/') {
			memcpy(ret_path, path, sizeof(path));
			is_found = true;
		}
	}
	free(line);
	if (file)
		fclose(file);
	return is_found;
}

static int unmount_one(const char *path)
{
	const char *const fusermount[] = {"fusermount3", "-u", path, NULL};

	for (int i = 0; i < IN_USE_TRIES; i++) {
		/* Who is not root may unmount what he mounted by FUSE. */
		if (umount2(path, UMOUNT_NOFOLLOW) == 0 ||
		    (errno == EPERM && tool_run(fusermount, NULL, 0, true) == 0))
			return 0;
		if (errno != EBUSY)
			break;
		pause_ms(LOOK_MS * 5); /* a loop device takes a moment to let go */
	}
	return complain("cannot unmount", path, errno);
}

/* What view_mount made: empty files and folders named diskN and diskNpM. */
static void remove_left(const char *folder)
{
	DIR *entries = opendir(folder);
	struct dirent *entry;

	while (entries && (entry = readdir(entries))) {
		unsigned int disk, part;
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%.*s/%s", PATH_MAX - 300, folder, entry->d_name);
		if (sscanf(entry->d_name, "disk%up%u", &disk, &part) == 2)
			(void)rmdir(path);
		else if (sscanf(entry->d_name, "disk%u", &disk) == 1)
			(void)unlink(path);
	}
	if (entries)
		closedir(entries);
	(void)rmdir(folder);
}

int view_unmount(const char *folder)
{
	char path[PATH_MAX];

	for (int i = 0; i < MOUNTS_MAX && find_mount(folder, path); i++)
		if (unmount_one(path))
			return -1;
	remove_left(folder);
	return 0;
}
