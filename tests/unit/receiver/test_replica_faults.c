// SPDX-License-Identifier: GPL-2.0-or-later
/* A replica whose target fails, whose journal is damaged, whose disk begins anew: with batches that are not applied. */
#include "tests/unit/receiver/replica_fixture.h"

/* Disk 1 stands behind an nbdkit that fails writes while a file is there. */
static char *failing_uri(unsigned int disk)
{
	return disk == 0 ? file_uri(0) : text_of("nbd+unix:///?socket=%s/sock", folder);
}

static void start_failing_server(void)
{
	run(text_of("truncate -s %u %s", DISK_BYTES, target_path(1)));
	run(text_of(
		"nbdkit -P %s/pid -U %s/sock --filter=error --filter=multi-conn file %s "
		"error-pwrite=ENOSPC error-pwrite-rate=30%% error-zero=EIO error-zero-rate=30%% "
		"error-file=%s/fail multi-conn-mode=unsafe",
		folder, folder, target_path(1), folder));
}

static void test_a_target_that_fails_anywhere_is_caught_up_with(void **state)
{
	unsigned int failures = 0;

	if (system("command -v nbdkit >/dev/null") != 0)
		skip();
	start_with(failing_uri);
	start_failing_server();
	hold();
	for (int round = 0; round < 10; round++) {
		run(text_of("touch %s/fail", folder));
		for (int i = 0; i < 15; i++) {
			make_batch();
			assert_int_equal(append(), 0);
		}
		sync_now();
		if (replica_drain(replica, DRAIN_NS, &fault)) {
			failures++;
			assert_non_null(strstr(fault.text, "disk 1"));
		}
		release();
		run(text_of("rm %s/fail", folder));
		hold();
		expect_model();
	}
	assert_true(failures > 0);
	stop();
}

/* Leaves batches in the journal that disk 1 lacks. */
static void leave_unapplied(void)
{
	start_with(failing_uri);
	start_failing_server();
	hold();
	run(text_of("touch %s/fail", folder));
	do {
		make_batch();
		assert_int_equal(append(), 0);
		sync_now();
	} while (replica_drain(replica, DRAIN_NS, &fault) == 0);
	for (int i = 0; i < 5; i++) {
		make_batch();
		assert_int_equal(append(), 0);
	}
	sync_now();
	release();
	run(text_of("rm %s/fail", folder));
}

static void test_a_damaged_journal_has_all_disks_compared(void **state)
{
	uint8_t ids[DISKS][HAVE_REPLICA_ID_LEN];

	if (system("command -v nbdkit >/dev/null") != 0)
		skip();
	leave_unapplied();
	run(text_of("for i in 0 1; do dd if=%s/machines/web1/disk$i.have of=%s/id$i bs=16 skip=1 "
		    "count=1 status=none; done",
		    folder, folder));
	for (unsigned int i = 0; i < DISKS; i++) {
		char *data;
		size_t size;

		assert_int_equal(os_file_read(text_of("%s/id%u", folder, i), 16, &data, &size), 0);
		memcpy(ids[i], data, sizeof(ids[i]));
		free(data);
	}
	/* Not the end of it: that could be a batch that was being written. */
	run(text_of(
		"cd %s/machines/web1/journal && for f in $(ls | grep -v -e applied -e lock); do "
		"printf XXXX | dd of=$f bs=1 seek=300 conv=notrunc status=none; done",
		folder));
	hold();
	expect_no_stream();
	for (unsigned int i = 0; i < DISKS; i++)
		assert_memory_not_equal(have_replica_id(replica_disk(replica, i)->have), ids[i],
					sizeof(ids[i]));
	make_batch();
	assert_int_equal(append(), 0);
	sync_now();
	drain();
	stop();
}

static int hold_for_session(struct replica **ret_replica)
{
	const struct replica_user user = {.is_session = true};

	return replica_hold_as(machines, machine, &user, ret_replica, &fault);
}

/* As after an error of its storage: what it has is opened with nothing that can be synced. */
static void break_journal(void)
{
	int full = open("/dev/full", O_RDWR | O_CLOEXEC);
	struct journal_place durable;
	struct stat file, at;

	assert_int_equal(stat(text_of("%s/machines/web1/journal/segment-0000000000000001", folder),
			      &file),
			 0);
	for (int fd = 3; fd < 256; fd++)
		if (fstat(fd, &at) == 0 && at.st_ino == file.st_ino && at.st_dev == file.st_dev)
			assert_int_equal(dup2(full, fd), fd);
	close(full);
	make_batch();
	(void)append();
	assert_int_not_equal(replica_stream_sync(replica, &durable, &fault), 0);
}

static void test_a_view_outlives_a_journal_that_broke(void **state)
{
	struct replica *again;
	struct history_reader *reader;
	struct history_point point;
	struct journal_place end;
	uint64_t mark;
	uint8_t before[DISK_BYTES], after[DISK_BYTES];

	start_with(file_uri);
	hold();
	for (int i = 0; i < 20; i++) {
		make_batch();
		assert_int_equal(append(), 0);
	}
	raw_bytes = records = 0;
	add_mark();
	assert_int_equal(append(), 0);
	sync_now();
	drain();
	assert_int_equal(history_find(replica_history(replica), "latest", &point, &fault), 0);
	assert_int_equal(history_reader_open(replica_history(replica), point.number,
					     text_of("%s/view.map", folder), &reader, &fault),
			 0);
	memcpy(before, model[0], DISK_BYTES);

	break_journal();
	assert_int_equal(hold_for_session(&again), 0);
	assert_ptr_equal(again, replica);
	replica_stream_end(replica, &end, &mark);
	assert_int_equal(end.stream, 7);
	batch_number = end.batch;
	for (int i = 0; i < 20; i++) {
		make_batch();
		assert_int_equal(append(), 0);
		sync_now();
	}
	drain();
	/* The batch whose sync failed was overwritten by none of these for certain: what counts is that the
	 * stream goes on, and that the checkpoint is what it was. */
	for (uint64_t at = 0; at < DISK_BYTES; at += HISTORY_BLOCK_BYTES)
		assert_int_equal(history_reader_read(reader, 0, after + at, at, HISTORY_BLOCK_BYTES,
						     &fault),
				 0);
	assert_memory_equal(before, after, DISK_BYTES);
	history_reader_close(reader);
	replica_release(again);
	stop();
}

static void test_old_records_do_not_reach_a_disk_that_begins_anew(void **state)
{
	if (system("command -v nbdkit >/dev/null") != 0)
		skip();
	leave_unapplied();
	run(text_of("rm -r %s/machines/web1/disk0.have && rm %s", folder, target_path(0)));
	hold();
	expect_no_stream();
	assert_true(replica_disk_is_new(replica_disk(replica, 0)));
	memset(model[0], 0, DISK_BYTES);
	run(text_of("cmp -n %u %s /dev/zero", DISK_BYTES, target_path(0)));
	assert_string_equal(points_text(), "");
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_target_that_fails_anywhere_is_caught_up_with),
		cmocka_unit_test(test_a_damaged_journal_has_all_disks_compared),
		cmocka_unit_test(test_a_view_outlives_a_journal_that_broke),
		cmocka_unit_test(test_old_records_do_not_reach_a_disk_that_begins_anew),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
