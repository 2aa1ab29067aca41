/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does with disks what an agent does, and proves that the tracker lets it: takes bits, reads their
 * blocks with O_DIRECT into a shadow copy in memory, again and again, while others write. When it gets
 * SIGTERM (all writers are done by then) it takes the last bits, and then each shadow must be
 * byte-identical to its disk. One bit lost anywhere shows.
 *
 * Usage: tracker_shadow PIN_FOLDER DISK...
 * Prints "shadowing" when the first copy is made. Exit status 1: a shadow differs.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>

#include "common/log.h"
#include "tests/tools/tracker_tool.h"

#define READ_BYTES (1u << 20)

struct shadow {
	struct tracked_disk disk;
	uint8_t *bytes;
	int fd;
};

static volatile sig_atomic_t is_stopping;

static void stop(int signal)
{
	(void)signal;
	is_stopping = 1;
}

static void read_range(const struct shadow *shadow, uint64_t offset, uint64_t length, uint8_t *to)
{
	if (offset + length > shadow->disk.size_bytes)
		length = shadow->disk.size_bytes - offset;
	if (pread(shadow->fd, to, length, (off_t)offset) != (ssize_t)length)
		err(2, "%s: read of %" PRIu64 " at %" PRIu64, shadow->disk.path, length, offset);
}

/* One delta pass of one disk. Returns the blocks copied. */
static uint64_t pass(struct tracker *tracker, unsigned int index, struct shadow *shadow)
{
	uint64_t block_bytes = tracker->ops->block_bytes(tracker, index);
	struct bitmap dirty, todo;
	uint64_t first, count, blocks = 0;
	struct fault fault;

	if (tracker->ops->take(tracker, index, &fault) < 0)
		errx(2, "%s", fault.text);
	tracker->ops->bitmaps(tracker, index, &dirty, &todo);
	for (uint64_t at = 0; bitmap_next_run(&todo, at, READ_BYTES / block_bytes, &first, &count);
	     at = first + count) {
		bitmap_clear(&todo, first, count);
		read_range(shadow, first * block_bytes, count * block_bytes,
			   shadow->bytes + first * block_bytes);
		blocks += count;
	}
	return blocks;
}

static void check_state(struct tracker *tracker, unsigned int index)
{
	struct tracker_disk_state state;
	struct fault fault;

	if (tracker->ops->poll(tracker, index, &state, &fault) < 0)
		errx(2, "%s", fault.text);
	if (state.is_suspect)
		errx(1, "suspect: %s", state.why);
}

/* Compares with the disk. Returns the number of 512-byte sectors that differ. */
static uint64_t compare(const struct shadow *shadow, uint8_t *buffer)
{
	uint64_t differ = 0;

	for (uint64_t at = 0; at < shadow->disk.size_bytes; at += READ_BYTES) {
		uint64_t length = shadow->disk.size_bytes - at;

		if (length > READ_BYTES)
			length = READ_BYTES;
		read_range(shadow, at, length, buffer);
		for (uint64_t sector = 0; sector < length; sector += 512) {
			if (memcmp(buffer + sector, shadow->bytes + at + sector, 512) == 0)
				continue;
			if (differ++ == 0)
				warnx("%s: the shadow differs first at byte %" PRIu64,
				      shadow->disk.path, at + sector);
		}
	}
	return differ;
}

static void shadow_open(struct shadow *shadow)
{
	shadow->fd = open(shadow->disk.path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (shadow->fd < 0)
		err(2, "%s", shadow->disk.path);
	if (posix_memalign((void **)&shadow->bytes, 4096, shadow->disk.size_bytes) != 0)
		errx(2, "no memory");
	memset(shadow->bytes, 0xee, shadow->disk.size_bytes);
}

int main(int argc, char **argv)
{
	static struct tracked_disk disks[TRACKER_DISKS_MAX];
	static struct shadow shadows[TRACKER_DISKS_MAX];
	struct tracker_options options = {.state_folder = "/nonexistent", .bitmap_bytes = 16 << 20};
	struct sigaction action = {.sa_handler = stop};
	uint64_t passes = 0, blocks = 0, differ = 0;
	struct tracker *tracker;
	unsigned int count;
	struct fault fault;
	uint8_t *buffer;
	int index = 2;

	if (argc < 3)
		errx(2, "see the head of tracker_shadow.c");
	log_init("tracker_shadow", LOG_LEVEL_INFO);
	options.pin_folder = argv[1];
	count = describe_disks(argv, &index, disks);
	sigaction(SIGTERM, &action, NULL);
	if (posix_memalign((void **)&buffer, 4096, READ_BYTES) != 0)
		errx(2, "no memory");
	if (tracker_bpf_open(&options, disks, count, &tracker, &fault) < 0)
		errx(2, "%s", fault.text);
	for (unsigned int i = 0; i < count; i++) {
		struct bitmap dirty, todo;

		shadows[i].disk = disks[i];
		shadow_open(&shadows[i]);
		tracker->ops->bitmaps(tracker, i, &dirty, &todo);
		bitmap_set(&todo, 0, todo.bits);
		pass(tracker, i, &shadows[i]);
	}
	puts("shadowing");
	fflush(stdout);
	for (bool is_last = false; !is_last; passes++) {
		is_last = is_stopping;
		for (unsigned int i = 0; i < count; i++)
			blocks += pass(tracker, i, &shadows[i]);
	}
	for (unsigned int i = 0; i < count; i++) {
		check_state(tracker, i);
		differ += compare(&shadows[i], buffer);
	}
	printf("%" PRIu64 " passes, %" PRIu64 " blocks copied, %" PRIu64 " sectors differ, %" PRIu64
	       " runs missed\n",
	       passes, blocks, differ, tracker->ops->missed_runs(tracker));
	tracker->ops->close(tracker);
	return differ ? 1 : 0;
}
