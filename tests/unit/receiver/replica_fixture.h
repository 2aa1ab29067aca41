/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of a replica share: a machine of two disks, batches of random records, and a model of what they come
 * to. Included once by each test program. */
#ifndef BLKFERRY_TESTS_REPLICA_FIXTURE_H
#define BLKFERRY_TESTS_REPLICA_FIXTURE_H

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
#include "tests/unit/receiver/command_fixture.h"

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

static inline int randomly(int below)
{
	return rand_r(&seed) % below;
}

static inline char *target_path(unsigned int disk)
{
	return text_of("%s/disk%u.img", folder, disk);
}

static inline char *file_uri(unsigned int disk)
{
	return text_of("file:%s", target_path(disk));
}

static inline int try_hold(void)
{
	static const unsigned int slots[DISKS] = {0, 1};
	int error = replica_hold(machines, machine, &replica, &fault);

	if (!error)
		error = replica_stream_map(replica, slots, DISKS, &fault);
	return error;
}

static inline void hold(void)
{
	if (try_hold())
		fail_msg("%s", fault.text);
}

static inline void release(void)
{
	replica_release(replica);
	replica = NULL;
}

/* The nbdkit of a test before, if it had one. */
static inline void end_server(void)
{
	run(text_of("[ ! -e %s/pid ] || kill $(cat %s/pid) || true", folder, folder));
}

static inline void start_with(char *(*uri)(unsigned int disk))
{
	struct fault ignored;

	end_server();
	run(text_of("rm -rf %s/*", folder));
	memset(model, 0, sizeof(model));
	batch_number = mark_number = 0;
	options = (struct receiver_options){
		.state_folder = folder,
		.storage_folder = folder,
		.journal_size_bytes = 1ull << 30,
		.retention = (char *)"1h:1s",
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

static inline void stop(void)
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
static inline void add_write(void)
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

static inline void add_mark(void)
{
	/* A second apart, or retention would thin them. */
	uint64_t time_ns = os_realtime_ns() - (3000 - ++mark_number) * NS_PER_S;

	add_record(WIRE_RECORD_MARK, 0, time_ns, mark_number, 0);
	add_record(WIRE_RECORD_CONFIRM, 0, 0, mark_number, 0);
}

static inline int append(void)
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
	if (error)
		print_message("%s\n", fault.text);
	else
		batch_number++;
	return error;
}

static inline void make_batch(void)
{
	raw_bytes = records = 0;
	for (int i = 1 + randomly(20); i > 0; i--)
		add_write();
	if (randomly(5) == 0)
		add_mark();
	if (randomly(3) == 0)
		add_write();
}

static inline void sync_now(void)
{
	struct journal_place durable;

	assert_int_equal(replica_stream_sync(replica, &durable, &fault), 0);
	assert_int_equal(durable.batch, batch_number);
}

static inline void expect_model(void)
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

static inline void drain(void)
{
	if (replica_drain(replica, DRAIN_NS, &fault))
		fail_msg("%s", fault.text);
}

/* The points as one text. */
static inline char *points_text(void)
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

static inline void expect_no_stream(void)
{
	struct journal_place end;
	uint64_t mark;

	replica_stream_end(replica, &end, &mark);
	assert_int_equal(end.stream, 0);
	assert_int_equal(end.batch, 0);
	batch_number = 0;
}

static inline int set_up(void **state)
{
	const char *text = getenv("TEST_SEED");

	seed = text ? (unsigned int)atoi(text) : (unsigned int)os_monotonic_ns();
	printf("TEST_SEED=%u\n", seed);
	return mkdtemp(folder) ? 0 : -1;
}

static inline int tear_down(void **state)
{
	end_server();
	run(text_of("rm -rf %s", folder));
	return 0;
}

#endif
