/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The have bitmap: ranges against a plain model, what a power cut may leave behind, damage, growth.
 *
 * fdatasync is this program's own here: it keeps what the file holds at that moment, which is what a
 * power cut right after it would leave at least, and fails when told to.
 */
#include "receiver/have.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/os_file.h"

#define BLOCK	    ((uint64_t)HAVE_BLOCK_BYTES)
#define SIZE	    (517 * BLOCK + 1024) /* words and blocks that are only partly used */
#define BITS_OFFSET 4096
#define EPOCH_AT    32
#define SYNCS_MAX   8

static char folder[] = "/tmp/blkferry-test-have.XXXXXX";
static char path[256];
static struct have *have;

static unsigned int syncs, failing_sync; /* which sync fails, counted from 1; 0: none */
static char *durable[SYNCS_MAX + 1];	 /* the file at sync 1, 2, ... */

int fdatasync(int fd)
{
	struct stat st;

	syncs++;
	if (syncs == failing_sync) {
		errno = EIO;
		return -1;
	}
	if (syncs <= SYNCS_MAX && fstat(fd, &st) == 0) {
		free(durable[syncs]);
		durable[syncs] = malloc((size_t)st.st_size);
		assert_int_equal(pread(fd, durable[syncs], (size_t)st.st_size, 0), st.st_size);
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static void forget_syncs(void)
{
	for (unsigned int i = 0; i <= SYNCS_MAX; i++) {
		free(durable[i]);
		durable[i] = NULL;
	}
	syncs = 0;
	failing_sync = 0;
}

static uint64_t epoch_in(const char *file)
{
	uint64_t epoch;

	memcpy(&epoch, file + EPOCH_AT, sizeof(epoch));
	return epoch;
}

static bool has_bit(const char *file, uint64_t block)
{
	return file[BITS_OFFSET + block / 8] >> (block % 8) & 1;
}

static void open_have(uint64_t size_bytes)
{
	struct fault fault = {0};
	bool is_new;

	if (have_open(path, size_bytes, &have, &is_new, &fault) != 0)
		fail_msg("%s", fault.text);
}

static void reopen(uint64_t size_bytes)
{
	have_close(have);
	have = NULL;
	open_have(size_bytes);
}

static int refused(uint64_t size_bytes, struct fault *fault)
{
	struct have *none = NULL;
	bool is_new;
	int error;

	memset(fault, 0, sizeof(*fault));
	error = have_open(path, size_bytes, &none, &is_new, fault);
	assert_null(none);
	if (error)
		assert_int_equal(error, -fault->error);
	return error;
}

static void overwrite(off_t offset, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, size, offset), size);
	close(fd);
}

static int make(void **state)
{
	unlink(path);
	open_have(SIZE);
	forget_syncs();
	return 0;
}

static int drop(void **state)
{
	have_close(have);
	have = NULL;
	forget_syncs();
	return 0;
}

static void a_new_one_is_empty_and_says_so(void **state)
{
	struct fault fault = {0};
	struct have *first, *again;
	bool is_new = false;
	uint8_t id[HAVE_REPLICA_ID_LEN];
	static const uint8_t none[HAVE_REPLICA_ID_LEN];

	drop(NULL);
	unlink(path);
	assert_int_equal(have_open(path, SIZE, &first, &is_new, &fault), 0);
	assert_true(is_new);
	assert_int_equal(have_count_bytes(first), 0);
	assert_int_equal(have_epoch(first), 0);
	assert_int_equal(have_size_bytes(first), SIZE);
	memcpy(id, have_replica_id(first), sizeof(id));
	assert_memory_not_equal(id, none, sizeof(id));
	have_close(first);
	assert_int_equal(have_open(path, SIZE, &again, &is_new, &fault), 0);
	assert_false(is_new);
	assert_memory_equal(have_replica_id(again), id, sizeof(id));
	have_close(again);
}

static void a_renewed_one_has_another_id_and_the_same_bits(void **state)
{
	struct fault fault = {0};
	uint8_t id[HAVE_REPLICA_ID_LEN], renewed[HAVE_REPLICA_ID_LEN];
	bool is_new;

	have_mark(have, 0, 3 * BLOCK);
	assert_int_equal(have_commit(have, 7), 0);
	memcpy(id, have_replica_id(have), sizeof(id));
	assert_int_equal(have_renew(have), 0);
	memcpy(renewed, have_replica_id(have), sizeof(renewed));
	assert_memory_not_equal(renewed, id, sizeof(id));
	have_close(have);
	have = NULL;
	assert_int_equal(have_open(path, SIZE, &have, &is_new, &fault), 0);
	assert_false(is_new);
	assert_memory_equal(have_replica_id(have), renewed, sizeof(renewed));
	assert_int_equal(have_count_bytes(have), 3 * BLOCK);
	assert_int_equal(have_epoch(have), 7);
}

static void marks_match_a_plain_model(void **state)
{
	static bool model[SIZE / BLOCK + 1];
	const uint64_t blocks = SIZE / BLOCK + 1;

	memset(model, 0, sizeof(model));
	srand(2);
	for (int round = 0; round < 300; round++) {
		uint64_t offset = (uint64_t)rand() % SIZE;
		uint64_t length = 1 + (uint64_t)rand() % (round % 2 ? 3 * BLOCK : 100 * BLOCK);
		uint64_t count = 0;
		bool any = false, all = true;

		if (length > SIZE - offset)
			length = SIZE - offset;
		for (uint64_t i = offset / BLOCK; i <= (offset + length - 1) / BLOCK; i++) {
			any |= model[i];
			all &= model[i];
		}
		assert_int_equal(have_test_any(have, offset, length), any);
		assert_int_equal(have_test_all(have, offset, length), all);
		if (round % 3)
			continue;
		for (uint64_t i = offset / BLOCK; i <= (offset + length - 1) / BLOCK; i++)
			model[i] = true;
		have_mark(have, offset, length);
		for (uint64_t i = 0; i < blocks; i++)
			count += model[i] ? (i == blocks - 1 ? SIZE % BLOCK : BLOCK) : 0;
		assert_int_equal(have_count_bytes(have), count);
	}
}

static void the_whole_disk_counts_its_exact_size(void **state)
{
	have_mark(have, 0, SIZE);
	assert_int_equal(have_count_bytes(have), SIZE);
	assert_true(have_test_all(have, 0, SIZE));
}

static void ranges_beyond_the_disk_are_cut(void **state)
{
	have_mark(have, SIZE - 1, UINT64_MAX);
	have_mark(have, SIZE, 4096);
	have_mark(have, UINT64_MAX, 1);
	assert_int_equal(have_count_bytes(have), SIZE % BLOCK);
	assert_false(have_test_any(have, SIZE, UINT64_MAX));
}

static void a_commit_survives_reopening(void **state)
{
	have_mark(have, 5 * BLOCK, 70 * BLOCK);
	assert_int_equal(have_commit(have, 41), 0);
	reopen(SIZE);
	assert_int_equal(have_epoch(have), 41);
	assert_int_equal(have_count_bytes(have), 70 * BLOCK);
	assert_true(have_test_all(have, 5 * BLOCK, 70 * BLOCK));
	assert_false(have_test_any(have, 0, 5 * BLOCK));
}

static void bits_are_durable_before_their_epoch(void **state)
{
	have_mark(have, 100 * BLOCK, BLOCK);
	assert_int_equal(have_commit(have, 7), 0);
	assert_int_equal(syncs, 2);
	assert_true(has_bit(durable[1], 100));
	assert_int_equal(epoch_in(durable[1]), 0);
	assert_true(has_bit(durable[2], 100));
	assert_int_equal(epoch_in(durable[2]), 7);
}

static void bits_that_are_not_durable_get_no_epoch(void **state)
{
	have_mark(have, 0, BLOCK);
	failing_sync = 1;
	assert_int_equal(have_commit(have, 7), -EIO);
	assert_int_equal(have_epoch(have), 0);
	reopen(SIZE);
	assert_int_equal(have_epoch(have), 0);
}

static void a_failed_commit_stays_failed(void **state)
{
	/* The kernel forgets pages that it could not write: a second sync would succeed and mean nothing. */
	failing_sync = 1;
	assert_int_equal(have_commit(have, 7), -EIO);
	assert_int_equal(have_commit(have, 8), -EIO);
	assert_int_equal(syncs, 1);
}

static void epochs_do_not_go_back(void **state)
{
	assert_int_equal(have_commit(have, 7), 0);
	assert_int_equal(have_commit(have, 6), -EINVAL);
	assert_int_equal(have_commit(have, 7), 0);
	assert_int_equal(have_epoch(have), 7);
}

static void a_damaged_header_is_refused(void **state)
{
	static const off_t places[] = {0, 8, 16, EPOCH_AT, 40};

	have_commit(have, 3);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct fault fault;
		char byte, bad;
		int fd = open(path, O_RDONLY);

		have_close(have);
		have = NULL;
		assert_int_equal(pread(fd, &byte, 1, places[i]), 1);
		close(fd);
		bad = (char)(byte ^ 0x40);
		overwrite(places[i], &bad, 1);
		assert_int_equal(refused(SIZE, &fault), -EBADMSG);
		assert_int_equal(fault.class, FAULT_STOP);
		assert_non_null(strstr(fault.text, path));
		assert_non_null(strstr(fault.text, "damaged"));
		overwrite(places[i], &byte, 1);
		open_have(SIZE);
	}
}

static void a_truncated_file_is_refused(void **state)
{
	struct fault fault;

	drop(NULL);
	assert_int_equal(truncate(path, BITS_OFFSET + 8), 0);
	assert_int_equal(refused(SIZE, &fault), -EBADMSG);
	assert_int_equal(truncate(path, 20), 0);
	assert_int_equal(refused(SIZE, &fault), -EBADMSG);
}

static void a_larger_disk_extends_it(void **state)
{
	const uint64_t larger = SIZE * 500;
	uint8_t id[HAVE_REPLICA_ID_LEN];

	memcpy(id, have_replica_id(have), sizeof(id));
	have_mark(have, 0, SIZE);
	assert_int_equal(have_commit(have, 3), 0);
	reopen(larger);
	assert_memory_equal(have_replica_id(have), id, sizeof(id));
	assert_int_equal(have_size_bytes(have), larger);
	assert_int_equal(have_epoch(have), 3);
	/* Of the old last block only a part was there: it must be copied again. */
	assert_int_equal(have_count_bytes(have), SIZE - SIZE % BLOCK);
	assert_false(have_test_any(have, SIZE - SIZE % BLOCK, BLOCK));
	have_mark(have, larger - 1, 1);
	assert_int_equal(have_commit(have, 4), 0);
	reopen(larger);
	assert_true(have_test_all(have, larger - 1, 1));
}

static void a_smaller_disk_is_refused(void **state)
{
	struct fault fault;

	drop(NULL);
	assert_int_equal(refused(SIZE - 512, &fault), -EINVAL);
	assert_non_null(strstr(fault.text, "shrank"));
	open_have(SIZE);
}

static void impossible_sizes_are_refused(void **state)
{
	struct fault fault;

	drop(NULL);
	assert_int_equal(refused(0, &fault), -EINVAL);
	assert_int_equal(refused(UINT64_MAX, &fault), -EINVAL);
}

static void two_users_of_one_file_are_refused(void **state)
{
	struct fault fault;

	assert_int_not_equal(refused(SIZE, &fault), 0);
	assert_non_null(strstr(fault.text, "in use"));
}

static void space_is_allocated_at_once(void **state)
{
	struct stat st;

	reopen(SIZE * 2000);
	assert_int_equal(stat(path, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(a_new_one_is_empty_and_says_so),
		TEST(a_renewed_one_has_another_id_and_the_same_bits),
		TEST(marks_match_a_plain_model),
		TEST(the_whole_disk_counts_its_exact_size),
		TEST(ranges_beyond_the_disk_are_cut),
		TEST(a_commit_survives_reopening),
		TEST(bits_are_durable_before_their_epoch),
		TEST(bits_that_are_not_durable_get_no_epoch),
		TEST(a_failed_commit_stays_failed),
		TEST(epochs_do_not_go_back),
		TEST(a_damaged_header_is_refused),
		TEST(a_truncated_file_is_refused),
		TEST(a_larger_disk_extends_it),
		TEST(a_smaller_disk_is_refused),
		TEST(impossible_sizes_are_refused),
		TEST(two_users_of_one_file_are_refused),
		TEST(space_is_allocated_at_once),
	};
	int failed;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/disk.have", folder);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	os_folder_remove(folder);
	return failed;
}
