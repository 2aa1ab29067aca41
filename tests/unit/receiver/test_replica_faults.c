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
		cmocka_unit_test(test_old_records_do_not_reach_a_disk_that_begins_anew),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
