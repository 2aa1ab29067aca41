/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The reader: the same behaviour from both variants, and the fall-back from one to the other. */
#include "agent/reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cmocka.h>

#include "agent/linux/reader_variant.h"

#define BLOCK	   65536u
#define BLOCKS	   48u
#define TAIL_BYTES 4096u /* after the last whole block */
#define DEPTH	   7u

typedef int variant_new(const int *fds, unsigned int disks, unsigned int depth,
			struct reader **ret_reader);

static const struct variant {
	const char *name;
	variant_new *new;
} variants[] = {{"io_uring", reader_uring_new}, {"pread", reader_pread_new}};

static int fds[2]; /* two "disks" of different contents */
static char *buffers[DEPTH];

static unsigned char byte_at(unsigned int disk, uint64_t offset)
{
	return (unsigned char)(disk * 101 + offset / 512 * 7 + offset % 251);
}

static int make_disk(unsigned int disk)
{
	char path[] = "/var/tmp/blkferry-test-reader-XXXXXX";
	int fd = mkstemp(path);
	size_t size = BLOCKS * BLOCK + TAIL_BYTES;
	unsigned char *data = malloc(size);
	int direct;

	for (size_t i = 0; i < size; i++)
		data[i] = byte_at(disk, i);
	assert_int_equal(write(fd, data, size), (ssize_t)size);
	assert_int_equal(fsync(fd), 0);
	free(data);
	direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (direct < 0) /* a file system without O_DIRECT */
		direct = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(direct >= 0);
	unlink(path);
	close(fd);
	return direct;
}

static int setup(void **state)
{
	for (unsigned int disk = 0; disk < 2; disk++)
		fds[disk] = make_disk(disk);
	for (unsigned int i = 0; i < DEPTH; i++)
		buffers[i] = aligned_alloc(4096, BLOCK);
	return 0;
}

static int teardown(void **state)
{
	for (unsigned int disk = 0; disk < 2; disk++)
		close(fds[disk]);
	for (unsigned int i = 0; i < DEPTH; i++)
		free(buffers[i]);
	return 0;
}

static struct reader *new_reader(const struct variant *variant, const int *of, unsigned int disks)
{
	struct reader *reader = NULL;
	int result = variant->new (of, disks, DEPTH, &reader);

	if (result < 0) {
		print_message("%s: %s\n", variant->name, strerror(-result));
		skip();
	}
	assert_string_equal(reader_name(reader), variant->name);
	return reader;
}

static void check_content(const struct read_request *request)
{
	const unsigned char *bytes = request->buffer;

	assert_int_equal(request->error, 0);
	for (uint32_t i = 0; i < request->length; i++)
		if (bytes[i] != byte_at(request->disk, request->offset + i))
			fail_msg("disk %u offset %llu: wrong byte", request->disk,
				 (unsigned long long)request->offset + i);
}

static void reads_all_of_two_disks_with_several_under_way(void **state)
{
	struct reader *reader = new_reader(*state, fds, 2);
	struct read_request requests[DEPTH];
	unsigned int next = 0, ended = 0;

	for (; next < DEPTH; next++) {
		requests[next] = (struct read_request){.disk = next % 2,
						       .offset = (uint64_t)(next / 2) * BLOCK,
						       .length = BLOCK,
						       .buffer = buffers[next]};
		reader_submit(reader, &requests[next]);
	}
	for (; ended < 2 * BLOCKS; ended++) {
		struct read_request *request = reader_wait(reader);

		assert_non_null(request);
		check_content(request);
		if (next == 2 * BLOCKS)
			continue;
		request->disk = next % 2;
		request->offset = (uint64_t)(next / 2) * BLOCK;
		memset(request->buffer, 0, BLOCK);
		reader_submit(reader, request);
		next++;
	}
	assert_null(reader_wait(reader));
	reader_free(reader);
}

static struct read_request *read_one(struct reader *reader, struct read_request *request)
{
	reader_submit(reader, request);
	assert_ptr_equal(reader_wait(reader), request);
	return request;
}

static void a_read_past_the_end_is_an_error(void **state)
{
	struct reader *reader = new_reader(*state, fds, 2);
	struct read_request request = {
		.offset = BLOCKS * BLOCK, .length = TAIL_BYTES, .buffer = buffers[0]};

	check_content(read_one(reader, &request));
	request.length = BLOCK; /* begins on the disk, ends past it */
	assert_int_equal(read_one(reader, &request)->error, EIO);
	request.offset += BLOCK; /* wholly past it */
	assert_int_equal(read_one(reader, &request)->error, EIO);
	request.offset = 0; /* and an error does not stick */
	check_content(read_one(reader, &request));
	reader_free(reader);
}

static void a_failed_read_says_why_and_leaves_the_others_alone(void **state)
{
	int both[2] = {fds[0], open("/", O_RDONLY | O_DIRECTORY)};
	struct reader *reader = new_reader(*state, both, 2);
	struct read_request good = {.length = BLOCK, .buffer = buffers[0]};
	struct read_request bad = {.disk = 1, .length = BLOCK, .buffer = buffers[1]};

	reader_submit(reader, &good);
	reader_submit(reader, &bad);
	assert_non_null(reader_wait(reader));
	assert_non_null(reader_wait(reader));
	assert_null(reader_wait(reader));
	check_content(&good);
	assert_int_equal(bad.error, EISDIR);
	reader_free(reader);
	close(both[1]);
}

/* A file of /proc gives a page or less at a time, as a disk may. */
static void what_a_short_read_left_is_read(void **state)
{
	int fd = open("/proc/kallsyms", O_RDONLY);
	struct reader *reader;
	struct read_request request = {.length = BLOCK, .buffer = buffers[0]};
	char *expected = buffers[1];
	size_t have = 0;
	ssize_t got;

	while (fd >= 0 && have < BLOCK && (got = read(fd, expected + have, BLOCK - have)) > 0)
		have += (size_t)got;
	if (have < BLOCK || pread(fd, buffers[2], BLOCK, 0) >= (ssize_t)BLOCK)
		skip();
	reader = new_reader(*state, &fd, 1);
	assert_int_equal(read_one(reader, &request)->error, 0);
	assert_memory_equal(request.buffer, expected, BLOCK);
	reader_free(reader);
	close(fd);
}

static void freeing_waits_for_reads_under_way(void **state)
{
	struct reader *reader = new_reader(*state, fds, 2);
	struct read_request requests[DEPTH];

	for (unsigned int i = 0; i < DEPTH; i++) {
		requests[i] = (struct read_request){.length = BLOCK, .buffer = buffers[i]};
		reader_submit(reader, &requests[i]);
	}
	reader_free(reader);
	for (unsigned int i = 0; i < DEPTH; i++)
		check_content(&requests[i]);
}

static void forbid_io_uring(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = 4, .filter = filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(77);
}

static void falls_back_to_pread_where_io_uring_is_forbidden(void **state)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct reader *reader = NULL;
		struct read_request request = {.length = BLOCK, .buffer = buffers[0]};

		forbid_io_uring();
		if (reader_new(fds, 2, DEPTH, &reader) != 0 ||
		    strcmp(reader_name(reader), "pread") != 0)
			_exit(1);
		reader_submit(reader, &request);
		if (reader_wait(reader) != &request || request.error != 0)
			_exit(2);
		reader_free(reader);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void refuses_a_depth_out_of_bounds(void **state)
{
	struct reader *reader = NULL;

	assert_int_equal(reader_new(fds, 2, 0, &reader), -EINVAL);
	assert_int_equal(reader_new(fds, 2, READER_DEPTH_MAX + 1, &reader), -EINVAL);
	assert_null(reader);
}

static void opening_what_is_not_there_says_so(void **state)
{
	struct fault fault = {0};
	int fd = -1;

	assert_int_equal(reader_open_disk("/dev/blkferry-no-such", &fd, &fault), -ENOENT);
	assert_int_equal(fd, -1);
	assert_non_null(strstr(fault.text, "/dev/blkferry-no-such"));
}

#define BY(test, index) cmocka_unit_test_prestate(test, (void *)&variants[index])
#define BY_URING(test)	BY(test, 0)
#define BY_PREAD(test)	BY(test, 1)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BY_URING(reads_all_of_two_disks_with_several_under_way),
		BY_PREAD(reads_all_of_two_disks_with_several_under_way),
		BY_URING(a_read_past_the_end_is_an_error),
		BY_PREAD(a_read_past_the_end_is_an_error),
		BY_URING(a_failed_read_says_why_and_leaves_the_others_alone),
		BY_PREAD(a_failed_read_says_why_and_leaves_the_others_alone),
		BY_URING(what_a_short_read_left_is_read),
		BY_PREAD(what_a_short_read_left_is_read),
		BY_URING(freeing_waits_for_reads_under_way),
		BY_PREAD(freeing_waits_for_reads_under_way),
		cmocka_unit_test(falls_back_to_pread_where_io_uring_is_forbidden),
		cmocka_unit_test(refuses_a_depth_out_of_bounds),
		cmocka_unit_test(opening_what_is_not_there_says_so),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
