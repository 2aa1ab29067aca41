/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks, capture, tracker, reader and receiver that are made up for a test of the stream, all in memory. The
 * disks' blocks hold a number each. `stable` is what a block holds by the writes that were reported complete;
 * a write that is on its way has changed `disk` already.
 */
#ifndef BLKFERRY_TESTS_UNIT_AGENT_FAKE_CAPTURE_H
#define BLKFERRY_TESTS_UNIT_AGENT_FAKE_CAPTURE_H

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/capture.h"
#include "agent/reader.h"
#include "agent/stream_internal.h"
#include "common/frame.h"
#include "common/wire_check.h"
#include "common/wire_records.h"

#define DISKS	    2
#define BLOCKS	    128
#define BLOCK_BYTES 4096u
#define PENDING_MAX 16
#define RING_MAX    65536 /* records that a test makes at most */
#define STREAM_ID   77

struct capture {
	int unused;
};

struct capture_notes {
	uint64_t pending[PENDING_MAX];
	unsigned int count;
};

struct fake_record {
	enum capture_kind kind;
	unsigned int disk;
	uint64_t block, value, holes;
};

/* A write on its way, or completed without being seen. */
struct fake_pending {
	uint64_t id; /* 0: free */
	unsigned int disk;
	uint64_t block, value;
	bool is_unseen;
};

static struct {
	struct capture capture;
	enum capture_mode mode;
	struct fake_record ring[RING_MAX];
	uint64_t produced, released; /* a record is a position */
	uint64_t room;		     /* records that the ring holds */
	uint64_t holes;
	enum capture_hole last_hole;
	uint64_t disk[DISKS][BLOCKS], stable[DISKS][BLOCKS];
	bool is_nobodys[DISKS][BLOCKS]; /* discarded */
	bool is_unreadable[DISKS][BLOCKS];
	struct fake_pending pending[PENDING_MAX];
	uint64_t next_id;
	bool is_suspect;
	void (*during_read)(void); /* what happens while a block is being read */
	uint64_t gaps;
} fake;

static struct source source;
static uint64_t dirty_words[DISKS][BLOCKS / 64], todo_words[DISKS][BLOCKS / 64];
static struct tracker_disk_memory memories[DISKS];

static inline void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	memset(dirty_words, 0, sizeof(dirty_words));
	memset(todo_words, 0, sizeof(todo_words));
	memset(memories, 0, sizeof(memories));
	memset(&source, 0, sizeof(source));
	fake.mode = CAPTURE_OFF;
	fake.last_hole = CAPTURE_HOLE_UNSEEN;
	fake.room = RING_MAX;
	source.count = DISKS;
	for (unsigned int i = 0; i < DISKS; i++) {
		source.disks[i].block_bytes = BLOCK_BYTES;
		source.disks[i].disk.size_bytes = BLOCKS * BLOCK_BYTES;
		source.disks[i].dirty = (struct bitmap){dirty_words[i], BLOCKS};
		source.disks[i].todo = (struct bitmap){todo_words[i], BLOCKS};
		source.disks[i].memory = &memories[i];
	}
}

/* --- what a guest does ---------------------------------------------------------------------- */

static inline void fake_mark_dirty(unsigned int disk, uint64_t block)
{
	bitmap_set(&source.disks[disk].dirty, block, 1);
}

static inline void fake_hole(unsigned int disk, uint64_t block)
{
	fake_mark_dirty(disk, block);
	fake.holes++;
}

static inline void fake_complete(unsigned int disk, uint64_t block, uint64_t value)
{
	fake.stable[disk][block] = value;
	fake.is_nobodys[disk][block] = false;
	if (fake.mode == CAPTURE_ON && fake.produced - fake.released >= fake.room) {
		fake.mode = CAPTURE_FULL;
		fake_hole(disk, block);
		return;
	}
	if (fake.mode != CAPTURE_ON) {
		fake_mark_dirty(disk, block);
		return;
	}
	assert_true(fake.produced < RING_MAX);
	fake.ring[fake.produced++] = (struct fake_record){
		.kind = value ? CAPTURE_DATA : CAPTURE_ZERO,
		.disk = disk,
		.block = block,
		.value = value,
		.holes = fake.holes,
	};
}

static inline void fake_write(unsigned int disk, uint64_t block, uint64_t value)
{
	fake.disk[disk][block] = value;
	fake_complete(disk, block, value);
}

/* NULL: too many are on their way. */
static inline struct fake_pending *fake_issue(unsigned int disk, uint64_t block, uint64_t value)
{
	for (unsigned int i = 0; i < PENDING_MAX; i++) {
		if (fake.pending[i].id)
			continue;
		fake.disk[disk][block] = value;
		fake.pending[i] = (struct fake_pending){
			.id = ++fake.next_id, .disk = disk, .block = block, .value = value};
		return &fake.pending[i];
	}
	return NULL;
}

static inline void fake_finish(struct fake_pending *pending)
{
	pending->id = 0;
	fake_complete(pending->disk, pending->block, pending->value);
}

/* Reported complete, but no program saw it; found out later. */
static inline void fake_finish_unseen(struct fake_pending *pending)
{
	pending->is_unseen = true;
	fake.stable[pending->disk][pending->block] = pending->value;
	fake.is_nobodys[pending->disk][pending->block] = false;
}

static inline void fake_find(struct fake_pending *pending)
{
	pending->id = 0;
	fake_hole(pending->disk, pending->block);
}

static inline void fake_discard(unsigned int disk, uint64_t block, uint64_t value)
{
	fake.disk[disk][block] = value;
	fake.stable[disk][block] = value;
	fake.is_nobodys[disk][block] = true;
	fake_mark_dirty(disk, block);
}

/* --- capture.h ------------------------------------------------------------------------------- */

const char *capture_hole_name(enum capture_hole hole)
{
	return "hole";
}

uint64_t capture_stream_id(const struct capture *capture)
{
	return STREAM_ID;
}

uint64_t capture_ring_bytes(const struct capture *capture)
{
	return fake.room;
}

enum capture_mode capture_get_mode(const struct capture *capture)
{
	return fake.mode;
}

void capture_stop(struct capture *capture)
{
	fake.mode = CAPTURE_OFF;
}

uint64_t capture_produced(const struct capture *capture)
{
	return fake.produced;
}

uint64_t capture_released(const struct capture *capture)
{
	return fake.released;
}

bool capture_next(struct capture *capture, uint64_t *position, struct capture_record *ret_record)
{
	const struct fake_record *record = &fake.ring[*position];

	assert_true(*position >= fake.released);
	if (*position >= fake.produced)
		return false;
	*ret_record = (struct capture_record){
		.kind = record->kind,
		.disk = record->disk,
		.offset = record->block * BLOCK_BYTES,
		.length = BLOCK_BYTES,
		.position = *position,
		.end = *position + 1,
		.holes = record->holes,
	};
	memcpy(ret_record->data, &record->value, sizeof(record->value));
	++*position;
	return true;
}

void capture_release(struct capture *capture, uint64_t position)
{
	assert_true(position >= fake.released && position <= fake.produced);
	fake.released = position;
}

int capture_spill(struct capture *capture, uint64_t position, struct fault *fault)
{
	fake.mode = CAPTURE_OFF;
	for (; position < fake.produced; position++)
		bitmap_set(&source.disks[fake.ring[position].disk].todo, fake.ring[position].block,
			   1);
	fake.released = fake.produced;
	return 0;
}

void capture_start(struct capture *capture)
{
	if (fake.mode != CAPTURE_ON)
		(void)capture_spill(capture, fake.released, NULL);
	fake.mode = CAPTURE_ON;
}

uint64_t capture_holes(const struct capture *capture)
{
	return fake.holes;
}

enum capture_hole capture_last_hole(const struct capture *capture)
{
	return fake.last_hole;
}

int capture_take(struct capture *capture, unsigned int disk, struct fault *fault)
{
	(void)bitmap_move(&source.disks[disk].todo, &source.disks[disk].dirty);
	return 0;
}

int capture_notes_new(const struct capture *capture, struct capture_notes **ret_notes)
{
	*ret_notes = calloc(1, sizeof(**ret_notes));
	return 0;
}

void capture_notes_free(struct capture_notes *notes)
{
	free(notes);
}

void capture_notes_take(struct capture *capture, struct capture_notes *notes)
{
	notes->count = 0;
	for (unsigned int i = 0; i < PENDING_MAX; i++)
		if (fake.pending[i].id)
			notes->pending[notes->count++] = fake.pending[i].id;
}

bool capture_notes_have_settled(struct capture *capture, struct capture_notes *notes)
{
	for (unsigned int n = 0; n < notes->count; n++)
		for (unsigned int i = 0; i < PENDING_MAX; i++)
			if (fake.pending[i].id == notes->pending[n])
				return false;
	return true;
}

/* --- source.h, status.h, reader.h: what the stream asks of them -------------------------------- */

int source_take_captured(struct source *unused, struct capture *capture, struct fault *fault)
{
	for (unsigned int i = 0; i < DISKS; i++)
		(void)capture_take(capture, i, fault);
	return 0;
}

int source_take(struct source *unused, struct fault *fault)
{
	for (unsigned int i = 0; i < PENDING_MAX; i++)
		if (fake.pending[i].id)
			fake_mark_dirty(fake.pending[i].disk, fake.pending[i].block);
	return source_take_captured(unused, &fake.capture, fault);
}

void source_note_captured(struct source *unused, unsigned int disk, uint64_t offset,
			  uint64_t length)
{
}

int source_poll(struct source *unused, bool ret_relist[TRACKER_DISKS_MAX], char *ret_why,
		size_t why_size, struct fault *fault)
{
	ret_relist[0] = fake.is_suspect;
	return 0;
}

uint64_t source_todo_bytes(const struct source *unused)
{
	return (bitmap_count(&source.disks[0].todo) + bitmap_count(&source.disks[1].todo)) *
	       BLOCK_BYTES;
}

uint64_t source_dirty_bytes(const struct source *unused)
{
	return (bitmap_count(&source.disks[0].dirty) + bitmap_count(&source.disks[1].dirty)) *
	       BLOCK_BYTES;
}

void status_set_ring(struct status *status, uint64_t ring_bytes, uint64_t used_bytes,
		     uint64_t captured_bytes)
{
}

void status_count_gap(struct status *status, const char *reason)
{
	fake.gaps++;
}

static struct read_request *reading[STREAM_READS];
static unsigned int reading_count;

int reader_new(const int *fds, unsigned int disks, unsigned int depth, struct reader **ret_reader)
{
	*ret_reader = NULL;
	return 0;
}

void reader_free(struct reader *reader)
{
}

void reader_submit(struct reader *reader, struct read_request *request)
{
	reading[reading_count++] = request;
}

/* Whatever happens meanwhile, happens before the read or after it. */
struct read_request *reader_wait(struct reader *reader)
{
	struct read_request *request;

	if (!reading_count)
		return NULL;
	request = reading[--reading_count];
	if (fake.during_read)
		fake.during_read();
	request->error = 0;
	memset(request->buffer, 0, request->length);
	for (uint32_t at = 0; at < request->length; at += BLOCK_BYTES) {
		uint64_t block = (request->offset + at) / BLOCK_BYTES;

		memcpy((uint8_t *)request->buffer + at, &fake.disk[request->disk][block],
		       sizeof(uint64_t));
		if (fake.is_unreadable[request->disk][block])
			request->error = EIO;
	}
	if (fake.during_read)
		fake.during_read();
	return request;
}

#endif
