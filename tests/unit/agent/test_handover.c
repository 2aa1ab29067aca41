// SPDX-License-Identifier: GPL-2.0-or-later
/* The record of a stop: every byte that is cut off or flipped makes it void; what goes in comes out. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/handover.h"

#define DISKS 2
#define BLOCK 4096u

static const uint8_t file_id[16] = "sixteen bytes ..";

struct fixture {
	struct handover_disk disks[DISKS];
	struct handover_watch watches[2];
	uint64_t bits[DISKS][64];
	struct handover handover;
	void *record;
	uint32_t bytes;
};

/* 8 MiB and a bit in blocks of 4 KiB, 1 GiB in blocks of 1 MiB. */
static void begin(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->disks[0] = (struct handover_disk){.identity = "serial-1",
					     .path = "/dev/vda",
					     .size_bytes = (8 << 20) + 512,
					     .block_bytes = BLOCK,
					     .words = 33,
					     .memory = {.acked_epoch = 7, .stage = 3}};
	memset(f->disks[0].memory.replica_id, 0xab, sizeof(f->disks[0].memory.replica_id));
	f->disks[1] = (struct handover_disk){.identity = "serial-2",
					     .path = "/dev/vdb",
					     .size_bytes = 1 << 30,
					     .block_bytes = 1 << 20,
					     .words = 16};
	f->watches[0] = (struct handover_watch){.disk = 0, .offset = 0, .length = 1 << 20};
	f->watches[1] =
		(struct handover_watch){.disk = 1, .offset = (1 << 30) - 512, .length = 512};
	f->handover = (struct handover){.head = {.version = HANDOVER_VERSION,
						 .disks = DISKS,
						 .watches = 2,
						 .pin_folder = "/sys/fs/bpf/x",
						 .program = "1"},
					.disks = f->disks,
					.watches = f->watches,
					.bits = {f->bits[0], f->bits[1]}};
	handover_mark(&f->handover, 0, 0, 1);
	handover_mark(&f->handover, 0, BLOCK * 65 - 1, 2);
	handover_mark(&f->handover, 0, 8 << 20, 1 << 20); /* cut at the disk's end */
	handover_mark(&f->handover, 0, 9 << 20, 1);	  /* past it */
	handover_mark(&f->handover, 1, 5 << 20, 1 << 20);
	assert_int_equal(handover_encode(&f->handover, &f->record, &f->bytes), 0);
}

static void comes_out_as_it_went_in(void **state)
{
	struct fixture f;
	struct handover read;
	uint64_t words[40] = {0};
	struct bitmap map = {.words = words, .bits = 2049};

	(void)state;
	begin(&f);
	assert_int_equal(handover_decode(f.record, f.bytes, &read, NULL), 0);
	assert_memory_equal(&read.head, &f.handover.head, sizeof(read.head));
	assert_memory_equal(read.disks, f.disks, sizeof(f.disks));
	assert_memory_equal(read.watches, f.watches, sizeof(f.watches));
	handover_list(&read, 0, &map, BLOCK);
	assert_int_equal(bitmap_count(&map), 4);
	assert_true(bitmap_test(&map, 0) && bitmap_test(&map, 64) && bitmap_test(&map, 65) &&
		    bitmap_test(&map, 2048));
	handover_fini(&read);
	free(f.record);
}

static void bits_of_another_size_cover_the_same_bytes(void **state)
{
	struct fixture f;
	struct handover read;
	uint64_t words[4096] = {0};
	struct bitmap map = {.words = words, .bits = 262144};

	(void)state;
	begin(&f);
	assert_int_equal(handover_decode(f.record, f.bytes, &read, NULL), 0);
	handover_list(&read, 1, &map, BLOCK);
	assert_int_equal(bitmap_count(&map), 256);
	assert_true(bitmap_test(&map, 5 * 256) && bitmap_test(&map, 6 * 256 - 1));
	memset(words, 0, sizeof(words));
	map.bits = 64;
	handover_list(&read, 1, &map, 16 << 20);
	assert_int_equal(words[0], 1);
	handover_fini(&read);
	free(f.record);
}

static void a_record_that_is_cut_or_longer_is_void(void **state)
{
	struct fixture f;
	struct handover read;
	uint8_t *longer;

	(void)state;
	begin(&f);
	for (uint32_t bytes = 0; bytes < f.bytes; bytes++)
		assert_int_equal(handover_decode(f.record, bytes, &read, NULL), -EBADMSG);
	longer = calloc(1, f.bytes + 8);
	memcpy(longer, f.record, f.bytes);
	assert_int_equal(handover_decode(longer, f.bytes + 8, &read, NULL), -EBADMSG);
	free(longer);
	free(f.record);
}

static void what_makes_no_sense_is_void(void **state)
{
	struct fixture f;
	struct handover read;
	struct handover_disk *disk;
	struct handover_watch *watch;
	struct handover_record *head;

	(void)state;
#define VOID_WHEN(change)                                                                          \
	do {                                                                                       \
		begin(&f);                                                                         \
		head = f.record;                                                                   \
		disk = (struct handover_disk *)(head + 1);                                         \
		watch = (struct handover_watch *)(disk + DISKS);                                   \
		change;                                                                            \
		assert_int_equal(handover_decode(f.record, f.bytes, &read, NULL), -EBADMSG);       \
		free(f.record);                                                                    \
		(void)watch;                                                                       \
	} while (0)
	VOID_WHEN(head->version++);
	VOID_WHEN(head->disks = 0);
	VOID_WHEN(head->disks = TRACKER_DISKS_MAX + 1);
	VOID_WHEN(head->watches = UINT32_MAX);
	VOID_WHEN(memset(head->pin_folder, 'x', sizeof(head->pin_folder)));
	VOID_WHEN(memset(head->program, 'x', sizeof(head->program)));
	VOID_WHEN(memset(disk->identity, 'x', sizeof(disk->identity)));
	VOID_WHEN(memset(disk->path, 'x', sizeof(disk->path)));
	VOID_WHEN(disk->size_bytes = 0);
	VOID_WHEN(disk->size_bytes = UINT64_MAX);
	VOID_WHEN(disk->block_bytes = 0);
	VOID_WHEN(disk->block_bytes = 4097);
	VOID_WHEN(disk->block_bytes = 2048);
	VOID_WHEN(disk->words++);
	VOID_WHEN(disk->words = UINT64_MAX / 8);
	VOID_WHEN(watch->disk = DISKS);
	VOID_WHEN(watch->length = 0);
	VOID_WHEN(watch->length = UINT64_MAX);
	VOID_WHEN(watch->offset = 1ull << 40);
#undef VOID_WHEN
}

static struct handover_block *make_blocks(const struct fixture *f)
{
	struct handover_block *blocks = calloc(4, sizeof(*blocks));

	assert_true(handover_blocks(f->bytes) <= 4);
	for (uint32_t i = 0; i < handover_blocks(f->bytes); i++)
		handover_block_fill(&blocks[i], file_id, 9, i, HANDOVER_CLEAN, f->record, f->bytes);
	return blocks;
}

static void blocks_give_the_record(void **state)
{
	struct fixture f;
	struct handover_block *blocks;
	void *record;
	uint32_t bytes;

	(void)state;
	begin(&f);
	blocks = make_blocks(&f);
	assert_int_equal(handover_gather(blocks, file_id, &record, &bytes, NULL), 0);
	assert_int_equal(bytes, f.bytes);
	assert_memory_equal(record, f.record, bytes);
	free(record);
	free(blocks);
	free(f.record);
}

static void every_flipped_bit_makes_the_blocks_void(void **state)
{
	struct fixture f;
	struct handover_block *blocks;
	uint32_t count;
	void *record;
	uint32_t bytes;

	(void)state;
	begin(&f);
	blocks = make_blocks(&f);
	count = handover_blocks(f.bytes);
	for (size_t i = 0; i < count * sizeof(*blocks); i++) {
		((uint8_t *)blocks)[i] ^= 1u << i % 8;
		assert_int_equal(handover_gather(blocks, file_id, &record, &bytes, NULL), -EBADMSG);
		((uint8_t *)blocks)[i] ^= 1u << i % 8;
	}
	free(blocks);
	free(f.record);
}

/* Each block is whole, but they are not of one record: a stop that was cut short over an older one. */
static void blocks_of_two_records_are_void(void **state)
{
	struct fixture f;
	struct handover_block *blocks, other;
	void *record;
	uint32_t bytes;

	(void)state;
	begin(&f);
	f.bytes = HANDOVER_PAYLOAD_BYTES + 1;
	f.record = realloc(f.record, f.bytes);
	memset(f.record, 1, f.bytes);
	blocks = make_blocks(&f);
	assert_int_equal(handover_gather(blocks, file_id, &record, &bytes, NULL), 0);
	free(record);
	other = blocks[1];
	handover_block_fill(&blocks[1], file_id, 8, 1, HANDOVER_CLEAN, f.record, f.bytes);
	assert_int_equal(handover_gather(blocks, file_id, &record, &bytes, NULL), -EBADMSG);
	handover_block_fill(&blocks[1], file_id, 9, 1, HANDOVER_EMPTY, f.record, f.bytes);
	assert_int_equal(handover_gather(blocks, file_id, &record, &bytes, NULL), -EBADMSG);
	((uint8_t *)f.record)[0] = 2;
	handover_block_fill(&blocks[1], file_id, 9, 1, HANDOVER_CLEAN, f.record, f.bytes);
	assert_int_equal(handover_gather(blocks, file_id, &record, &bytes, NULL), -EBADMSG);
	blocks[1] = other;
	assert_int_equal(handover_gather(blocks, file_id, &record, &bytes, NULL), 0);
	free(record);
	free(blocks);
	free(f.record);
}

static void only_its_own_blocks_are_written_over(void **state)
{
	struct handover_block block;
	uint8_t other_id[16] = "another file ..";

	(void)state;
	handover_block_fill(&block, file_id, 1, 3, HANDOVER_EMPTY, NULL, 0);
	assert_true(handover_block_is_ours(&block, file_id, 3));
	assert_false(handover_block_is_ours(&block, file_id, 2));
	assert_false(handover_block_is_ours(&block, other_id, 3));
	block.payload[7]++; /* torn: ours, but not whole */
	assert_true(handover_block_is_ours(&block, file_id, 3));
	assert_false(handover_block_is_whole(&block, file_id, 3));
	memset(&block, 0, sizeof(block));
	assert_false(handover_block_is_ours(&block, file_id, 0));
}

static void make_plan(struct handover_plan *plan)
{
	memset(plan, 0, sizeof(*plan));
	memcpy(plan->file_id, file_id, sizeof(file_id));
	strcpy(plan->disk_path, "/dev/vda");
	plan->disk_bytes = 1 << 30;
	plan->extents = 2;
	plan->extent[0] = (struct handover_extent){.offset = 8 << 20, .length = 4096};
	plan->extent[1] = (struct handover_extent){
		.offset = 1 << 20, .length = (uint64_t)(HANDOVER_BLOCKS - 1) * 4096};
	handover_plan_seal(plan);
}

static void a_plan_is_whole_or_none(void **state)
{
	struct handover_plan plan, read;

	(void)state;
	make_plan(&plan);
	assert_int_equal(handover_plan_check(&plan, sizeof(plan), &read, NULL), 0);
	assert_int_equal(handover_plan_offset(&read, 0), 8 << 20);
	assert_int_equal(handover_plan_offset(&read, 1), 1 << 20);
	assert_int_equal(handover_plan_offset(&read, HANDOVER_BLOCKS - 1),
			 (1 << 20) + (uint64_t)(HANDOVER_BLOCKS - 2) * 4096);
	for (size_t i = 0; i < sizeof(plan); i++) {
		((uint8_t *)&plan)[i] ^= 0x10;
		assert_int_equal(handover_plan_check(&plan, sizeof(plan), &read, NULL), -EBADMSG);
		((uint8_t *)&plan)[i] ^= 0x10;
	}
	assert_int_equal(handover_plan_check(&plan, sizeof(plan) - 1, &read, NULL), -EBADMSG);
}

static void a_plan_that_makes_no_sense_is_none(void **state)
{
	struct handover_plan plan, read;

	(void)state;
#define NONE_WHEN(change)                                                                          \
	do {                                                                                       \
		make_plan(&plan);                                                                  \
		change;                                                                            \
		handover_plan_seal(&plan);                                                         \
		assert_int_equal(handover_plan_check(&plan, sizeof(plan), &read, NULL), -EBADMSG); \
	} while (0)
	NONE_WHEN(plan.extents = 0);
	NONE_WHEN(plan.extents = 1);
	NONE_WHEN(plan.extents = HANDOVER_EXTENTS_MAX + 1);
	NONE_WHEN(plan.extent[0].length = 8192);
	NONE_WHEN(plan.extent[0].length = 0);
	NONE_WHEN(plan.extent[0].offset = 100);
	NONE_WHEN(plan.extent[0].offset = 1 << 20); /* twice the same block */
	NONE_WHEN(plan.extent[1].offset = (1 << 30) - 4096);
	NONE_WHEN(plan.extent[0].offset = UINT64_MAX - 511);
	NONE_WHEN(memset(plan.run_folder, 'x', sizeof(plan.run_folder)));
#undef NONE_WHEN
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_out_as_it_went_in),
		cmocka_unit_test(bits_of_another_size_cover_the_same_bytes),
		cmocka_unit_test(a_record_that_is_cut_or_longer_is_void),
		cmocka_unit_test(what_makes_no_sense_is_void),
		cmocka_unit_test(blocks_give_the_record),
		cmocka_unit_test(every_flipped_bit_makes_the_blocks_void),
		cmocka_unit_test(blocks_of_two_records_are_void),
		cmocka_unit_test(only_its_own_blocks_are_written_over),
		cmocka_unit_test(a_plan_is_whole_or_none),
		cmocka_unit_test(a_plan_that_makes_no_sense_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
