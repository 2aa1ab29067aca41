// SPDX-License-Identifier: GPL-2.0-or-later
/* The stream through a replica: random batches against a model in memory, with the replica closed, failing or its
 * journal read again at any moment. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/compress.h"
#include "common/digest.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "receiver/machine.h"
#include "receiver/options.h"
#include "receiver/replica.h"

#define DISKS	   2
#define DISK_BYTES (1024u * 1024)
#define DRAIN_NS   (60 * NS_PER_S)

static char folder[] = "/tmp/blkferry-test-replica.XXXXXX";
static struct receiver_options options;
static struct machines *machines;
static struct machine *machine;
static struct replica *replica;
static struct fault fault;
static uint8_t model[DISKS][DISK_BYTES];
static uint64_t batch_number, mark_number;
static uint8_t raw[WIRE_STREAM_RAW_MAX];
static uint32_t raw_bytes, records;
static unsigned int seed;

static int randomly(int below)
{
	return rand_r(&seed) % below;
}

__attribute__((format(printf, 1, 2))) static char *text_of(const char *format, ...)
{
	static char texts[8][1024];
	static unsigned int next;
	char *text = texts[next++ % 8];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(texts[0]), format, arguments);
	va_end(arguments);
	return text;
}

static void run(const char *command)
{
	assert_int_equal(system(command), 0);
}

static char *target_path(unsigned int disk)
{
	return text_of("%s/disk%u.img", folder, disk);
}

/* How the targets are named: plain files, or through an nbdkit that fails when told to. */
static char *(*uri_of)(unsigned int disk);

static char *file_uri(unsigned int disk)
{
	return text_of("file:%s", target_path(disk));
}

static int try_hold(void)
{
	static const unsigned int slots[DISKS] = {0, 1};
	int error = replica_hold(machines, machine, &replica, &fault);

	if (!error)
		error = replica_stream_map(replica, slots, DISKS, &fault);
	return error;
}

static void hold(void)
{
	if (try_hold())
		fail_msg("%s", fault.text);
}

static void release(void)
{
	replica_release(replica);
	replica = NULL;
}

static void start_with(char *(*uri)(unsigned int disk))
{
	struct fault ignored;

	uri_of = uri;
	run(text_of("rm -rf %s/*", folder));
	memset(model, 0, sizeof(model));
	batch_number = mark_number = 0;
	options = (struct receiver_options){
		.state_folder = folder,
		.storage_folder = folder,
		.journal_size_bytes = 1ull << 30,
		.retention = (char *)"1h:1ms",
	};
	assert_int_equal(machines_load(&options, &machines, &ignored), 0);
	machine = machines_add(machines, "web1");
	machine->slot_count = DISKS;
	for (unsigned int i = 0; i < DISKS; i++) {
		struct machine_slot *slot = &machine->slots[i];

		snprintf(slot->identity, sizeof(slot->identity), "disk %u", i);
		snprintf(slot->target, sizeof(slot->target), "%s", uri(i));
		slot->size_bytes = DISK_BYTES;
		slot->is_present = true;
		slot->stream_disk = -1;
	}
	assert_int_equal(machine_store(machines, machine, &ignored), 0);
}

static void stop(void)
{
	release();
	machines_free(machines);
	machines = NULL;
}

static uint8_t *add_record(enum wire_record_kind kind, unsigned int disk, uint64_t offset,
			   uint64_t length, uint32_t bytes)
{
	struct wire_record record = {
		.offset = offset, .length = length, .disk = (uint16_t)disk, .kind = (uint16_t)kind};

	memcpy(raw + raw_bytes, &record, sizeof(record));
	raw_bytes += (uint32_t)sizeof(record) + bytes;
	records++;
	return raw + raw_bytes - bytes;
}

/* Short ones most of the time, often where others are. */
static void add_write(void)
{
	unsigned int disk = (unsigned int)randomly(DISKS);
	uint32_t length = WIRE_SECTOR * (1 + (uint32_t)randomly(randomly(10) ? 16 : 64));
	uint64_t offset = WIRE_SECTOR * (uint64_t)randomly(randomly(2) ? 64 : 1900);

	if (randomly(6) == 0) {
		add_record(WIRE_RECORD_ZERO, disk, offset, length, 0);
		memset(model[disk] + offset, 0, length);
	} else {
		memset(add_record(randomly(4) ? WIRE_RECORD_WRITE : WIRE_RECORD_COPY, disk, offset,
				  length, length),
		       randomly(256), length);
		memcpy(model[disk] + offset, raw + raw_bytes - length, length);
	}
}

static void add_mark(void)
{
	add_record(WIRE_RECORD_MARK, 0, os_realtime_ns(), ++mark_number, 0);
	add_record(WIRE_RECORD_CONFIRM, 0, 0, mark_number, 0);
}

static int append(void)
{
	struct batch *batch = replica_stream_begin(replica);
	struct wire_stream *head = replica_stream_buffer(batch);
	int error;

	*head = (struct wire_stream){
		.stream = 7,
		.batch = batch_number + 1,
		.codec = COMPRESS_RAW,
		.records = records,
		.raw_bytes = raw_bytes,
		.stored_bytes = raw_bytes,
		.checksum = digest_checksum(raw, raw_bytes),
	};
	memcpy(head + 1, raw, raw_bytes);
	error = replica_stream_append(replica, &batch, &fault);
	replica_stream_end_batch(replica, batch);
	if (!error)
		batch_number++;
	return error;
}

static void make_batch(void)
{
	raw_bytes = records = 0;
	for (int i = 1 + randomly(20); i > 0; i--)
		add_write();
	if (randomly(5) == 0)
		add_mark();
	if (randomly(3) == 0)
		add_write();
}

static void sync_now(void)
{
	struct journal_place durable;

	assert_int_equal(replica_stream_sync(replica, &durable, &fault), 0);
	assert_int_equal(durable.batch, batch_number);
}

static void expect_model(void)
{
	for (unsigned int i = 0; i < DISKS; i++) {
		char *data;
		size_t size;

		assert_int_equal(os_file_read(target_path(i), DISK_BYTES, &data, &size), 0);
		assert_int_equal(size, DISK_BYTES);
		if (memcmp(data, model[i], DISK_BYTES) != 0)
			fail_msg("disk %u differs from the model", i);
		free(data);
	}
}

static void drain(void)
{
	if (replica_drain(replica, DRAIN_NS, &fault))
		fail_msg("%s", fault.text);
}

static void test_any_order_and_overlap_is_what_the_model_says(void **state)
{
	start_with(file_uri);
	hold();
	for (int i = 0; i < 400; i++) {
		make_batch();
		assert_int_equal(append(), 0);
		if (randomly(4) == 0)
			sync_now();
		if (randomly(60) == 0) {
			sync_now();
			drain();
			expect_model();
		}
		if (randomly(40) == 0) {
			sync_now();
			release();
			hold();
			expect_model(); /* all was applied on opening */
		}
	}
	sync_now();
	drain();
	expect_model();
	stop();
}

static void test_zeroes_longer_than_a_group_are_in_order(void **state)
{
	start_with(file_uri);
	hold();
	for (int i = 0; i < 20; i++) {
		make_batch();
		add_record(WIRE_RECORD_ZERO, 1, 4096, DISK_BYTES - 4096, 0);
		memset(model[1] + 4096, 0, DISK_BYTES - 4096);
		add_write();
		assert_int_equal(append(), 0);
	}
	sync_now();
	drain();
	expect_model();
	stop();
}

/* The points as one text. */
static char *points_text(void)
{
	struct history_point *points;
	unsigned int count;
	char *text = text_of("%s", ""), *end = text;

	assert_int_equal(history_list(replica_history(replica), &points, &count), 0);
	for (unsigned int i = count > 40 ? count - 40 : 0; i < count; i++)
		end += sprintf(end, "%llu ", (unsigned long long)points[i].number);
	free(points);
	return text;
}

static void test_applying_again_from_an_earlier_place_changes_nothing(void **state)
{
	char points[1024];

	start_with(file_uri);
	hold();
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 30; i++) {
			make_batch();
			assert_int_equal(append(), 0);
		}
		sync_now();
		/* As after a power cut that the note of what is applied did not survive. */
		run(text_of("rm -rf %s/copy && cp -r %s/machines/web1/journal %s/copy", folder,
			    folder, folder));
		drain();
		snprintf(points, sizeof(points), "%s", points_text());
		release();
		run(text_of("rm -rf %s/machines/web1/journal && mv %s/copy "
			    "%s/machines/web1/journal",
			    folder, folder, folder));
		hold();
		expect_model();
		assert_string_equal(points_text(), points);
	}
	stop();
}

static void test_what_was_not_mapped_is_refused(void **state)
{
	start_with(file_uri);
	hold();
	raw_bytes = records = 0;
	add_record(WIRE_RECORD_ZERO, DISKS, 0, 4096, 0);
	assert_int_equal(append(), -EPROTO);
	raw_bytes = records = 0;
	add_record(WIRE_RECORD_ZERO, 0, DISK_BYTES, 512, 0);
	assert_int_equal(append(), -EPROTO);
	sync_now();
	drain();
	expect_model();
	stop();
}

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

static int set_up(void **state)
{
	const char *text = getenv("TEST_SEED");

	seed = text ? (unsigned int)atoi(text) : (unsigned int)os_monotonic_ns();
	printf("TEST_SEED=%u\n", seed);
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)system(text_of("[ ! -e %s/pid ] || kill $(cat %s/pid) 2>/dev/null; rm -rf %s", folder,
			     folder, folder));
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_order_and_overlap_is_what_the_model_says),
		cmocka_unit_test(test_zeroes_longer_than_a_group_are_in_order),
		cmocka_unit_test(test_applying_again_from_an_earlier_place_changes_nothing),
		cmocka_unit_test(test_what_was_not_mapped_is_refused),
		cmocka_unit_test(test_a_target_that_fails_anywhere_is_caught_up_with),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
