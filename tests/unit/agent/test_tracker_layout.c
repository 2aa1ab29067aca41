/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How bits are laid out in the tracker's maps, what the rule about missed runs says, and merging. */
#include "agent/linux/tracker_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KI 1024ull
#define GI (1024 * KI * KI)

#define PENDING 4

static struct tracker_slot slots[TRACKER_SLOTS_MAX];
static uint64_t dirty_words, coarse_words;

static struct tracked_disk disk_of(const char *identity, uint64_t size_bytes)
{
	struct tracked_disk disk = {.size_bytes = size_bytes, .major = 8, .sequence = 5};

	snprintf(disk.identity, sizeof(disk.identity), "%s", identity);
	return disk;
}

static int plan(const struct tracked_disk *disks, unsigned int count, uint64_t bitmap_bytes)
{
	memset(slots, 0, sizeof(slots));
	return layout_plan(disks, count, bitmap_bytes, slots, &dirty_words, &coarse_words, NULL);
}

static void small_disks_get_4_kib_a_bit(void **state)
{
	struct tracked_disk disks[] = {disk_of("a", 10 * GI), disk_of("b", 512 * 3)};

	(void)state;
	assert_int_equal(plan(disks, 2, 16 << 20), 0);
	assert_int_equal(layout_block_bytes(&slots[0]), 4096);
	assert_int_equal(slots[0].bits, 10 * GI / 4096);
	assert_int_equal(slots[1].bits, 1);
	assert_int_equal(slots[1].words, 1);
	assert_true(slots[1].dirty_word >= slots[0].dirty_word + slots[0].words);
	assert_true(dirty_words >= slots[1].dirty_word + slots[1].words);
	assert_true(slots[1].coarse_word > slots[0].coarse_word);
	assert_true(coarse_words > slots[1].coarse_word);
}

static void largest_disk_becomes_coarse_first(void **state)
{
	struct tracked_disk disks[] = {disk_of("a", 64 * GI), disk_of("b", 4000 * GI)};

	(void)state;
	assert_int_equal(plan(disks, 2, 16 << 20), 0);
	assert_int_equal(layout_block_bytes(&slots[0]), 4096);
	assert_true(layout_block_bytes(&slots[1]) > 4096);
	assert_true(slots[1].bits * layout_block_bytes(&slots[1]) >= disks[1].size_bytes);
	assert_true(dirty_words * 8 <= 16 << 20);
}

/* Larger ones would never be sent: no batch holds them. */
static void no_bit_stands_for_more_than_256_kib(void **state)
{
	struct tracked_disk disks[] = {disk_of("a", 64 * GI), disk_of("b", 30000 * GI)};
	struct tracked_disk larger[] = {disk_of("a", 64 * GI), disk_of("b", 40000 * GI)};
	struct fault fault = {0};

	(void)state;
	assert_int_equal(plan(disks, 2, 16 << 20), 0);
	assert_int_equal(layout_block_bytes(&slots[1]), 256 * KI);
	assert_int_equal(layout_plan(larger, 2, 16 << 20, slots, &dirty_words, &coarse_words,
				     &fault),
			 -ENOMEM);
	assert_int_equal(fault.class, FAULT_STOP);
	assert_non_null(strstr(fault.text, "raise 'memory ='"));
	assert_int_equal(plan(larger, 2, 32 << 20), 0);
}

/* The small ones give way only when the large one cannot. */
static void all_disks_become_coarse_when_it_has_to_be(void **state)
{
	struct tracked_disk disks[TRACKER_SLOTS_MAX];

	(void)state;
	for (unsigned int i = 0; i < TRACKER_SLOTS_MAX; i++)
		disks[i] = disk_of("x", i ? 32 * GI : 24000 * GI);
	assert_int_equal(plan(disks, TRACKER_SLOTS_MAX, 16 << 20), 0);
	assert_int_equal(layout_block_bytes(&slots[0]), 256 * KI);
	assert_in_range(layout_block_bytes(&slots[1]), 8 * KI, 256 * KI);
	assert_true(dirty_words * 8 <= 16 << 20);
	assert_int_equal(plan(disks, TRACKER_SLOTS_MAX, 8 << 20), -ENOMEM);
}

static void nothing_to_track_is_refused(void **state)
{
	struct tracked_disk empty = disk_of("a", 0);

	(void)state;
	assert_int_equal(plan(&empty, 1, 16 << 20), -EINVAL);
	assert_int_equal(plan(&empty, 0, 16 << 20), -EINVAL);
}

static void devices_that_collide_are_all_found(void **state)
{
	struct tracker_device devices[TRACKER_DEVICES_SIZE] = {0};

	(void)state;
	for (uint32_t i = 0; i < TRACKER_SLOTS_MAX; i++)
		assert_int_equal(layout_add_device(devices, tracker_device_key(8, i * 16), i), 0);
	for (uint32_t i = 0; i < TRACKER_SLOTS_MAX; i++) {
		uint32_t at = tracker_device_hash(tracker_device_key(8, i * 16));
		unsigned int probes = 0;

		while (devices[at % TRACKER_DEVICES_SIZE].key != tracker_device_key(8, i * 16)) {
			assert_true(++probes < TRACKER_PROBES_MAX);
			at++;
		}
		assert_int_equal(devices[at % TRACKER_DEVICES_SIZE].slot, i);
	}
	assert_int_equal(layout_add_device(devices, tracker_device_key(8, 0), 1), -EEXIST);
}

static void nested_misses_are_unsafe_only_if_all_grew_and_preempted(void **state)
{
	uint64_t none[] = {5, 5, 5}, one[] = {5, 9, 5}, all[] = {6, 6, 6};

	(void)state;
	assert_false(misses_are_unsafe(none, none, 1));
	assert_false(misses_are_unsafe(none, one, 1));
	assert_false(misses_are_unsafe(none, all, 0));
	assert_true(misses_are_unsafe(none, all, 1));
}

/* A set in ordinary memory, for what needs no kernel. */
static void make_set(struct tracker_set *set, const struct tracked_disk *disk,
		     uint64_t bitmap_bytes)
{
	set_init(set);
	assert_int_equal(plan(disk, 1, bitmap_bytes), 0);
	set->state = calloc(1, sizeof(*set->state));
	set->state->header.slots = 1;
	set->state->slots[0] = slots[0];
	set->dirty = calloc(dirty_words, 8);
	set->todo = calloc(dirty_words, 8);
	set->coarse = calloc(coarse_words, 8);
	set->pending = calloc(PENDING, sizeof(*set->pending));
	set->pending_seen = calloc(PENDING, 8);
	set->state->slots[0].pending_count = PENDING;
	set->state->slots[0].pending_tags = PENDING;
}

static void free_set(struct tracker_set *set)
{
	free(set->state);
	free(set->dirty);
	free(set->todo);
	free(set->coarse);
	free(set->pending);
	free(set->pending_seen);
}

static void take_expands_chunks(void **state)
{
	struct tracked_disk disk = disk_of("a", 600 * KI * KI);
	struct tracker_set set;
	struct bitmap todo;
	uint64_t chunk = TRACKER_CHUNK_WORDS * 64ull, last;

	(void)state;
	make_set(&set, &disk, 16 << 20);
	todo = set_todo(&set, 0);
	last = todo.bits / chunk;
	assert_in_range(last, 1, 63);
	assert_int_not_equal(todo.bits % chunk, 0);
	set.coarse[0] = 1ull << last;		   /* cut short by the end of the disk */
	set.dirty[last * TRACKER_CHUNK_WORDS] = 1; /* lies in it */
	set.dirty[0] = 2;
	assert_int_equal(merge_count_dirty(&set, 0), 1 + todo.bits - last * chunk);
	merge_take(&set, 0);
	assert_int_equal(merge_count_dirty(&set, 0), 0);
	assert_int_equal(bitmap_count(&todo), 1 + todo.bits - last * chunk);
	assert_true(bitmap_test(&todo, 1) && bitmap_test(&todo, todo.bits - 1));
	assert_false(bitmap_test(&todo, last * chunk - 1));
	free_set(&set);
}

static void what_is_on_its_way_is_listed_by_every_take(void **state)
{
	struct tracked_disk disk = disk_of("a", GI);
	struct tracker_set set;
	struct bitmap todo;

	(void)state;
	disk.major = 4095; /* no such disk: never idle */
	make_set(&set, &disk, 16 << 20);
	todo = set_todo(&set, 0);
	set.pending[1].note = tracker_pending(80, 97);
	set.pending[3].note = TRACKER_PENDING_UNKNOWN;
	for (int round = 0; round < 2; round++) {
		merge_take(&set, 0);
		assert_int_equal(bitmap_count(&todo), 3);
		assert_true(bitmap_test(&todo, 10) && bitmap_test(&todo, 12));
		bitmap_clear(&todo, 0, todo.bits);
	}
	assert_int_equal(set.state->slots[0].suspect, 0);
	set.pending[1].note = 0;
	merge_take(&set, 0);
	assert_true(bitmap_is_empty(&todo));
	free_set(&set);
}

static void notes_hold_any_range_or_say_that_they_cannot(void **state)
{
	uint64_t note = tracker_pending(123456789, 123456789 + 8388608);

	(void)state;
	assert_int_equal(tracker_pending_start(note), 123456789);
	assert_int_equal(tracker_pending_end(note), 123456789 + 8388608);
	assert_true(tracker_pending(0, 1) != 0);
	assert_true(tracker_pending(5, 5) == TRACKER_PENDING_UNKNOWN);
	assert_true(tracker_pending(0, 1 << 24) == TRACKER_PENDING_UNKNOWN);
	assert_true(tracker_pending(1ull << 40, (1ull << 40) + 1) == TRACKER_PENDING_UNKNOWN);
}

static void merge_lists_what_the_old_set_saw_on_its_way(void **state)
{
	struct tracked_disk disk = disk_of("a", GI);
	struct tracker_set old, new;
	struct bitmap todo;

	(void)state;
	make_set(&old, &disk, 16 << 20);
	make_set(&new, &disk, 16 << 20);
	old.pending[2].note = tracker_pending(160, 168);
	merge_disk(&new, 0, &old, &disk, TRACKER_BROKEN_FRESH);
	todo = set_todo(&new, 0);
	assert_int_equal(bitmap_count(&todo), 1);
	assert_true(bitmap_test(&todo, 20));
	free_set(&old);
	free_set(&new);
}

static void merge_keeps_bits_across_block_sizes(void **state)
{
	struct tracked_disk disk = disk_of("a", GI);
	struct tracker_set old, new;
	struct bitmap bits;

	(void)state;
	make_set(&old, &disk, 16 << 20);
	make_set(&new, &disk, 1024);
	assert_true(layout_block_bytes(&new.state->slots[0]) > 4096);
	bits = set_dirty(&old, 0);
	bitmap_set(&bits, 1000, 1);
	bits = set_todo(&old, 0);
	bitmap_set(&bits, 200000, 40);
	set_memory(&old, 0)->replica_id[0] = 1;
	merge_disk(&new, 0, &old, &disk, TRACKER_BROKEN_FRESH);
	bits = set_todo(&new, 0);
	assert_true(bitmap_test(&bits, 1000 * 4096 / layout_block_bytes(&new.state->slots[0])));
	assert_true(bitmap_test(&bits, 200039 * 4096 / layout_block_bytes(&new.state->slots[0])));
	assert_in_range(bitmap_count(&bits), 2, 4);
	assert_int_equal(set_memory(&new, 0)->replica_id[0], 1);
	free_set(&old);
	free_set(&new);
}

static void growth_lists_the_new_area_and_forgets_the_replica(void **state)
{
	struct tracked_disk disk = disk_of("a", 100 * KI * KI), grown = disk_of("a", 120 * KI * KI);
	struct tracker_set old, new;
	struct bitmap bits;

	(void)state;
	make_set(&old, &disk, 16 << 20);
	make_set(&new, &grown, 16 << 20);
	bits = set_todo(&old, 0);
	bitmap_set(&bits, 3, 1);
	set_memory(&old, 0)->replica_id[0] = 1;
	set_memory(&old, 0)->acked_epoch = 9;
	merge_disk(&new, 0, &old, &grown, TRACKER_BROKEN_FRESH);
	bits = set_todo(&new, 0);
	assert_int_equal(bitmap_count(&bits), 1 + 20 * 256);
	assert_true(bitmap_test(&bits, 3) && bitmap_test(&bits, 100 * 256));
	assert_int_equal(new.state->slots[0].broken, TRACKER_BROKEN_SIZE);
	assert_int_equal(set_memory(&new, 0)->replica_id[0], 0);
	assert_int_equal(set_memory(&new, 0)->acked_epoch, 9);
	free_set(&old);
	free_set(&new);
}

static void replaced_disk_forgets_the_replica(void **state)
{
	struct tracked_disk disk = disk_of("a", GI), other = disk_of("a", GI);
	struct tracker_set old, new;

	(void)state;
	other.sequence++;
	make_set(&old, &disk, 16 << 20);
	make_set(&new, &other, 16 << 20);
	set_memory(&old, 0)->replica_id[0] = 1;
	merge_disk(&new, 0, &old, &other, TRACKER_BROKEN_FRESH);
	assert_int_equal(new.state->slots[0].broken, TRACKER_BROKEN_SEQUENCE);
	assert_int_equal(set_memory(&new, 0)->replica_id[0], 0);
	free_set(&old);
	free_set(&new);
}

static void suspicion_is_taken_over(void **state)
{
	struct tracked_disk disk = disk_of("a", GI);
	struct tracker_set old, new;

	(void)state;
	make_set(&old, &disk, 16 << 20);
	make_set(&new, &disk, 16 << 20);
	old.state->slots[0].suspect = TRACKER_SUSPECT_COMMAND;
	merge_disk(&new, 0, &old, &disk, TRACKER_BROKEN_FRESH);
	assert_int_equal(new.state->slots[0].suspect, TRACKER_SUSPECT_COMMAND);
	free_set(&old);
	free_set(&new);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_disks_get_4_kib_a_bit),
		cmocka_unit_test(largest_disk_becomes_coarse_first),
		cmocka_unit_test(no_bit_stands_for_more_than_256_kib),
		cmocka_unit_test(all_disks_become_coarse_when_it_has_to_be),
		cmocka_unit_test(nothing_to_track_is_refused),
		cmocka_unit_test(devices_that_collide_are_all_found),
		cmocka_unit_test(nested_misses_are_unsafe_only_if_all_grew_and_preempted),
		cmocka_unit_test(take_expands_chunks),
		cmocka_unit_test(what_is_on_its_way_is_listed_by_every_take),
		cmocka_unit_test(notes_hold_any_range_or_say_that_they_cannot),
		cmocka_unit_test(merge_lists_what_the_old_set_saw_on_its_way),
		cmocka_unit_test(merge_keeps_bits_across_block_sizes),
		cmocka_unit_test(growth_lists_the_new_area_and_forgets_the_replica),
		cmocka_unit_test(replaced_disk_forgets_the_replica),
		cmocka_unit_test(suspicion_is_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
