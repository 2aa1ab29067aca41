// SPDX-License-Identifier: GPL-2.0-or-later
/* The history used by several threads at once. TSan looks at this one, too. */
#include "tests/unit/receiver/history_fixture.h"

#include "common/os_thread.h"

/* Threads: one writes and marks, one thins, one reads one checkpoint again and again. */
static struct os_mutex target_lock = OS_MUTEX_INITIALIZER;
static bool is_done;

static int read_locked(void *context, unsigned int disk, void *data, uint64_t offset,
		       uint32_t length)
{
	os_mutex_lock(&target_lock);
	memcpy(data, disk_at(target, disk) + offset, length);
	os_mutex_unlock(&target_lock);
	return 0;
}

/* A thread cannot assert: it says what was wrong, and ends the test. */
static void give_up(const char *what)
{
	fprintf(stderr, "%s\n", what);
	abort();
}

static void thin_again_and_again(void *argument)
{
	struct fault why;
	uint64_t now_ns = 0;

	while (!__atomic_load_n(&is_done, __ATOMIC_ACQUIRE)) {
		now_ns += NS_PER_S / 2;
		if (history_thin(history, now_ns, &why) != 0)
			give_up(why.text);
	}
}

struct reading {
	struct history_reader *reader;
	uint64_t number;
};

static void read_again_and_again(void *argument)
{
	const struct reading *reading = argument;
	static uint8_t data[DISK0_BYTES];
	struct fault why;

	while (!__atomic_load_n(&is_done, __ATOMIC_ACQUIRE)) {
		if (history_reader_read(reading->reader, 0, data, 0, DISK0_BYTES, &why) != 0)
			give_up(why.text);
		if (memcmp(data, copies[reading->number], DISK0_BYTES) != 0)
			give_up("a checkpoint that is read has changed");
	}
}

/* Another writer, on blocks that the first writes as well, though never at the same time as a mark. */
static struct os_mutex mark_lock = OS_MUTEX_INITIALIZER;
static void write_again_and_again(void *argument)
{
	struct fault why;
	unsigned int state = 7;

	while (!__atomic_load_n(&is_done, __ATOMIC_ACQUIRE)) {
		uint64_t first = (unsigned int)rand_r(&state) % 60;
		struct history_extent extents[] = {{0, first * BLOCK, 4 * BLOCK},
						   {0, (first / 2) * BLOCK, 3 * BLOCK}};

		os_mutex_lock(&mark_lock);
		if (history_protect(history, extents, 2, &why) != 0)
			give_up(why.text);
		os_mutex_lock(&target_lock);
		memset(target + first * BLOCK, (int)state & 0xff, 4 * BLOCK);
		os_mutex_unlock(&target_lock);
		os_mutex_unlock(&mark_lock);
	}
}

static void protect_without_lock(void *argument)
{
	struct fault why;
	unsigned int state = 9;

	while (!__atomic_load_n(&is_done, __ATOMIC_ACQUIRE)) {
		struct history_extent extent = {0, (unsigned int)rand_r(&state) % 60 * BLOCK,
						4 * BLOCK};

		if (history_protect(history, &extent, 1, &why) != 0)
			give_up(why.text);
	}
}

static void threads_do_not_disturb_each_other(void **state)
{
	static const struct history_rule rules[] = {{5 * NS_PER_S, NS_PER_S},
						    {50 * NS_PER_S, 10 * NS_PER_S}};
	struct os_thread threads[4] = {0};
	struct reading reading;

	setup.rules = rules;
	setup.rule_count = 2;
	history_close(history);
	is_done = false;
	open_it();
	history->read = read_locked;
	reading.number = checkpoint();
	/* Before anybody thins: a checkpoint that nobody reads may go. */
	assert_int_equal(
		history_reader_open(history, reading.number, NULL, &reading.reader, &fault), 0);
	os_thread_start(&threads[0], "read", read_again_and_again, &reading);
	os_thread_start(&threads[1], "thin", thin_again_and_again, NULL);
	os_thread_start(&threads[2], "write", write_again_and_again, NULL);
	os_thread_start(&threads[3], "protect", protect_without_lock, NULL);
	for (unsigned int i = 0; i < 300; i++) {
		uint64_t first = random_below(60);

		protect(0, first * BLOCK, 4 * BLOCK);
		os_mutex_lock(&mark_lock);
		protect(0, first * BLOCK, 4 * BLOCK);
		os_mutex_lock(&target_lock);
		fill_bytes(target + first * BLOCK, 4 * BLOCK, i);
		os_mutex_unlock(&target_lock);
		checkpoint();
		os_mutex_unlock(&mark_lock);
	}
	__atomic_store_n(&is_done, true, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < 4; i++)
		os_thread_join(&threads[i]);
	history_reader_close(reading.reader);
	check_points();
}

/* What is read is overwritten between a reader's look for a record and its read of the target. */
static bool is_hooked, is_closed_meanwhile;
static int read_late(void *context, unsigned int disk, void *data, uint64_t offset, uint32_t length)
{
	if (is_hooked) {
		is_hooked = false; /* for protect comes here as well */
		write_bytes(disk, offset, length, 8 + 3 * (unsigned int)offset);
		if (is_closed_meanwhile)
			assert_int_equal(history_part_switch(history), 0);
	}
	memcpy(data, disk_at(target, disk) + offset, length);
	return 0;
}

static void a_reader_that_is_overtaken_looks_again(void **state)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct history_reader *reader;
		uint64_t number = checkpoint();

		is_closed_meanwhile = i == 1;
		history->read = read_late;
		assert_int_equal(history_reader_open(history, number, NULL, &reader, &fault), 0);
		is_hooked = true;
		check_reader(reader, number);
		assert_false(is_hooked);
		history_reader_close(reader);
	}
}

/* The first call hangs in its read of the old contents; the second wants the same block. */
static int in_read, may_go_on, has_returned;
static int read_slowly(void *context, unsigned int disk, void *data, uint64_t offset,
		       uint32_t length)
{
	__atomic_store_n(&in_read, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&may_go_on, __ATOMIC_SEQ_CST))
		os_sleep_ns(NS_PER_MS);
	memcpy(data, disk_at(target, disk) + offset, length);
	return 0;
}

static void protect_one(void *argument)
{
	struct history_extent extent = {0, 3 * BLOCK, BLOCK};
	struct fault why;

	if (history_protect(history, &extent, 1, &why) != 0)
		give_up(why.text);
	__atomic_fetch_add(&has_returned, 1, __ATOMIC_SEQ_CST);
}

static void nobody_overtakes_who_is_still_reading_the_old_contents(void **state)
{
	uint64_t number = checkpoint(), deadline_ns;
	struct os_thread threads[2] = {0};

	history->read = read_slowly;
	os_thread_start(&threads[0], "first", protect_one, NULL);
	while (!__atomic_load_n(&in_read, __ATOMIC_SEQ_CST))
		os_sleep_ns(NS_PER_MS);
	os_thread_start(&threads[1], "second", protect_one, NULL);
	deadline_ns = os_monotonic_ns() + 100 * NS_PER_MS; /* time enough to do it wrong */
	while (os_monotonic_ns() < deadline_ns) {
		assert_int_equal(__atomic_load_n(&has_returned, __ATOMIC_SEQ_CST), 0);
		os_sleep_ns(NS_PER_MS);
	}
	__atomic_store_n(&may_go_on, 1, __ATOMIC_SEQ_CST);
	os_thread_join(&threads[0]);
	os_thread_join(&threads[1]);
	fill_bytes(target + 3 * BLOCK, BLOCK, 2);
	history->read = read_target;
	check_point(number);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(a_reader_that_is_overtaken_looks_again),
		TEST(nobody_overtakes_who_is_still_reading_the_old_contents),
		TEST(threads_do_not_disturb_each_other),
	};
	int failed;

	begin();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	finish();
	return failed;
}
