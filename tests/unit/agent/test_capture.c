// SPDX-License-Identifier: GPL-2.0-or-later
/* Capture as the agent uses it, on a set in ordinary memory: records and their disks, notes, what a new set takes
 * over of an old ring. What the kernel does with it is test-capture.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>

#include "agent/linux/capture_internal.h"

#define RING	8192u
#define PENDING 4u
#define BITS	1024u /* of 4096 bytes, of each of two disks */

static struct fixture {
	struct tracker_state state;
	uint64_t dirty[2 * BITS / 64], todo[2 * BITS / 64], coarse[16];
	struct tracker_request pending[2 * PENDING];
	uint64_t seen[2 * PENDING];
	uint64_t consumer, producer;
	uint8_t memory[RING] __attribute__((aligned(8)));
	struct tracker_set set;
	struct capture capture;
} fixture;

static int begin(void **state)
{
	/* Disk 0 has slot 1, and disk 1 slot 0. */
	static const unsigned int slots[] = {1, 0};

	(void)state;
	memset(&fixture, 0, sizeof(fixture));
	set_init(&fixture.set);
	fixture.set.state = &fixture.state;
	fixture.set.dirty = fixture.dirty;
	fixture.set.todo = fixture.todo;
	fixture.set.coarse = fixture.coarse;
	fixture.set.pending = fixture.pending;
	fixture.set.pending_seen = fixture.seen;
	fixture.set.ring = (struct capture_ring){.consumer = &fixture.consumer,
						 .producer = &fixture.producer,
						 .data = fixture.memory,
						 .bytes = RING};
	fixture.state.header.slots = 2;
	fixture.state.header.pending_words = 2 * PENDING;
	fixture.state.capture.mode = CAPTURE_ON;
	for (unsigned int i = 0; i < 2; i++) {
		struct tracker_slot *slot = &fixture.state.slots[i];

		slot->sectors = BITS * 8;
		slot->sector_shift = 3;
		slot->bits = BITS;
		slot->words = BITS / 64;
		slot->dirty_word = i * BITS / 64;
		slot->coarse_word = i * 8;
		slot->pending_first = i * PENDING;
		slot->pending_count = slot->pending_tags = PENDING;
		slot->major = 4095; /* no such disk: never idle */
		slot->minor = i;
	}
	capture_init(&fixture.capture, &fixture.set, slots, 2);
	return 0;
}

static void put_zero(uint32_t slot, uint64_t offset, uint64_t length)
{
	struct {
		uint32_t length, page;
		struct tracker_record head;
	} record = {.length = sizeof(record.head),
		    .head = {.offset = offset,
			     .length = length,
			     .slot = slot,
			     .kind = TRACKER_RECORD_ZERO}};

	memcpy(fixture.memory + fixture.producer % RING, &record, sizeof(record));
	fixture.producer += sizeof(record);
}

static void records_have_the_number_of_their_disk(void **state)
{
	struct capture_record record;
	uint64_t position = 0;

	(void)state;
	put_zero(0, 4096, 512);
	put_zero(1, 8192, 1024);
	assert_true(capture_next(&fixture.capture, &position, &record));
	assert_int_equal(record.disk, 1);
	assert_int_equal(record.offset, 4096);
	assert_int_equal(record.position, 0);
	assert_int_equal(record.end, position);
	assert_true(capture_next(&fixture.capture, &position, &record));
	assert_int_equal(record.disk, 0);
	assert_int_equal(record.length, 1024);
	assert_false(capture_next(&fixture.capture, &position, &record));
	assert_int_equal(fixture.state.slots[0].suspect, 0);
}

static void a_record_past_the_end_of_its_disk_is_not_handed_out(void **state)
{
	struct capture_record record;
	uint64_t position = 0;

	(void)state;
	put_zero(0, BITS * 4096 - 512, 1024);
	put_zero(0, 0, 512);
	assert_true(capture_next(&fixture.capture, &position, &record));
	assert_int_equal(record.offset, 0);
	assert_true(fixture.state.slots[0].suspect != 0);
}

static void a_damaged_ring_makes_every_disk_suspect(void **state)
{
	struct capture_record record;
	uint64_t position = 0;

	(void)state;
	put_zero(0, 0, 0);
	assert_false(capture_next(&fixture.capture, &position, &record));
	assert_true(fixture.state.slots[0].suspect && fixture.state.slots[1].suspect);
}

static void spilling_sets_the_bits_and_empties_the_ring(void **state)
{
	struct bitmap first = set_todo(&fixture.set, 0), second = set_todo(&fixture.set, 1);
	struct fault fault;

	(void)state;
	put_zero(0, 4096, 4096);
	put_zero(1, 5 * 4096 + 512, 4096);
	put_zero(0, 9 * 4096, 8192);
	/* The first record is the receiver's already. */
	assert_int_equal(capture_spill(&fixture.capture, fixture.producer / 3, &fault), 0);
	assert_int_equal(fixture.consumer, fixture.producer);
	assert_int_equal(capture_get_mode(&fixture.capture), CAPTURE_OFF);
	assert_int_equal(bitmap_count(&first), 2);
	assert_true(bitmap_test(&first, 9) && bitmap_test(&first, 10));
	assert_int_equal(bitmap_count(&second), 2);
	assert_true(bitmap_test(&second, 5) && bitmap_test(&second, 6));
}

static void spilling_a_damaged_ring_makes_every_disk_suspect(void **state)
{
	struct capture_record record;
	uint64_t position = 0;
	struct fault fault;

	(void)state;
	put_zero(0, 4096, 4096);
	put_zero(0, 0, 0);
	put_zero(0, 8192, 4096);
	assert_true(capture_next(&fixture.capture, &position, &record));
	assert_false(capture_next(&fixture.capture, &position, &record));
	/* Somebody compares; but what completes until the spill is known to nobody else. */
	fixture.state.slots[0].suspect = fixture.state.slots[1].suspect = 0;
	assert_int_equal(capture_spill(&fixture.capture, 0, &fault), 0);
	assert_int_equal(fixture.consumer, fixture.producer);
	assert_true(fixture.state.slots[0].suspect && fixture.state.slots[1].suspect);
}

static void a_new_set_takes_over_what_the_old_ring_holds(void **state)
{
	struct fixture *old = malloc(sizeof(*old));
	struct bitmap todo;

	(void)state;
	put_zero(0, 0, 512);
	fixture.consumer = fixture.producer; /* released */
	put_zero(0, 3 * 4096, 4096);
	put_zero(1, 4 * 4096, 4096);
	*old = fixture;
	old->set.ring.consumer = &old->consumer;
	old->set.ring.producer = &old->producer;
	old->set.ring.data = old->memory;
	begin(NULL);
	assert_true(capture_merge(&fixture.set, 1, &old->set, 0));
	todo = set_todo(&fixture.set, 1);
	assert_int_equal(bitmap_count(&todo), 1);
	assert_true(bitmap_test(&todo, 3));
	old->memory[(old->consumer + 2) % RING] = 0xff;
	assert_false(capture_merge(&fixture.set, 1, &old->set, 0));
	free(old);
}

static void notes_settle_when_they_go_or_are_anothers(void **state)
{
	struct tracker_request *first = &fixture.pending[1],
			       *second = &fixture.pending[PENDING + 2];
	struct capture_notes *notes;

	(void)state;
	assert_int_equal(capture_notes_new(&fixture.capture, &notes), 0);
	capture_notes_take(&fixture.capture, notes);
	assert_true(capture_notes_have_settled(&fixture.capture, notes));
	*first = (struct tracker_request){.note = tracker_pending(80, 88), .life = 7};
	*second = (struct tracker_request){.note = tracker_pending(160, 168), .life = 8};
	capture_notes_take(&fixture.capture, notes);
	assert_false(capture_notes_have_settled(&fixture.capture, notes));
	first->note = 0;
	assert_false(capture_notes_have_settled(&fixture.capture, notes));
	/* The same place, written by another request. */
	second->life = 9;
	assert_true(capture_notes_have_settled(&fixture.capture, notes));
	assert_int_equal(capture_holes(&fixture.capture), 0);
	capture_notes_free(notes);
}

static void taking_moves_bits_and_lists_nothing_on_its_way(void **state)
{
	struct bitmap todo = set_todo(&fixture.set, 1);
	struct fault fault;

	(void)state;
	fixture.dirty[BITS / 64] = 1 << 5;
	fixture.pending[PENDING].note = tracker_pending(80, 88);
	assert_int_equal(capture_take(&fixture.capture, 0, &fault), 0);
	assert_int_equal(bitmap_count(&todo), 1);
	assert_true(bitmap_test(&todo, 5));
	assert_int_equal(fixture.dirty[BITS / 64], 0);
}

/* Some disk of this machine that has nothing to do. */
static bool name_idle_disk(unsigned int number)
{
	struct tracker_slot *slot = &fixture.state.slots[number];
	DIR *folder = opendir("/sys/dev/block");
	struct dirent *entry;
	bool is_found = false;

	while (folder && !is_found && (entry = readdir(folder)))
		is_found = sscanf(entry->d_name, "%u:%u", &slot->major, &slot->minor) == 2 &&
			   pending_idle_since(&fixture.set, number) != UINT64_MAX;
	if (folder)
		closedir(folder);
	return is_found;
}

/* A mark waits for its note: a take that lists its blocks and forgets it would let that be confirmed. */
static void a_take_leaves_unseen_completions_to_the_notes(void **state)
{
	struct bitmap todo = set_todo(&fixture.set, 1);
	struct capture_notes *notes;

	(void)state;
	if (!name_idle_disk(1))
		skip();
	assert_int_equal(capture_notes_new(&fixture.capture, &notes), 0);
	fixture.pending[PENDING].note = tracker_pending(80, 88);
	capture_notes_take(&fixture.capture, notes);
	pending_take(&fixture.set, 1);
	assert_true(bitmap_test(&todo, 10));
	assert_int_not_equal(fixture.pending[PENDING].note, 0);
	assert_true(capture_notes_have_settled(&fixture.capture, notes));
	assert_int_equal(fixture.pending[PENDING].note, 0);
	assert_int_equal(capture_holes(&fixture.capture), 1);
	assert_int_equal(capture_last_hole(&fixture.capture), CAPTURE_HOLE_UNSEEN);
	fixture.state.capture.mode = CAPTURE_OFF;
	fixture.pending[PENDING].note = tracker_pending(80, 88);
	pending_take(&fixture.set, 1);
	assert_int_equal(fixture.pending[PENDING].note, 0);
	assert_int_equal(capture_holes(&fixture.capture), 1);
	capture_notes_free(notes);
}

/* A request of a time when the kernel counted none may be on its way although its disk seems idle. */
static void an_uncounted_request_is_not_taken_for_complete(void **state)
{
	struct tracker_request *request = &fixture.pending[PENDING];
	struct capture_notes *notes;

	(void)state;
	if (!name_idle_disk(1))
		skip();
	assert_int_equal(capture_notes_new(&fixture.capture, &notes), 0);
	fixture.set.uncounted_ns[1] = 1000;
	*request = (struct tracker_request){.note = tracker_pending(80, 88), .life = 999};
	capture_notes_take(&fixture.capture, notes);
	assert_false(capture_notes_have_settled(&fixture.capture, notes));
	assert_int_equal(capture_holes(&fixture.capture), 0);
	fixture.state.capture.mode = CAPTURE_OFF;
	pending_take(&fixture.set, 1);
	assert_int_not_equal(request->note, 0);

	request->life = 1000;
	fixture.state.capture.mode = CAPTURE_ON;
	capture_notes_take(&fixture.capture, notes);
	assert_true(capture_notes_have_settled(&fixture.capture, notes));
	assert_int_equal(capture_holes(&fixture.capture), 1);
	capture_notes_free(notes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(records_have_the_number_of_their_disk, begin),
		cmocka_unit_test_setup(a_record_past_the_end_of_its_disk_is_not_handed_out, begin),
		cmocka_unit_test_setup(a_damaged_ring_makes_every_disk_suspect, begin),
		cmocka_unit_test_setup(spilling_sets_the_bits_and_empties_the_ring, begin),
		cmocka_unit_test_setup(spilling_a_damaged_ring_makes_every_disk_suspect, begin),
		cmocka_unit_test_setup(a_new_set_takes_over_what_the_old_ring_holds, begin),
		cmocka_unit_test_setup(notes_settle_when_they_go_or_are_anothers, begin),
		cmocka_unit_test_setup(taking_moves_bits_and_lists_nothing_on_its_way, begin),
		cmocka_unit_test_setup(a_take_leaves_unseen_completions_to_the_notes, begin),
		cmocka_unit_test_setup(an_uncounted_request_is_not_taken_for_complete, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
