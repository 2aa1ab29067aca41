/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A history over two disks in memory, and a copy of them for every mark. The target has a cache: what was
 * written since the last flush may be lost by a power cut, block by block.
 */
#ifndef BLKFERRY_TESTS_HISTORY_FIXTURE_H
#define BLKFERRY_TESTS_HISTORY_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/os_clock.h"
#include "common/os_file.h"
#include "receiver/history.h"
#include "receiver/history_internal.h"

#define BLOCK	    HISTORY_BLOCK_BYTES
#define DISKS	    2u
#define DISK0_BYTES (64u * BLOCK)
#define DISK1_BYTES (23u * BLOCK + 512u)
#define ALL_BYTES   (DISK0_BYTES + DISK1_BYTES)
#define MARKS_MAX   4096u

static char top[64] = "/dev/shm/bf-history-XXXXXX"; /* in memory: syncs by the thousand */
static char folder[96];
static const uint64_t disk_bytes[DISKS] = {DISK0_BYTES, DISK1_BYTES};
static uint8_t target[ALL_BYTES], flushed[ALL_BYTES];
static uint8_t *copies[MARKS_MAX]; /* by number */
static uint64_t next_mark = 1;
static unsigned int reads; /* of the target */
static unsigned int random_state = 1;
static struct history *history;
static struct history_setup setup;
static struct fault fault;

static inline unsigned int random_below(unsigned int end)
{
	return (unsigned int)rand_r(&random_state) % end;
}

static inline uint8_t *disk_at(uint8_t *all, unsigned int disk)
{
	return disk == 0 ? all : all + DISK0_BYTES;
}

static int read_target(void *context, unsigned int disk, void *data, uint64_t offset,
		       uint32_t length)
{
	assert_true(offset + length <= disk_bytes[disk]);
	__atomic_fetch_add(&reads, 1, __ATOMIC_RELAXED);
	memcpy(data, disk_at(target, disk) + offset, length);
	return 0;
}

static inline void open_it(void)
{
	setup.folder = folder;
	setup.disks = DISKS;
	setup.disk_bytes = disk_bytes;
	setup.read = read_target;
	if (history_open(&setup, &history, &fault) != 0)
		fail_msg("%s", fault.text);
	history->part_blocks = 24;
}

static inline void reopen(void)
{
	history_close(history);
	open_it();
}

/* Contents that follow from the seed: zeroes, something that shrinks, or noise. */
static inline void fill_bytes(uint8_t *data, size_t size, unsigned int seed)
{
	unsigned int kind = seed % 3, state = seed * 2654435761u + 1;

	for (size_t i = 0; i < size; i++)
		data[i] = kind == 0   ? 0
			  : kind == 1 ? (uint8_t)(seed + i / 64)
				      : (uint8_t)(rand_r(&state) >> 5);
}

static inline void protect(unsigned int disk, uint64_t offset, uint64_t length)
{
	struct history_extent extent = {disk, offset, length};

	if (history_protect(history, &extent, 1, &fault) != 0)
		fail_msg("%s", fault.text);
}

static inline void write_bytes(unsigned int disk, uint64_t offset, uint64_t length,
			       unsigned int seed)
{
	protect(disk, offset, length);
	fill_bytes(disk_at(target, disk) + offset, length, seed);
}

static inline void write_random(void)
{
	unsigned int disk = random_below(DISKS);
	uint64_t sectors = disk_bytes[disk] / 512, first = random_below((unsigned int)sectors);
	uint64_t count = 1 + random_below(random_below(4) == 0 ? 100 : 8);

	if (count > sectors - first)
		count = sectors - first;
	write_bytes(disk, first * 512, count * 512, random_below(1u << 30));
}

static inline void flush_target(void)
{
	memcpy(flushed, target, sizeof(target));
}

static inline void note_copy(uint64_t number)
{
	assert_true(number < MARKS_MAX);
	if (!copies[number])
		copies[number] = malloc(ALL_BYTES);
	memcpy(copies[number], target, ALL_BYTES);
}

static inline uint64_t mark_now(unsigned int flags, uint64_t time_ns)
{
	uint64_t number = next_mark++;

	flush_target();
	note_copy(number);
	if (history_mark(history, number, time_ns, flags, &fault) != 0)
		fail_msg("%s", fault.text);
	return number;
}

static inline uint64_t checkpoint(void)
{
	return mark_now(HISTORY_CONFIRMED, next_mark * NS_PER_S);
}

/* Reads it all, in pieces of any size, and compares. */
static inline void check_reader(struct history_reader *reader, uint64_t number)
{
	static uint8_t data[ALL_BYTES];

	for (unsigned int disk = 0; disk < DISKS; disk++) {
		for (uint64_t at = 0; at < disk_bytes[disk];) {
			uint32_t length = 1 + random_below(random_below(2) ? 3 * BLOCK : 100000);

			if (length > disk_bytes[disk] - at)
				length = (uint32_t)(disk_bytes[disk] - at);
			if (history_reader_read(reader, disk, data, at, length, &fault) != 0)
				fail_msg("#%d: %s", (int)number, fault.text);
			if (memcmp(data, disk_at(copies[number], disk) + at, length) != 0)
				fail_msg("#%d: disk %u differs in %d + %u", (int)number, disk,
					 (int)at, length);
			at += length;
		}
	}
}

static inline void check_point(uint64_t number)
{
	struct history_reader *reader;

	if (history_reader_open(history, number, NULL, &reader, &fault) != 0)
		fail_msg("%s", fault.text);
	check_reader(reader, number);
	history_reader_close(reader);
}

/* Returns how many there are. */
static inline unsigned int check_points(void)
{
	struct history_point *points;
	unsigned int count;

	assert_int_equal(history_list(history, &points, &count), 0);
	for (unsigned int i = 0; i < count; i++)
		check_point(points[i].number);
	free(points);
	return count;
}

static inline bool has_point(uint64_t number)
{
	struct history_point *points;
	unsigned int count;
	bool is_there = false;

	assert_int_equal(history_list(history, &points, &count), 0);
	for (unsigned int i = 0; i < count; i++)
		is_there = is_there || points[i].number == number;
	free(points);
	return is_there;
}

static inline unsigned int count_files(const char *prefix)
{
	char command[160];
	unsigned int count = 0;
	FILE *list;

	snprintf(command, sizeof(command), "ls %s | grep -c ^%s", folder, prefix);
	list = popen(command, "r");
	assert_non_null(list);
	assert_int_equal(fscanf(list, "%u", &count), 1);
	pclose(list);
	return count;
}

static inline int make(void **state)
{
	next_mark = 1;
	setup = (struct history_setup){0};
	fill_bytes(target, sizeof(target), 5);
	os_folder_remove(folder);
	open_it();
	return 0;
}

static inline int drop(void **state)
{
	history_close(history);
	history = NULL;
	return os_folder_remove(folder);
}

static inline void begin(void)
{
	if (access("/dev/shm", W_OK) != 0)
		strcpy(top, "/tmp/bf-history-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(folder, sizeof(folder), "%s/history", top);
}

static inline void finish(void)
{
	for (unsigned int i = 0; i < MARKS_MAX; i++)
		free(copies[i]);
	os_folder_remove(top);
}

#endif
