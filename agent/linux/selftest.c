/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Do the programs see what really happens? Block layer tracepoints are no promise, so each start proves
 * them: a block is read with O_DIRECT, and every program must have seen exactly that request.
 */
#include "agent/linux/tracker_set.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/os_clock.h"
#include "common/os_file.h"

#define PROBE_BYTES 4096u
/* A completion that nests in another one is not seen by all programs, and rightly so: try elsewhere. */
#define PROBE_TRIES 16
/* ... and later: one that was preempted in a program keeps that program from running on its CPU. */
#define PROBE_TRIES_AT_ONCE 4
#define PROBE_PAUSE_NS	    (10 * NS_PER_MS)

/* Arms the programs, reads, disarms. The events come before the read returns. */
int selftest_probe(struct tracker_set *set, int fd, const struct tracked_disk *disk,
		   uint64_t offset, uint32_t length, void *buffer)
{
	struct tracker_selftest *test = &set->state->selftest;
	ssize_t got;

	__atomic_store_n(&test->is_armed, 0, __ATOMIC_SEQ_CST);
	memset(test->seen, 0, sizeof(test->seen));
	test->device = tracker_device_key(disk->major, disk->minor);
	test->sector = offset / 512;
	__atomic_store_n(&test->is_armed, 1, __ATOMIC_SEQ_CST);
	got = pread(fd, buffer, length, (off_t)offset);
	__atomic_store_n(&test->is_armed, 0, __ATOMIC_SEQ_CST);
	if (got < 0)
		return -errno;
	return got == (ssize_t)length ? 0 : -EIO;
}

static bool is_right(const struct tracker_sighting *seen, enum tracker_program program,
		     const struct tracker_selftest *test, uint8_t op_read, uint32_t length)
{
	return seen->count > 0 && seen->sector == test->sector &&
	       seen->bio_sector == test->sector && seen->bytes == length &&
	       seen->bio_bytes == length && seen->op == op_read &&
	       (program == TRACKER_ISSUE || seen->done_bytes == length);
}

static int describe(const struct tracker_selftest *test, enum tracker_program program,
		    const struct tracked_disk *disk, uint32_t length, struct fault *fault)
{
	const struct tracker_sighting *seen = &test->seen[program];

	if (seen->count == 0 && seen->other_count == 0)
		return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
				 "self-test: a read of %s raised no event in program %s",
				 disk->path, set_program_names[program]);
	if (seen->count == 0)
		return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
				 "self-test: sector %" PRIu64
				 " of %s was read, and program %s saw %u events "
				 "elsewhere (the last at sector %" PRIu64 ")",
				 (uint64_t)test->sector, disk->path, set_program_names[program],
				 seen->other_count, (uint64_t)seen->other_sector);
	return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
			 "self-test: %u bytes at sector %" PRIu64
			 " of %s were read, and program %s "
			 "saw operation %u, %u bytes (bio %u, done %u) at sector %" PRIu64
			 " (bio %" PRIu64 ")",
			 length, (uint64_t)test->sector, disk->path, set_program_names[program],
			 seen->op, seen->bytes, seen->bio_bytes, seen->done_bytes,
			 (uint64_t)seen->sector, (uint64_t)seen->bio_sector);
}

static uint64_t choose_offset(const struct tracked_disk *disk, uint32_t length)
{
	uint64_t number;

	/* Where nobody else is likely to read at this moment. */
	os_random(&number, sizeof(number));
	return number % (disk->size_bytes / length) * length;
}

static int read_and_compare(struct tracker_set *set, const struct kernel_facts *facts,
			    const struct tracked_disk *disk, int fd, void *buffer,
			    struct fault *fault)
{
	const struct tracker_selftest *test = &set->state->selftest;
	uint32_t length = disk->size_bytes < PROBE_BYTES ? disk->logical_block_bytes : PROBE_BYTES;
	bool has_seen[TRACKER_PROGRAMS] = {false};
	int wrong = -1;

	for (int try = 0; try < PROBE_TRIES; try++) {
		int r;

		if (try >= PROBE_TRIES_AT_ONCE)
			os_sleep_ns(PROBE_PAUSE_NS);
		r = selftest_probe(set, fd, disk, choose_offset(disk, length), length, buffer);
		if (r < 0)
			return fault_set(fault, FAULT_STOP, -r, "self-test: cannot read %s: %s",
					 disk->path, strerror(-r));
		wrong = -1;
		for (int i = 0; i < TRACKER_PROGRAMS; i++) {
			has_seen[i] |= is_right(&test->seen[i], (enum tracker_program)i, test,
						facts->op_read, length);
			if (!has_seen[i])
				wrong = i;
		}
		if (wrong < 0)
			return 0;
	}
	return describe(test, (enum tracker_program)wrong, disk, length, fault);
}

int selftest_read(struct tracker_set *set, const struct kernel_facts *facts,
		  const struct tracked_disk *disk, struct fault *fault)
{
	void *buffer;
	int fd = open(disk->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	int r;

	if (fd < 0)
		return fault_set(fault, FAULT_STOP, errno, "self-test: cannot open %s: %s",
				 disk->path, strerror(errno));
	if (posix_memalign(&buffer, PROBE_BYTES, PROBE_BYTES) != 0) {
		close(fd);
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	}
	r = read_and_compare(set, facts, disk, fd, buffer, fault);
	free(buffer);
	close(fd);
	return r;
}
