/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of views share: a replica with a real history, and checkpoints of which copies were kept. The
 * test is the applier: it protects, and overwrites the targets. Included once by each test program.
 */
#ifndef BLKFERRY_TESTS_VIEW_FIXTURE_H
#define BLKFERRY_TESTS_VIEW_FIXTURE_H

#include "tests/unit/receiver/target_fixture.h"

#include "receiver/machine.h"
#include "receiver/options.h"
#include "receiver/replica.h"
#include "receiver/view.h"

#define DISKS	    2u
#define BLOCKS	    512u
#define BLOCK	    HISTORY_BLOCK_BYTES
#define TAIL_BYTES  1536u /* the disks' last block is no whole one */
#define POINT_COUNT 4u

static struct receiver_options options;
static struct machines *machines;
static struct machine *machine;
static struct replica *replica;
static struct history *history;
static struct target_channel *channels[DISKS];
static unsigned int seed;
static uint64_t first_time_ns; /* a moment ago: retention keeps these */

static inline uint64_t disk_bytes(unsigned int disk)
{
	return (uint64_t)(BLOCKS - 7 * disk) * BLOCK + TAIL_BYTES;
}

static inline unsigned int next_random(unsigned int limit)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % limit;
}

/* As the applier: what was there is made safe, then overwritten. */
static inline void overwrite(unsigned int disk, unsigned int block, unsigned int count)
{
	static unsigned char data[64 * BLOCK];
	struct history_extent extent = {disk, (uint64_t)block * BLOCK, (uint64_t)count * BLOCK};
	struct result written = {0};

	if (extent.offset + extent.length > disk_bytes(disk))
		extent.length = disk_bytes(disk) - extent.offset;
	for (uint64_t i = 0; i < extent.length; i++)
		data[i] = (unsigned char)next_random(256);
	assert_int_equal(replica_protect(replica, &extent, 1, &fault), 0);
	assert_int_equal(target_channel_write(channels[disk], data, extent.offset,
					      (uint32_t)extent.length, note_done, &written),
			 0);
	assert_int_equal(target_channel_drain(channels[disk], DEADLINE_NS), 0);
	assert_int_equal(written.error, 0);
}

static inline void overwrite_some(unsigned int writes)
{
	for (unsigned int i = 0; i < writes; i++)
		overwrite(next_random(DISKS), next_random(BLOCKS - 16), 1 + next_random(16));
}

static inline char *copy_path(uint64_t number, unsigned int disk)
{
	return text_of("%s/copy%llu.%u", folder, (unsigned long long)number, disk);
}

static inline char *target_path(unsigned int disk)
{
	return text_of("%s/target%u", folder, disk);
}

/* A checkpoint, and copies that history and views have no part in. */
static inline void make_point(uint64_t number)
{
	assert_int_equal(
		history_mark(history, number, first_time_ns + number * NS_PER_S, 0, &fault), 0);
	assert_int_equal(history_confirm(history, number, &fault), 0);
	for (unsigned int i = 0; i < DISKS; i++)
		run(text_of("cp %s %s", target_path(i), copy_path(number, i)));
}

static inline void hold_replica(void)
{
	assert_int_equal(replica_hold(machines, machine, &replica, &fault), 0);
	history = replica_history(replica);
	for (unsigned int i = 0; i < DISKS; i++)
		assert_int_equal(target_channel_open(replica_disk(replica, i)->target, &channels[i],
						     &fault),
				 0);
}

static inline void write_options(void)
{
	run(text_of("{ echo '[receiver]'; echo 'state-folder = %s/state';"
		    "echo 'storage-folder = %s/storage'; echo 'control-socket = %s/control.sock';"
		    "echo 'control-group = root'; echo 'listen = 127.0.0.1'; echo '[machine web1]';"
		    "cat %s/more; } >%s/receiver.ini; mkdir -p %s/storage",
		    folder, folder, folder, folder, folder, folder));
	assert_int_equal(options_read(in_folder("receiver.ini"), &options, &fault), 0);
}

static inline void make_folder(void)
{
	strcpy(folder, "/tmp/blkferry-test-view.XXXXXX");
	assert_non_null(mkdtemp(folder));
}

/* disk1_target: a URI; NULL: a file, as the first disk's. */
static inline void begin_with(const char *machine_lines, const char *disk1_target)
{
	run(text_of("printf '%%s\n' '%s' >%s/more", machine_lines, folder));
	write_options();
	assert_int_equal(machines_load(&options, &machines, &fault), 0);
	machine = machines_add(machines, "web1");
	for (unsigned int i = 0; i < DISKS; i++) {
		struct machine_slot *slot = &machine->slots[i];

		snprintf(slot->identity, sizeof(slot->identity), "disk%u", i);
		snprintf(slot->path, sizeof(slot->path), "/dev/sd%c", 'a' + (int)i);
		snprintf(slot->target, sizeof(slot->target), "file:%s", target_path(i));
		if (i == 1 && disk1_target)
			snprintf(slot->target, sizeof(slot->target), "%s", disk1_target);
		slot->size_bytes = disk_bytes(i);
		slot->is_present = true;
	}
	machine->slot_count = DISKS;
	assert_int_equal(machine_store(machines, machine, &fault), 0);
	hold_replica();
	first_time_ns = os_realtime_ns() - 60 * NS_PER_S;
	seed = 1;
	overwrite_some(200);
	for (uint64_t number = 1; number <= POINT_COUNT; number++) {
		make_point(number);
		overwrite_some(60);
	}
}

static inline int set_up(void **state)
{
	(void)state;
	make_folder();
	begin_with("", NULL);
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	view_forbid_all(machines);
	for (unsigned int i = 0; i < DISKS; i++)
		target_channel_close(channels[i]);
	replica_release(replica);
	end_server(SIGKILL);
	machines_free(machines);
	options_fini(&options);
	/* Nothing of a view is left: no process, no folder. */
	run(text_of("echo %s/views >%s/pattern", folder,
		    folder)); /* or the shell would find itself */
	assert_int_not_equal(
		try_run(text_of("grep -lsF -f %s/pattern /proc/[0-9]*/cmdline", folder)), 0);
	assert_int_not_equal(try_run(text_of("ls %s/views/* 2>/dev/null | grep -q .", folder)), 0);
	assert_int_equal(os_folder_remove(folder), 0);
	return 0;
}

static inline struct view *open_view(const char *point)
{
	struct view_options view_options = {.point = point};
	struct view *view;

	if (view_open(machines, machine, &view_options, &view, &fault))
		fail_msg("%s", fault.text);
	return view;
}

static inline void close_view(struct view *view)
{
	view_close(view);
	view_release(view);
}

static inline void read_view(const struct view *view, unsigned int disk, const char *to)
{
	run(text_of("nbdcopy '%s' %s", view_disk_uri(view, disk), to));
}

static inline void expect_copy(const struct view *view, uint64_t number)
{
	assert_int_equal(view_disk_count(view), DISKS);
	for (unsigned int i = 0; i < DISKS; i++) {
		read_view(view, i, in_folder("read"));
		run(text_of("cmp %s %s", in_folder("read"), copy_path(number, i)));
	}
}

/* nbdkit finds the plugin beside the program, which is the test here. */
static inline void bring_plugin(void)
{
	char program[512];
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

	assert_true(length > 0);
	program[length] = '\0';
	run(text_of("d=$(dirname '%s') && cp -f $d/../../../nbdkit-blkferry-plugin.so $d",
		    program));
}

/* Skips the program when one of the tools that the fixture runs is missing. */
static inline bool has_tools(void)
{
	static const char *const tools[] = {"nbdkit", "nbdcopy", "qemu-io"};

	for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++)
		if (!is_installed(tools[i])) {
			printf("%s is not installed\n", tools[i]);
			return false;
		}
	return true;
}

#endif
