/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A journal in a folder of its own, and batches whose bytes follow from their number. */
#ifndef BLKFERRY_TESTS_JOURNAL_FIXTURE_H
#define BLKFERRY_TESTS_JOURNAL_FIXTURE_H

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

#include "common/compress.h"
#include "common/os_file.h"
#include "receiver/journal.h"
#include "receiver/journal_internal.h"
#include "receiver/journal_record.h"

#define STREAM 0x1122334455667788ull

static char top[] = "/tmp/bf-journal-XXXXXX";
static char folder[64];
static struct journal *journal;
static struct journal_place end, applied;
static struct fault fault;
static uint8_t frame[WIRE_STREAM_FRAME_MAX];

/* Batch number of a stream, with size bytes. */
static const void *batch_of(uint64_t stream, uint64_t batch, uint32_t size)
{
	struct wire_stream *head = (struct wire_stream *)frame;
	uint64_t random = stream ^ (batch * 0x9e3779b97f4a7c15ull + 1);

	*head = (struct wire_stream){
		.stream = stream,
		.batch = batch,
		.from = batch * 1000,
		.to = batch * 1000 + 999,
		.codec = COMPRESS_RAW,
		.records = 1,
		.raw_bytes = size,
		.stored_bytes = size,
	};
	for (uint32_t i = 0; i < size; i++) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		frame[sizeof(*head) + i] = (uint8_t)(random >> 56);
	}
	return frame;
}

static inline int append(uint64_t stream, uint64_t batch, uint32_t size)
{
	const struct wire_stream *head = batch_of(stream, batch, size);

	return journal_append(journal, head, head + 1, &fault);
}

static inline void sync_now(void)
{
	struct journal_place durable;

	assert_int_equal(journal_sync(journal, &durable, &fault), 0);
}

static inline int try_open(void)
{
	return journal_open(folder, &journal, &end, &applied, &fault);
}

static inline void close_it(void)
{
	journal_close(journal);
	journal = NULL;
}

static inline void reopen(void)
{
	close_it();
	if (try_open() != 0)
		fail_msg("%s", fault.text);
}

/* Reads on behind place and compares; returns how many batches there were. */
static inline unsigned int read_all(struct journal_place *place, uint32_t size)
{
	static uint8_t buffer[WIRE_STREAM_FRAME_MAX];
	unsigned int count = 0;
	int found;

	while ((found = journal_read(journal, place, buffer, &fault)) == 1) {
		batch_of(place->stream, place->batch, size);
		assert_int_equal(place->position, place->batch * 1000 + 999);
		assert_memory_equal(buffer, frame, sizeof(struct wire_stream) + size);
		count++;
	}
	if (found < 0)
		fail_msg("%s", fault.text);
	return count;
}

static inline int make(void **state)
{
	os_folder_remove(folder);
	return try_open();
}

static inline int drop(void **state)
{
	close_it();
	return os_folder_remove(folder);
}

static inline void begin(void)
{
	assert_non_null(mkdtemp(top));
	snprintf(folder, sizeof(folder), "%s/journal", top);
}

#endif
