// SPDX-License-Identifier: GPL-2.0-or-later
/* The journal: order, durability, two threads, segments, full storage. Damage: test_journal_crash.c. */
#include "tests/unit/receiver/journal_fixture.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "common/os_thread.h"

#define SIZE 1000u

static int failing_sync; /* how many syncs from now; 0: none fails */

/* Takes the place of libc's: the program is linked with the library's objects. */
int fdatasync(int fd)
{
	if (failing_sync > 0 && --failing_sync == 0) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static void a_new_one_is_empty(void **state)
{
	struct journal_place place = {0};

	assert_int_equal(end.batch, 0);
	assert_int_equal(applied.batch, 0);
	assert_int_equal(read_all(&place, SIZE), 0);
}

static void batches_come_back_as_they_went_in(void **state)
{
	struct journal_place place = {0};

	for (uint64_t i = 1; i <= 50; i++)
		assert_int_equal(append(STREAM, i, SIZE), 0);
	sync_now();
	assert_int_equal(read_all(&place, SIZE), 50);
	assert_int_equal(place.batch, 50);
	reopen();
	assert_int_equal(end.stream, STREAM);
	assert_int_equal(end.batch, 50);
	assert_int_equal(end.position, 50999);
	place = (struct journal_place){STREAM, 20, 0};
	assert_int_equal(read_all(&place, SIZE), 30);
}

static void only_durable_batches_are_read(void **state)
{
	struct journal_place place = {0}, durable;

	append(STREAM, 1, SIZE);
	assert_int_equal(read_all(&place, SIZE), 0);
	assert_int_equal(journal_sync(journal, &durable, &fault), 0);
	assert_int_equal(durable.batch, 1);
	append(STREAM, 2, SIZE);
	assert_int_equal(read_all(&place, SIZE), 1);
	sync_now();
	assert_int_equal(read_all(&place, SIZE), 1);
}

static void all_sizes_fit(void **state)
{
	struct journal_place place = {0};
	uint32_t sizes[] = {1, 2, 7, 8, 9, 4095, 4096, WIRE_STREAM_RAW_MAX};

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(append(STREAM, i + 1, sizes[i]), 0);
		sync_now();
		assert_int_equal(read_all(&place, sizes[i]), 1);
	}
	reopen();
	assert_int_equal(end.batch, 8);
}

static void order_is_kept(void **state)
{
	assert_int_equal(append(STREAM, 1, SIZE), 0);
	assert_int_equal(append(STREAM, 1, SIZE), -EPROTO);
	assert_int_equal(append(STREAM, 3, SIZE), -EPROTO);
	assert_int_equal(append(STREAM, 2, SIZE), 0);
	assert_int_equal(append(STREAM + 1, 1, SIZE), 0);
	sync_now();
	reopen();
	assert_int_equal(end.stream, STREAM + 1);
	assert_int_equal(append(STREAM + 1, 1, SIZE), -EPROTO);
	assert_int_equal(append(STREAM + 1, 2, SIZE), 0);
}

static void impossible_batches_are_refused(void **state)
{
	struct wire_stream head;

	memcpy(&head, batch_of(STREAM, 1, SIZE), sizeof(head));
	head.stored_bytes = WIRE_STREAM_RAW_MAX + 1;
	assert_int_equal(journal_append(journal, &head, frame, &fault), -EPROTO);
	head.stored_bytes = 0xffffffff;
	assert_int_equal(journal_append(journal, &head, frame, &fault), -EPROTO);
	head.stored_bytes = SIZE;
	head.batch = 0;
	assert_int_equal(journal_append(journal, &head, frame, &fault), -EPROTO);
}

static void what_is_applied_is_remembered_and_segments_go(void **state)
{
	struct journal_place place = {0};
	uint64_t most;

	journal->segment_bytes = 10 * SIZE;
	for (uint64_t i = 1; i <= 100; i++)
		append(STREAM + (i > 40), i > 40 ? i - 40 : i, SIZE);
	sync_now();
	most = journal_bytes(journal);
	assert_true(most > 100 * SIZE);
	assert_int_equal(read_all(&place, SIZE), 100);
	place = (struct journal_place){STREAM, 39, 39999};
	assert_int_equal(journal_applied(journal, &place, &fault), 0);
	assert_true(journal_bytes(journal) < most - 25 * SIZE);
	place = (struct journal_place){STREAM, 3, 3999};
	assert_int_equal(journal_applied(journal, &place, &fault), 0); /* goes not back */
	reopen();
	assert_int_equal(applied.stream, STREAM);
	assert_int_equal(applied.batch, 39);
	assert_int_equal(applied.position, 39999);
	place = applied;
	assert_int_equal(read_all(&place, SIZE), 61);
	assert_int_equal(journal_applied(journal, &place, &fault), 0);
	assert_true(journal_bytes(journal) < 12 * SIZE);
	reopen();
	assert_int_equal(applied.stream, STREAM + 1);
	assert_int_equal(applied.batch, 60);
	assert_int_equal(end.batch, 60);
	place = applied;
	assert_int_equal(read_all(&place, SIZE), 0);
}

static void an_empty_newest_segment_knows_its_end(void **state)
{
	struct journal_place place = {STREAM, 1, 1999};

	append(STREAM, 1, SIZE);
	sync_now();
	assert_int_equal(journal_segment_add(journal, 2), 0);
	assert_int_equal(journal_applied(journal, &place, &fault), 0);
	reopen();
	assert_int_equal(end.batch, 1);
	assert_int_equal(applied.batch, 1);
	assert_int_equal(append(STREAM, 3, SIZE), -EPROTO);
	assert_int_equal(append(STREAM, 2, SIZE), 0);
	sync_now();
	assert_int_equal(read_all(&place, SIZE), 1);
}

static void what_is_not_there_cannot_be_applied_or_read(void **state)
{
	static uint8_t buffer[WIRE_STREAM_FRAME_MAX];
	struct journal_place place = {STREAM, 2, 0};

	append(STREAM, 1, SIZE);
	sync_now();
	append(STREAM, 2, SIZE);
	assert_int_equal(journal_applied(journal, &place, &fault), -EINVAL);
	place.stream++;
	assert_int_equal(journal_read(journal, &place, buffer, &fault), -ENOENT);
}

static void a_failed_sync_is_final_until_opened_anew(void **state)
{
	struct journal_place durable;

	append(STREAM, 1, SIZE);
	sync_now();
	append(STREAM, 2, SIZE);
	failing_sync = 1;
	assert_int_equal(journal_sync(journal, &durable, &fault), -EIO);
	assert_int_equal(fault.class, FAULT_RETRY);
	assert_int_equal(journal_sync(journal, &durable, &fault), -EIO);
	assert_int_equal(append(STREAM, 3, SIZE), -EIO);
	reopen();
	assert_int_equal(end.batch, 1); /* 2 is in nobody's cache as if it were on the disk */
	assert_int_equal(append(STREAM, 2, SIZE), 0);
	sync_now();
}

static void a_failed_note_of_the_applied_place_removes_nothing(void **state)
{
	struct journal_place place = {STREAM, 20, 20999};
	uint64_t bytes;

	journal->segment_bytes = 5 * SIZE;
	for (uint64_t i = 1; i <= 20; i++)
		append(STREAM, i, SIZE);
	sync_now();
	bytes = journal_bytes(journal);
	failing_sync = 1;
	assert_int_equal(journal_applied(journal, &place, &fault), -EIO);
	assert_int_equal(journal_applied(journal, &place, &fault), -EIO);
	assert_int_equal(journal_bytes(journal), bytes);
	reopen();
	assert_int_equal(end.batch, 20);
}

static void a_full_disk_appends_nothing(void **state)
{
	struct rlimit limit, old;
	struct journal_place place = {0};
	uint64_t bytes;

	append(STREAM, 1, SIZE);
	sync_now();
	bytes = journal_bytes(journal);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	for (unsigned int more = 0; more < 2 * SIZE; more += 13) {
		struct stat status;

		limit = (struct rlimit){bytes + more, old.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
		assert_int_equal(append(STREAM, 2, 2 * SIZE), -ENOSPC);
		assert_int_equal(fault.class, FAULT_RETRY);
		assert_int_equal(fstat(journal->fd, &status), 0);
		assert_int_equal(status.st_size, bytes);
	}
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(append(STREAM, 2, SIZE), 0);
	sync_now();
	assert_int_equal(read_all(&place, SIZE), 2);
	reopen();
	assert_int_equal(end.batch, 2);
}

/* The room of what is applied is all that it needs, however little a segment has. */
static void a_full_disk_gives_back_what_is_applied(void **state)
{
	struct journal_place place = {STREAM, 9, 9999};
	struct rlimit limit, old;
	uint64_t bytes;

	for (uint64_t i = 1; i <= 9; i++)
		append(STREAM, i, SIZE);
	sync_now();
	bytes = journal_bytes(journal);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){bytes > 8192 ? bytes : 8192, old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(append(STREAM, 10, 8192), -ENOSPC);
	assert_int_equal(journal_bytes(journal), bytes);
	assert_int_equal(journal_applied(journal, &place, &fault), 0);
	assert_int_equal(append(STREAM, 10, SIZE), 0);
	sync_now();
	for (uint64_t i = 11; i < 100; i++) {
		place = (struct journal_place){STREAM, i - 1, (i - 1) * 1000 + 999};
		assert_int_equal(journal_applied(journal, &place, &fault), 0);
		assert_int_equal(append(STREAM, i, SIZE), 0);
		sync_now();
		assert_true(journal_bytes(journal) <= limit.rlim_cur);
	}
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(read_all(&place, SIZE), 1);
	reopen();
	assert_int_equal(end.batch, 99);
	assert_int_equal(applied.batch, 98);
}

/* Writes the file until its file system has not a page left. */
static void fill_up(const char *path)
{
	static const char page[4096];
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	while (write(fd, page, sizeof(page)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
	close(fd);
}

/* On a file system of its own, of which others and the last segment have every page. */
static void the_last_page_is_not_needed_to_go_on(void **state)
{
	struct journal_place place;
	char ballast[80];
	uint64_t batch = 0;

	close_it();
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", folder, "tmpfs", 0, "size=1m")) {
		assert_int_equal(try_open(), 0);
		print_message("skipped: mounting a file system needs root\n");
		skip();
	}
	assert_int_equal(try_open(), 0);
	/* Both slots of the applied place are written, and have their pages. */
	while (batch < 20) {
		assert_int_equal(append(STREAM, ++batch, SIZE), 0);
		sync_now();
		place = (struct journal_place){STREAM, batch, batch * 1000 + 999};
		assert_int_equal(journal_applied(journal, &place, &fault), 0);
	}
	snprintf(ballast, sizeof(ballast), "%s/ballast", folder);
	fill_up(ballast);
	while (append(STREAM, batch + 1, SIZE) == 0)
		batch++;
	sync_now();
	place = (struct journal_place){STREAM, batch, batch * 1000 + 999};
	assert_int_equal(journal_applied(journal, &place, &fault), 0);
	assert_int_equal(append(STREAM, batch + 1, SIZE), 0);
	sync_now();
	reopen();
	assert_int_equal(end.batch, batch + 1);
	assert_int_equal(applied.batch, batch);
	close_it();
	assert_int_equal(umount(folder), 0);
	assert_int_equal(try_open(), 0);
}

static void two_users_are_refused(void **state)
{
	struct journal *other;

	assert_int_equal(journal_open(folder, &other, &end, &applied, &fault), -EBUSY);
	assert_int_equal(journal_discard(folder, &fault), -EBUSY);
}

static void a_discarded_one_begins_anew(void **state)
{
	struct journal_place place = {0};

	append(STREAM, 1, SIZE);
	sync_now();
	close_it();
	assert_int_equal(journal_discard(folder, &fault), 0);
	assert_int_equal(journal_discard(folder, &fault), 0);
	assert_int_equal(try_open(), 0);
	assert_int_equal(end.batch, 0);
	assert_int_equal(append(STREAM, 7, SIZE), 0);
	sync_now();
	assert_int_equal(read_all(&place, SIZE), 1);
}

/* Killed between the renaming and the end of the removal. */
static void what_a_killed_discard_left_goes(void **state)
{
	static const char *const later[] = {"open", "discard", "discard without a journal"};
	char left[96], file[160];

	snprintf(left, sizeof(left), "%s.discarded", folder);
	snprintf(file, sizeof(file), "%s/segment-0000000000000001", left);
	for (unsigned int i = 0; i < 3; i++) {
		close_it();
		if (i == 2)
			assert_int_equal(os_folder_remove(folder), 0);
		assert_int_equal(os_folder_make(left, 0700), 0);
		assert_int_equal(os_file_write_atomic(file, "x", 1, 0600), 0);
		if (i > 0)
			assert_int_equal(journal_discard(folder, &fault), 0);
		assert_int_equal(try_open(), 0);
		if (os_file_exists(left))
			fail_msg("left behind: %s", later[i]);
	}
}

#define THREAD_BATCHES 2000u
static void append_many(void *argument)
{
	for (uint64_t i = 1; i <= THREAD_BATCHES; i++) {
		const struct wire_stream *head = argument;
		struct wire_stream next = *head;
		struct journal_place durable;

		next.batch = i;
		next.from = next.to = i;
		if (journal_append(journal, &next, head + 1, NULL) != 0)
			abort();
		if (i % 7 == 0 || i == THREAD_BATCHES)
			if (journal_sync(journal, &durable, NULL) != 0)
				abort();
	}
}

static void one_thread_appends_while_another_reads_and_forgets(void **state)
{
	static uint8_t buffer[WIRE_STREAM_FRAME_MAX], mine[sizeof(struct wire_stream) + SIZE];
	struct journal_place place = {0};
	struct os_thread thread = {0};
	uint64_t seen = 0;

	journal->segment_bytes = 20 * SIZE;
	memcpy(mine, batch_of(STREAM, 1, SIZE), sizeof(mine));
	assert_int_equal(os_thread_start(&thread, "append", append_many, mine), 0);
	while (seen < THREAD_BATCHES) {
		int found = journal_read(journal, &place, buffer, &fault);

		if (found < 0)
			fail_msg("%s", fault.text);
		if (found == 0)
			continue;
		assert_int_equal(place.batch, ++seen);
		assert_memory_equal(buffer + sizeof(struct wire_stream),
				    mine + sizeof(struct wire_stream), SIZE);
		if (seen % 50 == 0)
			assert_int_equal(journal_applied(journal, &place, &fault), 0);
	}
	os_thread_join(&thread);
	assert_true(journal_bytes(journal) < 60 * SIZE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(a_new_one_is_empty),
		TEST(batches_come_back_as_they_went_in),
		TEST(only_durable_batches_are_read),
		TEST(all_sizes_fit),
		TEST(order_is_kept),
		TEST(impossible_batches_are_refused),
		TEST(what_is_applied_is_remembered_and_segments_go),
		TEST(an_empty_newest_segment_knows_its_end),
		TEST(what_is_not_there_cannot_be_applied_or_read),
		TEST(a_failed_sync_is_final_until_opened_anew),
		TEST(a_failed_note_of_the_applied_place_removes_nothing),
		TEST(a_full_disk_appends_nothing),
		TEST(a_full_disk_gives_back_what_is_applied),
		TEST(the_last_page_is_not_needed_to_go_on),
		TEST(two_users_are_refused),
		TEST(a_discarded_one_begins_anew),
		TEST(what_a_killed_discard_left_goes),
		TEST(one_thread_appends_while_another_reads_and_forgets),
	};
	int failed;

	begin();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	os_folder_remove(top);
	return failed;
}
