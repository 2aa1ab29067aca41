/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From free space and swap to blocks of the disk: dm tables, mappings, records, ranges. */
#include "agent/linux/fsmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <linux/dm-ioctl.h>

#include <cmocka.h>

#include "tests/unit/agent/machine.h"

#define SECTOR 512ull

/* --- dm tables, as the kernel prints them --- */

struct table {
	char bytes[1024];
	size_t size;
	uint32_t targets;
};

static void add_target(struct table *table, uint64_t start, uint64_t length, const char *type,
		       const char *params)
{
	struct dm_target_spec spec = {.sector_start = start, .length = length};
	size_t size = (sizeof(spec) + strlen(params) + 1 + 7) & ~(size_t)7;

	strcpy(spec.target_type, type);
	spec.next = (uint32_t)(table->size + size);
	memcpy(table->bytes + table->size, &spec, sizeof(spec));
	strcpy(table->bytes + table->size + sizeof(spec), params);
	table->size += size;
	table->targets++;
}

static void linear_segments_of_a_dm_table_are_read(void **state)
{
	struct table table = {.size = 0};
	struct dm_segment *segments;
	unsigned int count;

	add_target(&table, 0, 100, "linear", "8:2 2048");
	add_target(&table, 100, 50, "crypt", "aes-xts-plain64 0 8:3 0");
	add_target(&table, 150, 200, "linear", "259:65537 0");
	assert_int_equal(dm_parse_table(table.bytes, table.size, table.targets, &segments, &count),
			 0);
	assert_int_equal(count, 2);
	assert_int_equal(segments[0].start_bytes, 0);
	assert_int_equal(segments[0].length_bytes, 100 * SECTOR);
	assert_int_equal(segments[0].major, 8);
	assert_int_equal(segments[0].minor, 2);
	assert_int_equal(segments[0].offset_bytes, 2048 * SECTOR);
	assert_int_equal(segments[1].start_bytes, 150 * SECTOR);
	assert_int_equal(segments[1].minor, 65537);
	free(segments);
}

static void assert_broken(const struct table *table, size_t size, uint32_t targets)
{
	struct dm_segment *segments = NULL;
	unsigned int count;

	assert_int_equal(dm_parse_table(table->bytes, size, targets, &segments, &count), -EINVAL);
	assert_null(segments);
}

static void broken_dm_tables_are_refused(void **state)
{
	struct table table = {.size = 0};
	struct table bad;

	add_target(&table, 0, 100, "linear", "8:2 2048");
	add_target(&table, 100, 100, "linear", "8:2 4096");
	assert_broken(&table, table.size, 3); /* more than there are */
	assert_broken(&table, table.size, UINT32_MAX);
	assert_broken(&table, sizeof(struct dm_target_spec) + 3, 1); /* no end of the text */
	bad = table;
	((struct dm_target_spec *)bad.bytes)->next = 100000; /* points outside */
	assert_broken(&bad, bad.size, 2);
	bad = table;
	memset(((struct dm_target_spec *)bad.bytes)->target_type, 'x', DM_MAX_TYPE_NAME);
	assert_broken(&bad, bad.size, 2);
	bad = table;
	((struct dm_target_spec *)bad.bytes)->length = UINT64_MAX / 512;
	assert_broken(&bad, bad.size, 2);
	for (const char *const *params =
		     (const char *const[]){"8:2", "8 2048", "8:2 -1", "8:2 1x", "", NULL};
	     *params; params++) {
		bad.size = bad.targets = 0;
		add_target(&bad, 0, 100, "linear", *params);
		assert_broken(&bad, bad.size, 1);
	}
}

/* --- mappings --- */

static struct block_tree tree;

/* dm-0: [0, 100) of sda1 at 10, [100, 150) crypt, [150, 250) of sdb at 0, [250, 300) of sda1 at 200;
 * dm-1: [0, 300) of dm-0 at 50, less than that is there. Sectors. */
static int made_up_dm(uint32_t major_number, uint32_t minor_number,
		      struct dm_segment **ret_segments, unsigned int *ret_count)
{
	static const struct dm_segment first[] = {
		{0, 100 * SECTOR, 8, 1, 10 * SECTOR},
		{150 * SECTOR, 100 * SECTOR, 8, 16, 0},
		{250 * SECTOR, 50 * SECTOR, 8, 1, 200 * SECTOR},
	};
	static const struct dm_segment second[] = {{0, 300 * SECTOR, 253, 0, 50 * SECTOR}};
	const struct dm_segment *from = minor_number == 0 ? first : second;

	*ret_count = minor_number == 0 ? 3 : 1;
	if (minor_number > 1)
		return -ENXIO;
	*ret_segments = malloc(sizeof(first));
	memcpy(*ret_segments, from, *ret_count * sizeof(*from));
	return 0;
}

static int setup(void **state)
{
	int result = machine_setup(state);

	make_disk("sda", "8:0\n", "100000\n");
	make_partition("sda", "sda1", "8:1\n"); /* 8192 sectors from 2048 */
	make_disk("sdb", "8:16\n", "100000\n");
	make_stacked("dm-0", "253:0\n", "LVM-a", ON("sda1", "sdb"));
	set("dm-0", "size", "300\n");
	make_stacked("dm-1", "253:1\n", "LVM-b", ON("dm-0"));
	set("dm-1", "size", "300\n");
	make_stacked("dm-2", "253:2\n", "LVM-c", ON("sda1"));
	make_stacked("md0", "9:0\n", NULL, ON("sda1", "sdb"));
	return result < 0 ? result : tree_load(&roots, &tree);
}

static int teardown(void **state)
{
	tree_fini(&tree);
	return machine_teardown(state);
}

static void assert_mapping(const char *device, const char *disk,
			   const struct mapping_segment *expected, unsigned int count)
{
	struct mapping mapping;

	assert_int_equal(mapping_load(&tree, (unsigned int)tree_find_name(&tree, device),
				      (unsigned int)tree_find_name(&tree, disk), made_up_dm,
				      &mapping),
			 0);
	assert_int_equal(mapping.count, count);
	for (unsigned int i = 0; i < count; i++) {
		assert_int_equal(mapping.segments[i].start_bytes, expected[i].start_bytes * SECTOR);
		assert_int_equal(mapping.segments[i].length_bytes,
				 expected[i].length_bytes * SECTOR);
		assert_int_equal(mapping.segments[i].disk_bytes, expected[i].disk_bytes * SECTOR);
	}
	mapping_fini(&mapping);
}
#define SEGMENTS(...) ((const struct mapping_segment[]){__VA_ARGS__})

static void devices_map_to_their_disks(void **state)
{
	assert_mapping("sda", "sda", SEGMENTS({0, 100000, 0}), 1);
	assert_mapping("sda1", "sda", SEGMENTS({0, 8192, 2048}), 1);
	assert_mapping("sda1", "sdb", NULL, 0);
	assert_mapping("dm-0", "sda", SEGMENTS({0, 100, 2058}, {250, 50, 2248}), 2);
	assert_mapping("dm-0", "sdb", SEGMENTS({150, 100, 0}), 1);
	/* dm on dm: cut at both ends */
	assert_mapping("dm-1", "sda", SEGMENTS({0, 50, 2108}, {200, 50, 2248}), 2);
	/* a table that cannot be read, and md: not mapped */
	assert_mapping("dm-2", "sda", NULL, 0);
	assert_mapping("md0", "sda", NULL, 0);
}

/* --- records of free space --- */

#define DEVICE makedev(8, 1)
#define BITS   64

static uint64_t words[1];
static struct bitmap blocks = {words, BITS};

static struct fsmap free_record(uint64_t physical, uint64_t length)
{
	return (struct fsmap){.fmr_device = DEVICE,
			      .fmr_flags = FMR_OF_SPECIAL_OWNER,
			      .fmr_owner = FMR_OWN_FREE,
			      .fmr_physical = physical,
			      .fmr_length = length};
}

static void clear_by(const struct mapping_segment *segments, unsigned int count,
		     uint32_t block_bytes, const struct fsmap *records, unsigned int record_count)
{
	struct mapping mapping = {.segments = (struct mapping_segment *)segments, .count = count};
	struct free_clearer clearer = {
		.mapping = &mapping, .blocks = &blocks, .block_bytes = block_bytes};

	bitmap_set(&blocks, 0, BITS);
	fsmap_take_records(&clearer, DEVICE, records, record_count);
	fsmap_take_end(&clearer);
}

static void assert_cleared(uint64_t first, uint64_t count)
{
	for (uint64_t bit = 0; bit < BITS; bit++)
		assert_int_equal(bitmap_test(&blocks, bit), bit < first || bit >= first + count);
}

static const struct mapping_segment shifted[] = {{0, 1 << 20, 8192}};

static void only_whole_free_blocks_are_cleared(void **state)
{
	struct fsmap record = free_record(4096 * 2 + 512, 4096 * 3);

	clear_by(shifted, 1, 4096, &record, 1);
	assert_cleared(5, 2); /* 4.125 .. 7.125 */
	record = free_record(0, 4096 * 3);
	clear_by(shifted, 1, 16384, &record, 1); /* 8 KiB .. 20 KiB holds no 16 KiB block */
	assert_cleared(0, 0);
}

static void neighbours_free_a_block_together(void **state)
{
	const struct fsmap records[] = {free_record(8192, 4096), free_record(12288, 12288)};

	clear_by(shifted, 1, 16384, records, 2);
	assert_cleared(1, 1); /* 16 KiB .. 32 KiB of the disk */
}

static void only_plain_free_space_of_the_device_counts(void **state)
{
	struct fsmap records[4];

	for (int i = 0; i < 4; i++)
		records[i] = free_record(8192, 8192);
	records[0].fmr_device = makedev(8, 2); /* a realtime or log device */
	records[1].fmr_flags = 0;	       /* an inode of that number */
	records[2].fmr_owner = FMR_OWN_UNKNOWN;
	records[3].fmr_owner = FMR_OWN_METADATA;
	clear_by(shifted, 1, 4096, records, 4);
	assert_cleared(0, 0);
}

static void free_space_is_cut_by_the_mapping(void **state)
{
	static const struct mapping_segment parts[] = {{0, 8192, 4096 * 20}, {16384, 8192, 0}};
	const struct fsmap record = free_record(4096, 1 << 20);

	clear_by(parts, 2, 4096, &record, 1);
	/* bytes 4096..8192 at block 21, and 16384..24576 at blocks 0 and 1 */
	for (uint64_t bit = 0; bit < BITS; bit++)
		assert_int_equal(bitmap_test(&blocks, bit), bit != 21 && bit != 0 && bit != 1);
}

static void space_past_the_bitmap_is_ignored(void **state)
{
	const struct fsmap records[] = {free_record(4096 * 60, 4096 * 30),
					free_record(UINT64_MAX - 4095, 8192),
					free_record(4096, UINT64_MAX)};

	clear_by(shifted, 1, 4096, records, 2);
	assert_cleared(62, 2);
	clear_by(shifted, 1, 4096, &records[2], 1);
	assert_cleared(3, 61);
}

/* --- swap --- */

static void swap_ranges_are_sorted_and_joined(void **state)
{
	struct swap_range ranges[] = {{100, 10}, {0, 50}, {50, 20}, {105, 20}, {60, 5}, {200, 1}};

	assert_int_equal(swap_merge_ranges(ranges, 6, 16), 3);
	assert_int_equal(ranges[0].offset, 0);
	assert_int_equal(ranges[0].length, 70);
	assert_int_equal(ranges[1].offset, 100);
	assert_int_equal(ranges[1].length, 25);
	assert_int_equal(ranges[2].offset, 200);
	assert_int_equal(swap_merge_ranges(ranges, 0, 16), 0);
}

static void of_too_many_swap_ranges_the_longest_are_kept(void **state)
{
	struct swap_range ranges[] = {{0, 1}, {10, 9}, {30, 2}, {50, 7}};

	assert_int_equal(swap_merge_ranges(ranges, 4, 2), 2);
	assert_int_equal(ranges[0].offset, 10);
	assert_int_equal(ranges[1].offset, 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linear_segments_of_a_dm_table_are_read),
		cmocka_unit_test(broken_dm_tables_are_refused),
		cmocka_unit_test_setup_teardown(devices_map_to_their_disks, setup, teardown),
		cmocka_unit_test(only_whole_free_blocks_are_cleared),
		cmocka_unit_test(neighbours_free_a_block_together),
		cmocka_unit_test(only_plain_free_space_of_the_device_counts),
		cmocka_unit_test(free_space_is_cut_by_the_mapping),
		cmocka_unit_test(space_past_the_bitmap_is_ignored),
		cmocka_unit_test(swap_ranges_are_sorted_and_joined),
		cmocka_unit_test(of_too_many_swap_ranges_the_longest_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
