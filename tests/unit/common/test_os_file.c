// SPDX-License-Identifier: GPL-2.0-or-later
/* Small files: whole reads, atomic replacement, folders, locks. */
#include "common/os_file.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static unsigned int count_names(const char *path)
{
	DIR *stream = opendir(path);
	unsigned int count = 0;

	assert_non_null(stream);
	while (readdir(stream))
		count++;
	closedir(stream);
	return count - 2;
}

static int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/blkferry-test-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return os_folder_remove(folder);
}

static void what_is_written_is_read_back_with_its_mode(void **state)
{
	struct stat status;
	char *data;
	size_t size;

	(void)state;
	umask(0022);
	assert_int_equal(os_file_write_atomic(path_of("a"), "one\0two", 7, 0600), 0);
	assert_int_equal(os_file_read(path_of("a"), 100, &data, &size), 0);
	assert_int_equal(size, 7);
	assert_memory_equal(data, "one\0two", 8);
	free(data);
	assert_int_equal(stat(path_of("a"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(os_file_write_atomic(path_of("a"), "", 0, 0666), 0);
	assert_int_equal(stat(path_of("a"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0666);
	assert_int_equal(status.st_size, 0);
	assert_int_equal(count_names(folder), 1);
}

static void a_file_above_the_limit_is_refused(void **state)
{
	static char large[100000];
	char *data = NULL;
	size_t size = 0;

	(void)state;
	memset(large, 'x', sizeof(large));
	assert_int_equal(os_file_write_atomic(path_of("a"), large, sizeof(large), 0600), 0);
	assert_int_equal(os_file_read(path_of("a"), sizeof(large) - 1, &data, &size), -EFBIG);
	assert_null(data);
	assert_int_equal(os_file_read(path_of("a"), sizeof(large), &data, &size), 0);
	assert_int_equal(size, sizeof(large));
	assert_memory_equal(data, large, sizeof(large));
	free(data);
}

static void files_of_unknown_size_are_read(void **state)
{
	char *data;
	size_t size;

	(void)state;
	assert_int_equal(os_file_read("/proc/self/status", 65536, &data, &size), 0);
	assert_true(size > 100);
	free(data);
	assert_int_equal(os_file_read(path_of("none"), 10, &data, &size), -ENOENT);
	assert_int_equal(os_file_read(folder, 10, &data, &size), -EISDIR);
}

/* A folder in its place makes the rename fail: after the temporary file was written. */
static void a_failed_write_leaves_no_trace(void **state)
{
	(void)state;
	assert_int_equal(os_folder_make(path_of("a/b"), 0700), 0);
	assert_true(os_file_write_atomic(path_of("a"), "x", 1, 0600) < 0);
	assert_int_equal(count_names(folder), 1);
	assert_int_equal(os_file_write_atomic(path_of("none/a"), "x", 1, 0600), -ENOENT);
}

static void folders_are_made_with_their_parents(void **state)
{
	struct stat status;

	(void)state;
	assert_int_equal(os_folder_make(path_of("x/y/z"), 0700), 0);
	assert_int_equal(os_folder_make(path_of("x/y/z/"), 0755), 0);
	assert_int_equal(stat(path_of("x/y"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0700);
	assert_int_equal(os_file_write_atomic(path_of("file"), "", 0, 0600), 0);
	assert_int_equal(os_folder_make(path_of("file/a"), 0700), -ENOTDIR);
	assert_int_equal(os_folder_make(path_of("file"), 0700), -ENOTDIR);
	assert_int_equal(os_folder_make("", 0700), -ENOENT);
}

static void removal_takes_the_tree_but_follows_no_link(void **state)
{
	char target[256];

	(void)state;
	assert_int_equal(os_folder_make(path_of("outside"), 0700), 0);
	assert_int_equal(os_file_write_atomic(path_of("outside/kept"), "x", 1, 0600), 0);
	assert_int_equal(os_folder_make(path_of("tree/deep/er"), 0700), 0);
	snprintf(target, sizeof(target), "%s", path_of("outside"));
	assert_int_equal(symlink(target, path_of("tree/deep/link")), 0);
	assert_int_equal(os_folder_remove(path_of("tree")), 0);
	assert_int_equal(access(path_of("tree"), F_OK), -1);
	assert_int_equal(access(path_of("outside/kept"), F_OK), 0);
	assert_int_equal(os_folder_remove(path_of("tree")), 0);
}

static void a_lock_excludes_until_it_is_closed(void **state)
{
	int first, second = -1;

	(void)state;
	assert_int_equal(os_file_lock(path_of("lock"), &first), 0);
	assert_int_equal(os_file_lock(path_of("lock"), &second), -EWOULDBLOCK);
	assert_int_equal(second, -1);
	close(first);
	assert_int_equal(os_file_lock(path_of("lock"), &second), 0);
	close(second);
}

static void a_folder_is_made_and_locked(void **state)
{
	char too_long[PATH_MAX];
	int first, second = -1;

	(void)state;
	assert_int_equal(os_folder_lock(path_of("a/b"), 0700, &first), 0);
	assert_int_equal(os_folder_lock(path_of("a/b"), 0700, &second), -EWOULDBLOCK);
	assert_int_equal(os_file_lock(path_of("a/b/lock"), &second), -EWOULDBLOCK);
	close(first);
	memset(too_long, 'a', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	assert_int_equal(os_folder_lock(too_long, 0700, &second), -ENAMETOOLONG);
	assert_int_equal(second, -1);
}

static void folders_can_be_synced(void **state)
{
	(void)state;
	assert_int_equal(os_folder_sync(folder), 0);
	assert_int_equal(os_folder_sync(path_of("none")), -ENOENT);
}

static void random_bytes_differ(void **state)
{
	uint8_t one[64] = {0}, two[64] = {0};

	(void)state;
	os_random(one, sizeof(one));
	os_random(two, sizeof(two));
	assert_memory_not_equal(one, two, sizeof(one));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_read_back_with_its_mode),
		TEST(a_file_above_the_limit_is_refused),
		TEST(files_of_unknown_size_are_read),
		TEST(a_failed_write_leaves_no_trace),
		TEST(folders_are_made_with_their_parents),
		TEST(removal_takes_the_tree_but_follows_no_link),
		TEST(a_lock_excludes_until_it_is_closed),
		TEST(a_folder_is_made_and_locked),
		TEST(folders_can_be_synced),
		TEST(random_bytes_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
