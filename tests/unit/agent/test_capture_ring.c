// SPDX-License-Identifier: GPL-2.0-or-later
/* The reader of capture's ring, on a ring in ordinary memory that this test fills as the kernel would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/bpf.h>

#include "agent/linux/capture_ring.h"

#define RING 16384u

static uint64_t consumer, producer;
static uint8_t memory[RING] __attribute__((aligned(8)));
static struct capture_ring ring = {
	.consumer = &consumer, .producer = &producer, .data = memory, .bytes = RING};
static uint8_t data[TRACKER_PIECE_BYTES];

static int begin(void **state)
{
	(void)state;
	memset(memory, 0xee, sizeof(memory));
	consumer = producer = 0;
	return 0;
}

static void put_bytes(uint64_t position, const void *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		memory[(position + i) % RING] = ((const uint8_t *)bytes)[i];
}

/* Returns the position of the record. */
static uint64_t put(const struct tracker_record *head, const void *bytes, uint32_t room,
		    uint32_t flags)
{
	uint64_t at = producer;
	uint32_t length = (uint32_t)sizeof(*head) + room;
	uint32_t word[2] = {length | flags, 0};

	put_bytes(at, word, sizeof(word));
	put_bytes(at + 8, head, sizeof(*head));
	if (bytes)
		put_bytes(at + 8 + sizeof(*head), bytes, head->length);
	producer = at + (8 + length + 7) / 8 * 8;
	return at;
}

static struct tracker_record head_of(uint32_t kind, uint64_t offset, uint64_t length)
{
	return (struct tracker_record){
		.offset = offset, .length = length, .holes = 3, .slot = 1, .kind = kind};
}

static enum capture_found next(uint64_t *position, struct tracker_record *ret_head)
{
	uint64_t start;

	return capture_ring_next(&ring, position, &start, ret_head, data);
}

static void records_come_in_their_order(void **state)
{
	uint8_t full[TRACKER_PIECE_BYTES], small[TRACKER_PIECE_SMALL_BYTES];
	struct tracker_record first = head_of(TRACKER_RECORD_DATA, 4096, sizeof(full));
	struct tracker_record second = head_of(TRACKER_RECORD_DATA, 512, sizeof(small));
	struct tracker_record third = head_of(TRACKER_RECORD_ZERO, 8192, 1 << 30);
	struct tracker_record got;
	uint64_t position = 0, start, at;

	(void)state;
	memset(full, 1, sizeof(full));
	memset(small, 2, sizeof(small));
	put(&first, full, TRACKER_PIECE_BYTES, 0);
	at = put(&second, small, TRACKER_PIECE_SMALL_BYTES, 0);
	put(&third, NULL, 0, 0);
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_RECORD);
	assert_memory_equal(&got, &first, sizeof(got));
	assert_memory_equal(data, full, sizeof(full));
	assert_int_equal(capture_ring_next(&ring, &position, &start, &got, data),
			 CAPTURE_FOUND_RECORD);
	assert_int_equal(start, at);
	assert_memory_equal(&got, &second, sizeof(got));
	assert_memory_equal(data, small, sizeof(small));
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_RECORD);
	assert_memory_equal(&got, &third, sizeof(got));
	assert_int_equal(position, producer);
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_NOTHING);
}

static void a_record_that_wraps_is_put_together(void **state)
{
	uint8_t full[TRACKER_PIECE_BYTES];
	struct tracker_record head = head_of(TRACKER_RECORD_DATA, 0, sizeof(full)), got;

	(void)state;
	for (size_t i = 0; i < sizeof(full); i++)
		full[i] = (uint8_t)(i * 7);
	/* Also where the head wraps, and where the data begins with the ring. */
	for (uint64_t before = 8; before <= 48; before += 8) {
		uint64_t position = 3 * RING - before;

		consumer = producer = position;
		put(&head, full, TRACKER_PIECE_BYTES, 0);
		memset(data, 0, sizeof(data));
		assert_int_equal(next(&position, &got), CAPTURE_FOUND_RECORD);
		assert_memory_equal(&got, &head, sizeof(got));
		assert_memory_equal(data, full, sizeof(full));
		assert_int_equal(position, producer);
	}
}

static void what_is_being_filled_ends_the_reading(void **state)
{
	struct tracker_record head = head_of(TRACKER_RECORD_ZERO, 0, 512), got;
	uint64_t position = 0, busy;

	(void)state;
	put(&head, NULL, 0, 0);
	busy = put(&head, NULL, 0, BPF_RINGBUF_BUSY_BIT);
	put(&head, NULL, 0, 0);
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_RECORD);
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_NOTHING);
	assert_int_equal(position, busy);
	memory[busy + 3] &= 0x7f;
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_RECORD);
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_RECORD);
}

static void void_records_are_passed_over(void **state)
{
	struct tracker_record head = head_of(TRACKER_RECORD_ZERO, 0, 512), got;
	uint64_t position = 0, start, third;

	(void)state;
	put(&head, NULL, TRACKER_PIECE_BYTES, BPF_RINGBUF_DISCARD_BIT);
	put(&head, NULL, TRACKER_PIECE_SMALL_BYTES, BPF_RINGBUF_DISCARD_BIT);
	third = put(&head, NULL, 0, 0);
	assert_int_equal(capture_ring_next(&ring, &position, &start, &got, NULL),
			 CAPTURE_FOUND_RECORD);
	assert_int_equal(start, third);
	put(&head, NULL, 0, BPF_RINGBUF_DISCARD_BIT);
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_NOTHING);
	assert_int_equal(position, producer);
}

static void refuse(struct tracker_record head, uint32_t room)
{
	uint64_t position;

	consumer = producer = 8 * RING;
	position = put(&head, NULL, room, 0);
	assert_int_equal(next(&position, &head), CAPTURE_FOUND_DAMAGE);
}

static void what_no_program_writes_is_damage(void **state)
{
	struct tracker_record head = head_of(TRACKER_RECORD_DATA, 0, 512), got;
	uint64_t position = 0;

	(void)state;
	refuse(head, 511);
	refuse(head, 0);
	refuse(head, 1024);
	head.length = 513;
	refuse(head, TRACKER_PIECE_SMALL_BYTES);
	head.length = 4097;
	refuse(head, TRACKER_PIECE_BYTES);
	head.length = 0;
	refuse(head, TRACKER_PIECE_BYTES);
	head = head_of(TRACKER_RECORD_ZERO, 0, 512);
	refuse(head, 8);
	head.kind = 3;
	refuse(head, 0);
	head = head_of(TRACKER_RECORD_ZERO, UINT64_MAX - 1, 512);
	refuse(head, 0);
	head = head_of(TRACKER_RECORD_ZERO, 0, UINT64_MAX);
	refuse(head, 0);
	head = head_of(TRACKER_RECORD_ZERO, 0, 512);
	head.slot = TRACKER_SLOTS_MAX;
	refuse(head, 0);
	/* A record that goes past what was produced, a length that is none, and positions out of the ring. */
	begin(NULL);
	put(&head, NULL, 0, 0);
	producer -= 8;
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_DAMAGE);
	begin(NULL);
	put_bytes(0, &(uint32_t){4}, 4);
	producer = 16;
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_DAMAGE);
	position = producer + 8;
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_DAMAGE);
	producer = 4 * RING;
	position = 0;
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_DAMAGE);
	position = 3 * RING + 4;
	assert_int_equal(next(&position, &got), CAPTURE_FOUND_DAMAGE);
}

static void only_what_was_produced_can_be_released(void **state)
{
	(void)state;
	consumer = 1000;
	producer = 5000;
	capture_ring_release(&ring, 5008);
	assert_int_equal(consumer, 1000);
	capture_ring_release(&ring, 992);
	assert_int_equal(consumer, 1000);
	capture_ring_release(&ring, 5000);
	assert_int_equal(consumer, 5000);
	assert_int_equal(capture_ring_released(&ring), 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(records_come_in_their_order, begin),
		cmocka_unit_test_setup(a_record_that_wraps_is_put_together, begin),
		cmocka_unit_test_setup(what_is_being_filled_ends_the_reading, begin),
		cmocka_unit_test_setup(void_records_are_passed_over, begin),
		cmocka_unit_test_setup(what_no_program_writes_is_damage, begin),
		cmocka_unit_test_setup(only_what_was_produced_can_be_released, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
