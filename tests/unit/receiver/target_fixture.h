/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of targets share: a folder, servers in it, requests that are waited for. Included once by
 * each test program, after cmocka.h's headers.
 */
#ifndef BLKFERRY_TESTS_TARGET_FIXTURE_H
#define BLKFERRY_TESTS_TARGET_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/os_clock.h"
#include "common/os_file.h"
#include "common/units.h"
#include "receiver/target.h"
#include "tests/unit/receiver/command_fixture.h"

#define DEADLINE_NS (60 * NS_PER_S) /* not part of what is tested */
#define DISK_BYTES  (16 * MIB)
#define SKIP	    77

static char folder[] = "/tmp/blkferry-test-target.XXXXXX";
static char socket_uri[128]; /* of the server in the folder */
static pid_t server_pid;
static struct target *target;
static struct target_channel *channel;
static struct fault fault;

/* A request that is waited for. */
struct result {
	bool is_done;
	int error;
	unsigned int place; /* the how many'th of all to be done, from 1 */
};
static unsigned int done_count;

static inline void note_done(void *context, int error)
{
	struct result *result = context;

	assert_false(result->is_done);
	result->is_done = true;
	result->error = error;
	result->place = ++done_count;
}

static inline char *in_folder(const char *name)
{
	return text_of("%s/%s", folder, name);
}

static inline void wait_for_file(const char *path)
{
	uint64_t deadline_ns = os_monotonic_ns() + DEADLINE_NS;
	struct stat st;

	/* A pid file is there before its content is. */
	while (stat(path, &st) != 0 || (S_ISREG(st.st_mode) && st.st_size == 0)) {
		if (os_monotonic_ns() > deadline_ns)
			fail_msg("%s did not appear", path);
		os_sleep_ns(5 * NS_PER_MS);
	}
}

static inline pid_t pid_in(const char *path)
{
	char *text;
	size_t size;
	pid_t pid;

	wait_for_file(path);
	assert_int_equal(os_file_read(path, 64, &text, &size), 0);
	pid = atoi(text);
	free(text);
	assert_true(pid > 1);
	return pid;
}

static inline bool is_alive(pid_t pid)
{
	char *text = NULL;
	size_t size;
	bool lives = os_file_read(text_of("/proc/%d/stat", pid), 4096, &text, &size) == 0 &&
		     !strstr(text, ") Z ");

	free(text);
	return lives;
}

static inline void end_pid(pid_t pid, int signal)
{
	uint64_t deadline_ns = os_monotonic_ns() + DEADLINE_NS;

	kill(pid, signal);
	while (is_alive(pid)) {
		if (os_monotonic_ns() > deadline_ns)
			fail_msg("process %d did not end", pid);
		os_sleep_ns(5 * NS_PER_MS);
	}
}

static inline void end_server(int signal)
{
	if (!server_pid)
		return;
	end_pid(server_pid, signal);
	server_pid = 0;
	unlink(in_folder("sock"));
	unlink(in_folder("pid"));
}

/* Starts nbdkit on the folder's socket, in the background. */
static inline void start_nbdkit(const char *arguments)
{
	run(text_of("nbdkit -U %s/sock -P %s/pid %s", folder, folder, arguments));
	server_pid = pid_in(in_folder("pid"));
}

static inline void start_qemu_nbd(const char *arguments)
{
	run(text_of("qemu-nbd --fork --persistent -f raw -k %s/sock --pid-file %s/pid %s", folder,
		    folder, arguments));
	server_pid = pid_in(in_folder("pid"));
}

static inline void start_tapdisk(const char *arguments)
{
	run(text_of("exec tests/tools/tapdisk_server.py %s/sock %s/disk %s </dev/null "
		    ">%s/log 2>&1 & echo $! >%s/pid",
		    folder, folder, arguments, folder, folder));
	server_pid = pid_in(in_folder("pid"));
	wait_for_file(in_folder("sock"));
}

static inline void make_file(const char *name, uint64_t size_bytes)
{
	int fd = open(in_folder(name), O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size_bytes), 0);
	close(fd);
}

static inline int try_open(const char *uri, uint64_t size_bytes)
{
	int error;

	memset(&fault, 0, sizeof(fault));
	error = target_open(uri, folder, "web1-disk0", size_bytes, &target, &fault);
	if (error) {
		assert_null(target);
		assert_int_equal(error, -fault.error);
		assert_true(fault.text[0] != '\0');
	}
	return error;
}

static inline void open_target(const char *uri)
{
	if (try_open(uri, DISK_BYTES) != 0 || target_channel_open(target, &channel, &fault) != 0)
		fail_msg("%s", fault.text);
}

static inline void close_target(void)
{
	target_channel_close(channel);
	channel = NULL;
	target_close(target);
	target = NULL;
}

static inline void assert_drained(void)
{
	int error = target_channel_drain(channel, DEADLINE_NS);

	if (error)
		fail_msg("drain: %d, %s", error, target_channel_error(channel));
}

/* The three return the error that done got. */
static inline int write_now(const void *data, uint64_t offset, uint32_t length)
{
	struct result result = {0};

	assert_int_equal(target_channel_write(channel, data, offset, length, note_done, &result),
			 0);
	assert_drained();
	assert_true(result.is_done);
	return result.error;
}

static inline int zero_now(uint64_t offset, uint64_t length)
{
	struct result result = {0};

	assert_int_equal(target_channel_zero(channel, offset, length, note_done, &result), 0);
	assert_drained();
	assert_true(result.is_done);
	return result.error;
}

static inline int read_now(void *data, uint64_t offset, uint32_t length)
{
	struct result result = {0};

	assert_int_equal(target_channel_read(channel, data, offset, length, note_done, &result), 0);
	assert_drained();
	assert_true(result.is_done);
	return result.error;
}

static inline void fill_random(void *data, size_t size, unsigned int seed)
{
	unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++) {
		seed = seed * 1103515245u + 12345u;
		bytes[i] = (unsigned char)(seed >> 16);
	}
}

/* Random writes and zeroes of many sizes all over the target, many in flight, none overlapping one under
 * way; the model becomes what the target must be. */
static inline void scribble(unsigned char *model, unsigned int rounds, unsigned int seed)
{
	static struct result results[64];
	const uint64_t slot_bytes = DISK_BYTES / 64;

	fill_random(model, DISK_BYTES, seed);
	for (unsigned int slot = 0; slot < 64; slot++)
		assert_int_equal(
			write_now(model + slot * slot_bytes, slot * slot_bytes, slot_bytes), 0);
	srand(seed);
	for (unsigned int round = 0; round < rounds; round++) {
		memset(results, 0, sizeof(results));
		for (unsigned int slot = 0; slot < 64; slot++) {
			uint64_t at = (uint64_t)rand() % (slot_bytes / 512) * 512;
			uint64_t length = (1 + (uint64_t)rand() % ((slot_bytes - at) / 512)) * 512;
			uint64_t offset = slot * slot_bytes + at;
			bool is_zero = rand() % 3 == 0;

			if (is_zero)
				memset(model + offset, 0, length);
			else
				fill_random(model + offset, length, seed + round * 64 + slot);
			assert_int_equal(is_zero ? target_channel_zero(channel, offset, length,
								       note_done, &results[slot])
						 : target_channel_write(channel, model + offset,
									offset, (uint32_t)length,
									note_done, &results[slot]),
					 0);
		}
		assert_drained();
		for (unsigned int slot = 0; slot < 64; slot++)
			assert_true(results[slot].is_done && results[slot].error == 0);
	}
	assert_int_equal(target_channel_flush(channel, DEADLINE_NS), 0);
}

static inline void save(const char *name, const void *data, size_t size)
{
	int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, data, size), size);
	close(fd);
}

static inline int begin(void **state)
{
	server_pid = 0;
	target = NULL;
	channel = NULL;
	done_count = 0;
	snprintf(folder, sizeof(folder), "/tmp/blkferry-test-target.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(socket_uri, sizeof(socket_uri), "nbd+unix:///?socket=%s/sock", folder);
	return 0;
}

static inline int end(void **state)
{
	close_target();
	end_server(SIGKILL);
	os_folder_remove(folder);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

#endif
