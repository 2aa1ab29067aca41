// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The journal after power cuts and damage. The rule to hold: what was durable is there or opening refuses
 * (nothing in between), what was not may be gone.
 */
#include "tests/unit/receiver/journal_fixture.h"

#include <sys/syscall.h>

#define SIZE 120u

static char segment_path[PATH_MAX];
static uint8_t *image; /* of the segment */
static size_t image_bytes;

static void load(uint64_t sequence)
{
	char *data;

	snprintf(segment_path, sizeof(segment_path), "%s/segment-%016llx", folder,
		 (unsigned long long)sequence);
	free(image);
	assert_int_equal(os_file_read(segment_path, 1 << 26, &data, &image_bytes), 0);
	image = (uint8_t *)data;
}

static void store(const void *bytes, size_t size)
{
	int fd = open(segment_path, O_WRONLY | O_TRUNC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	close(fd);
}

static size_t record_bytes(void)
{
	return JOURNAL_RECORD_BYTES(sizeof(struct wire_stream) + SIZE);
}

/* Batches up to durable, synced, and then more up to last. */
static void fill(uint64_t durable, uint64_t last)
{
	for (uint64_t i = 1; i <= last; i++) {
		assert_int_equal(append(STREAM, i, SIZE), 0);
		if (i <= durable)
			sync_now();
	}
	close_it();
	load(1);
}

/* What a cut at this length leaves, whatever it is, is the whole batches before. */
static void a_cut_at_every_byte_leaves_the_whole_batches(void **state)
{
	fill(6, 6);
	for (size_t length = image_bytes; length >= image_bytes - 5 * record_bytes(); length--) {
		size_t whole = (length - sizeof(struct journal_segment)) / record_bytes();
		struct journal_place place = {0};

		/* The padding at the end says nothing. */
		if ((length - sizeof(struct journal_segment)) % record_bytes() >=
		    sizeof(struct journal_record) + sizeof(struct wire_stream) + SIZE + 8)
			whole++;
		store(image, length);
		assert_int_equal(try_open(), 0);
		assert_int_equal(end.batch, whole);
		assert_int_equal(read_all(&place, SIZE), whole);
		assert_int_equal(append(STREAM, whole + 1, SIZE), 0);
		sync_now();
		reopen();
		assert_int_equal(end.batch, whole + 1);
		close_it();
	}
}

static void a_flipped_byte_in_what_was_durable_is_refused(void **state)
{
	fill(4, 6);
	for (size_t at = 0; at < sizeof(struct journal_segment) + 3 * record_bytes(); at++) {
		image[at] ^= 0x10;
		store(image, image_bytes);
		if (try_open() == 0) { /* only where nothing is said */
			size_t inside = (at - sizeof(struct journal_segment)) % record_bytes();

			assert_true(inside >= sizeof(struct journal_record) +
						      sizeof(struct wire_stream) + SIZE + 8);
			assert_int_equal(end.batch, 6);
			close_it();
		} else {
			assert_int_equal(fault.class, FAULT_STOP);
			assert_int_equal(fault.error,
					 at >= 4 && at < 8 && image[at] ? ENOTSUP : EBADMSG);
		}
		image[at] ^= 0x10;
	}
}

static void a_flipped_byte_in_what_was_being_written_is_cut(void **state)
{
	size_t first = sizeof(struct journal_segment) + 4 * record_bytes();

	fill(4, 6);
	for (size_t at = first; at < first + 2 * record_bytes(); at++) {
		image[at] ^= 0x10;
		store(image, image_bytes);
		assert_int_equal(try_open(), 0);
		assert_true(end.batch >= 4 && end.batch <= 6);
		assert_true(end.batch >= 4 + (at - first) / record_bytes());
		close_it();
		image[at] ^= 0x10;
	}
}

static void what_was_applied_had_been_durable(void **state)
{
	struct journal_place place = {STREAM, 4, 4999};
	struct stat status;

	for (uint64_t i = 1; i <= 4; i++)
		append(STREAM, i, SIZE);
	sync_now();
	assert_int_equal(journal_applied(journal, &place, &fault), 0);
	close_it();
	load(1);
	store(image, image_bytes - record_bytes() - 20);
	assert_int_equal(try_open(), -EBADMSG);
	assert_int_equal(stat(segment_path, &status),
			 0); /* what is left of it stays to be looked at */
	assert_int_equal(status.st_size, image_bytes - record_bytes() - 20);
	store(image, image_bytes - record_bytes());
	assert_int_equal(try_open(), -EBADMSG);
	assert_non_null(strstr(fault.text, "compared"));
}

static void a_missing_segment_is_refused(void **state)
{
	struct journal_place place = {STREAM, 3, 3999};
	uint64_t sequences[32];
	unsigned int count;

	journal->segment_bytes = 3 * SIZE;
	for (uint64_t i = 1; i <= 30; i++)
		append(STREAM, i, SIZE);
	sync_now();
	assert_int_equal(journal_applied(journal, &place, &fault), 0);
	count = journal->file_count;
	assert_true(count > 5 && count <= 32);
	for (unsigned int i = 0; i < count; i++)
		sequences[i] = journal->files[i].sequence;
	close_it();
	for (unsigned int i = 0; i < count; i++) {
		load(sequences[i]);
		assert_int_equal(unlink(segment_path), 0);
		if (i + 1 < count) {
			assert_int_equal(try_open(), -EBADMSG);
			assert_int_equal(fault.class, FAULT_STOP);
		} else {
			/* A newest segment that is gone as a whole cannot be told from one that never was,
			 * unless it was known to be applied. */
			assert_int_equal(try_open(), 0);
			close_it();
		}
		close(open(segment_path, O_CREAT | O_WRONLY, 0600));
		store(image, image_bytes);
	}
	for (unsigned int i = 0; i < count; i++) {
		load(sequences[i]);
		unlink(segment_path);
	}
	assert_int_equal(try_open(), -EBADMSG);
}

static void a_segment_of_another_journal_is_refused(void **state)
{
	journal->segment_bytes = 3 * SIZE;
	for (uint64_t i = 1; i <= 10; i++)
		append(STREAM, i, SIZE);
	sync_now();
	close_it();
	load(1);
	assert_int_equal(journal_discard(folder, &fault), 0);
	assert_int_equal(try_open(), 0);
	journal->segment_bytes = 3 * SIZE;
	for (uint64_t i = 1; i <= 10; i++)
		append(STREAM, i, SIZE);
	sync_now();
	close_it();
	store(image, image_bytes);
	assert_int_equal(try_open(), -EBADMSG);
}

static void what_an_interrupted_removal_left_goes(void **state)
{
	struct journal_place place = {STREAM, 20, 20999};
	char extra[PATH_MAX + 16];

	journal->segment_bytes = 3 * SIZE;
	for (uint64_t i = 1; i <= 20; i++)
		append(STREAM, i, SIZE);
	sync_now();
	load(1);
	assert_int_equal(journal_applied(journal, &place, &fault), 0);
	close_it();
	close(open(segment_path, O_CREAT | O_WRONLY, 0600));
	store(image, image_bytes);
	snprintf(extra, sizeof(extra), "%s.AbCdEf", segment_path);
	close(open(extra, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(try_open(), 0);
	assert_int_equal(end.batch, 20);
	assert_false(os_file_exists(segment_path));
	assert_false(os_file_exists(extra));
}

static void a_torn_slot_leaves_the_one_before(void **state)
{
	struct journal_place place = {STREAM, 1, 1999};
	char path[PATH_MAX], *data;
	size_t size;

	for (uint64_t i = 1; i <= 3; i++)
		append(STREAM, i, SIZE);
	sync_now();
	for (place.batch = 1; place.batch <= 3; place.batch++)
		assert_int_equal(journal_applied(journal, &place, &fault), 0);
	close_it();
	snprintf(path, sizeof(path), "%s/applied", folder);
	assert_int_equal(os_file_read(path, 1 << 20, &data, &size), 0);
	for (size_t at = 0; at < sizeof(struct journal_slot); at++) {
		data[at] ^= 4; /* of the slot with 3 */
		assert_int_equal(os_file_write_atomic(path, data, size, 0600), 0);
		assert_int_equal(try_open(), 0);
		assert_int_equal(applied.batch, 2);
		close_it();
		data[at] ^= 4;
	}
	free(data);
}

/*
 * Power cuts: every write and sync of the newest segment is seen by the functions below, which stand in
 * libc's place. What is durable is what the file was at its last sync; of what was written since, any
 * sectors may be there and any may not, and the file's length may be anything in between.
 */
static uint8_t durable_image[1 << 20];
static size_t durable_bytes;
static bool is_recording;

int fdatasync(int fd)
{
	struct stat status;

	if (is_recording && fstat(fd, &status) == 0 && status.st_size <= (1 << 20)) {
		durable_bytes = (size_t)status.st_size;
		if (pread(fd, durable_image, durable_bytes, 0) != (ssize_t)durable_bytes)
			abort();
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static void a_power_cut_loses_nothing_that_was_durable(void **state)
{
	unsigned int random = 1;

	close_it();
	for (unsigned int round = 0; round < 400; round++) {
		uint64_t last = 1 + rand_r(&random) % 12, durable = 0;
		uint32_t size = 1 + rand_r(&random) % 3000;
		struct journal_place place = {0};
		size_t length;

		make(NULL);
		durable_bytes = sizeof(struct journal_segment);
		load(1);
		memcpy(durable_image, image, durable_bytes);
		is_recording = true;
		for (uint64_t i = 1; i <= last; i++) {
			append(STREAM, i, size);
			if (rand_r(&random) % 3 == 0) {
				sync_now();
				durable = i;
			}
		}
		is_recording = false;
		close_it();
		load(1);
		length = durable_bytes + rand_r(&random) % (image_bytes - durable_bytes + 1);
		for (size_t sector = durable_bytes / 512; sector * 512 < length; sector++)
			if (rand_r(&random) % 3 == 0)
				for (size_t at = sector * 512; at < (sector + 1) * 512; at++)
					if (at >= durable_bytes && at < image_bytes)
						image[at] = 0;
		assert_memory_equal(image, durable_image, durable_bytes);
		store(image, length);
		if (try_open() != 0)
			fail_msg("round %u: %s", round, fault.text);
		assert_in_range(end.batch, durable, last);
		assert_int_equal(read_all(&place, size), end.batch);
		assert_int_equal(append(STREAM, end.batch + 1, size), 0);
		sync_now();
		reopen();
		close_it();
	}
}

static int drop_all(void **state)
{
	free(image);
	image = NULL;
	return drop(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop_all)
	const struct CMUnitTest tests[] = {
		TEST(a_cut_at_every_byte_leaves_the_whole_batches),
		TEST(a_flipped_byte_in_what_was_durable_is_refused),
		TEST(a_flipped_byte_in_what_was_being_written_is_cut),
		TEST(what_was_applied_had_been_durable),
		TEST(a_missing_segment_is_refused),
		TEST(a_segment_of_another_journal_is_refused),
		TEST(what_an_interrupted_removal_left_goes),
		TEST(a_torn_slot_leaves_the_one_before),
		TEST(a_power_cut_loses_nothing_that_was_durable),
	};
	int failed;

	begin();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	os_folder_remove(top);
	return failed;
}
