// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads and writes that go on until all is done: over a socket whose buffers hold a part of it, and over files that end. */
#include "common/os_io.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/os_thread.h"

#define MANY (4u * 1024 * 1024)

static char *sent, *got;
static int ends[2];

static int set_up(void **state)
{
	(void)state;
	sent = malloc(MANY);
	got = calloc(1, MANY);
	if (!sent || !got)
		return -1;
	for (size_t i = 0; i < MANY; i++)
		sent[i] = (char)(i * 31 + i / 4093);
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
}

static int tear_down(void **state)
{
	(void)state;
	free(sent);
	free(got);
	close(ends[0]);
	return close(ends[1]);
}

static void send_many(void *result)
{
	*(int *)result = os_send_all(ends[0], sent, MANY);
}

static void write_many(void *result)
{
	*(int *)result = os_write_all(ends[0], sent, MANY);
}

static void more_than_a_socket_holds_arrives(void **state)
{
	struct os_thread thread;
	int result = -1;

	(void)state;
	assert_int_equal(os_thread_start(&thread, "send", send_many, &result), 0);
	assert_int_equal(os_receive_all(ends[1], got, MANY), 0);
	os_thread_join(&thread);
	assert_int_equal(result, 0);
	assert_memory_equal(got, sent, MANY);
}

static void reads_and_writes_go_on_as_well(void **state)
{
	struct os_thread thread;
	int result = -1;

	(void)state;
	assert_int_equal(os_thread_start(&thread, "write", write_many, &result), 0);
	assert_int_equal(os_read_up_to(ends[1], got, MANY), MANY);
	os_thread_join(&thread);
	assert_int_equal(result, 0);
	assert_memory_equal(got, sent, MANY);
}

static void a_peer_that_is_gone_is_an_error_and_no_signal(void **state)
{
	(void)state;
	assert_int_equal(os_send_all(ends[0], sent, 7), 0);
	shutdown(ends[0], SHUT_RDWR);
	assert_int_equal(os_receive_all(ends[1], got, 8), -ECONNRESET);
	assert_int_equal(os_send_all(ends[0], sent, 1), -EPIPE);
}

static void a_file_that_ends_is_told_from_one_that_does_not(void **state)
{
	char path[] = "/tmp/blkferry-test-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(os_pwrite_all(fd, sent, 1000, 24), 0);
	assert_int_equal(os_pread_up_to(fd, got, MANY, 24), 1000);
	assert_memory_equal(got, sent, 1000);
	assert_int_equal(os_pread_up_to(fd, got, MANY, 1024), 0);
	assert_int_equal(os_pread_all(fd, got, 500, 524), 0);
	assert_memory_equal(got, sent + 500, 500);
	assert_int_equal(os_pread_all(fd, got, 501, 524), -EIO);
	close(fd);
	assert_int_equal(os_pread_up_to(fd, got, 1, 0), -EBADF);
	assert_int_equal(os_pread_all(fd, got, 1, 0), -EBADF);
	assert_int_equal(os_pwrite_all(fd, sent, 1, 0), -EBADF);
}

static void a_full_device_is_told(void **state)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	if (fd < 0)
		skip();
	assert_int_equal(os_write_all(fd, sent, 1), -ENOSPC);
	assert_int_equal(os_pwrite_all(fd, sent, 1, 0), -ENOSPC);
	close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(more_than_a_socket_holds_arrives),
		TEST(reads_and_writes_go_on_as_well),
		TEST(a_peer_that_is_gone_is_an_error_and_no_signal),
		TEST(a_file_that_ends_is_told_from_one_that_does_not),
		TEST(a_full_device_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
