/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compares what a disk wrote down itself (tests/oracle) with what was captured of it: every sector must have
 * had those contents in that order. A record that was captured twice in a row is no difference; what was not
 * captured (the holes) is counted as missing.
 *
 * Usage: oracle_compare ORACLE_LOG FIRST_ENTRY CAPTURE_LOG DISK
 * FIRST_ENTRY: how many entries of the oracle's log are from before capture began. Prints
 * "sectors=N contents=N rewritten=N missing=N differences=N"; exit status 1 when there are differences, with
 * the first of them.
 */
#include <err.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "agent/capture.h"
#include "tests/oracle/oracle_log.h"
#include "tests/tools/capture_log.h"

#define SHOWN_MAX 10

struct change {
	uint64_t sector, order, hash;
};

struct changes {
	struct change *list;
	size_t count, room;
};

static void add(struct changes *changes, uint64_t sector, uint64_t hash)
{
	if (changes->count == changes->room) {
		changes->room = changes->room ? changes->room * 2 : 65536;
		changes->list = realloc(changes->list, changes->room * sizeof(*changes->list));
		if (!changes->list)
			err(2, "memory");
	}
	changes->list[changes->count] =
		(struct change){.sector = sector, .order = changes->count, .hash = hash};
	changes->count++;
}

static void read_oracle(const char *path, uint64_t first, struct changes *changes)
{
	struct oracle_entry entry;
	FILE *file = fopen(path, "rb");

	if (!file || fseek(file, (long)(first * sizeof(entry)), SEEK_SET) != 0)
		err(2, "%s", path);
	while (fread(&entry, sizeof(entry), 1, file) == 1)
		add(changes, entry.sector, entry.hash);
	fclose(file);
}

static void read_capture(const char *path, uint32_t disk, struct changes *changes)
{
	static uint8_t data[CAPTURE_PIECE_BYTES];
	static const uint8_t zeroes[ORACLE_SECTOR_BYTES];
	struct capture_log_head head;
	FILE *file = fopen(path, "rb");

	if (!file)
		err(2, "%s", path);
	while (fread(&head, sizeof(head), 1, file) == 1) {
		bool has_data = head.kind == CAPTURE_DATA;

		if (has_data &&
		    (head.length > sizeof(data) || fread(data, head.length, 1, file) != 1))
			errx(2, "%s: a record that is not whole", path);
		for (uint64_t at = 0; head.disk == disk && at < head.length;
		     at += ORACLE_SECTOR_BYTES)
			add(changes, (head.offset + at) / ORACLE_SECTOR_BYTES,
			    XXH3_64bits(has_data ? data + at : zeroes, ORACLE_SECTOR_BYTES));
	}
	fclose(file);
}

static int by_sector(const void *left, const void *right)
{
	const struct change *a = left, *b = right;

	if (a->sector != b->sector)
		return a->sector < b->sector ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

/* Sorts, and makes one of each run of the same contents of a sector. */
static void tidy(struct changes *changes)
{
	size_t kept = 0;

	if (!changes->list)
		return;
	qsort(changes->list, changes->count, sizeof(*changes->list), by_sector);
	for (size_t i = 0; i < changes->count; i++) {
		const struct change *change = &changes->list[i];

		if (kept && changes->list[kept - 1].sector == change->sector &&
		    changes->list[kept - 1].hash == change->hash)
			continue;
		changes->list[kept++] = *change;
	}
	changes->count = kept;
}

/* How many of the following changes are of the same sector. */
static size_t run_length(const struct changes *changes, size_t at)
{
	size_t end = at;

	while (end < changes->count && changes->list[end].sector == changes->list[at].sector)
		end++;
	return end - at;
}

/* Do the captured contents of a sector come in the disk's order? Whatever the disk saw in between is missing. */
static bool is_in_order(const struct changes *oracle, size_t at, size_t count,
			const struct changes *captured, size_t from, size_t captured_count)
{
	size_t found = 0;

	for (size_t i = 0; i < count && found < captured_count; i++)
		found += oracle->list[at + i].hash == captured->list[from + found].hash;
	return found == captured_count;
}

static unsigned int compare(const struct changes *oracle, const struct changes *captured)
{
	uint64_t sectors = 0, rewritten = 0;
	unsigned int differences = 0;
	size_t a = 0, b = 0;

	while (a < oracle->count || b < captured->count) {
		uint64_t next_a = a < oracle->count ? oracle->list[a].sector : UINT64_MAX;
		uint64_t next_b = b < captured->count ? captured->list[b].sector : UINT64_MAX;
		uint64_t sector = next_a < next_b ? next_a : next_b;
		size_t count_a = next_a == sector ? run_length(oracle, a) : 0;
		size_t count_b = next_b == sector ? run_length(captured, b) : 0;

		if (!is_in_order(oracle, a, count_a, captured, b, count_b) &&
		    differences++ < SHOWN_MAX)
			printf("sector %" PRIu64
			       ": the disk saw %zu contents, %zu others or in another order "
			       "were captured\n",
			       sector, count_a, count_b);
		sectors++;
		rewritten += count_a > 1;
		a += count_a;
		b += count_b;
	}
	printf("sectors=%" PRIu64 " contents=%zu rewritten=%" PRIu64
	       " missing=%zd differences=%u\n",
	       sectors, oracle->count, rewritten, (ssize_t)oracle->count - (ssize_t)captured->count,
	       differences);
	return differences;
}

int main(int argc, char **argv)
{
	struct changes oracle = {0}, captured = {0};
	unsigned int differences;

	if (argc != 5)
		errx(2, "usage: oracle_compare ORACLE_LOG FIRST_ENTRY CAPTURE_LOG DISK");
	read_oracle(argv[1], strtoull(argv[2], NULL, 10), &oracle);
	read_capture(argv[3], (uint32_t)strtoul(argv[4], NULL, 10), &captured);
	tidy(&oracle);
	tidy(&captured);
	differences = compare(&oracle, &captured);
	free(oracle.list);
	free(captured.list);
	return differences ? 1 : 0;
}
