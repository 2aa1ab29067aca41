/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Targets that take only blocks of 4096 bytes: nbdkit refuses anything else, and requests are of sectors all the same. */
#include "target_fixture.h"

#include "common/os_thread.h"

#define SECTOR	    512u
#define BLOCK	    4096u
#define PART_ROUNDS 200

static unsigned char model[DISK_BYTES], seen[DISK_BYTES];

static void serve(const char *filters, const char *arguments)
{
	make_file("disk", DISK_BYTES);
	start_nbdkit(text_of("%s --filter=blocksize-policy file %s/disk blocksize-minimum=%u "
			     "blocksize-preferred=%u blocksize-maximum=33554432 "
			     "blocksize-error-policy=error %s",
			     filters, folder, BLOCK, BLOCK, arguments));
}

static void expect_model(void)
{
	save("model", model, sizeof(model));
	run(text_of("cmp %s/model %s/disk", folder, folder));
}

static void sectors_anywhere(void **state)
{
	serve("", "");
	open_target(socket_uri);
	assert_int_equal(target_info(target)->block_bytes, SECTOR);
	scribble(model, 6, 5);
	assert_int_equal(read_now(seen, 0, DISK_BYTES), 0);
	assert_memory_equal(seen, model, DISK_BYTES);
	for (unsigned int i = 0; i < 100; i++) {
		uint64_t offset = (uint64_t)rand() % 4000 * SECTOR;
		uint32_t length = (1 + (uint32_t)rand() % 40) * SECTOR;

		memset(seen, 0, length);
		assert_int_equal(read_now(seen, offset, length), 0);
		assert_memory_equal(seen, model + offset, length);
	}
	close_target();
	expect_model();
}

/* All on their way at once, in the same few blocks. */
static void neighbours_in_a_block(void **state)
{
	static struct result results[64];

	serve("", "");
	open_target(socket_uri);
	memset(model, 0, sizeof(model));
	fill_random(model, 64 * SECTOR, 7);
	for (unsigned int i = 0; i < 64; i++) {
		unsigned int at = i * 37 % 64;

		results[i] = (struct result){0};
		if (i % 5 == 0)
			memset(model + at * SECTOR, 0, SECTOR);
		assert_int_equal(i % 5 == 0 ? target_channel_zero(channel, at * SECTOR, SECTOR,
								  note_done, &results[i])
					    : target_channel_write(channel, model + at * SECTOR,
								   at * SECTOR, SECTOR, note_done,
								   &results[i]),
				 0);
	}
	assert_drained();
	for (unsigned int i = 0; i < 64; i++)
		assert_true(results[i].is_done && results[i].error == 0);
	close_target();
	expect_model();
}

struct half {
	struct target_channel *channel;
	unsigned int first;
	int error;
};

static void note_half(void *context, int error)
{
	struct half *half = context;

	half->error = half->error ? half->error : error;
}

/* Every second sector of each of the first blocks, again and again. */
static void write_half(void *argument)
{
	struct half *half = argument;
	static unsigned char data[2][SECTOR];

	for (unsigned int round = 0; round < PART_ROUNDS && !half->error; round++) {
		unsigned int sector = round % 8 * 2 + half->first;

		memset(data[half->first], (int)(round / 8 + 1), SECTOR);
		note_half(half, target_channel_write(half->channel, data[half->first],
						     sector * SECTOR, SECTOR, note_half, half));
		note_half(half, target_channel_drain(half->channel, DEADLINE_NS));
	}
}

static void two_channels_in_a_block(void **state)
{
	struct half halves[2] = {{.first = 0}, {.first = 1}};
	struct os_thread threads[2];

	serve("", "");
	open_target(socket_uri);
	halves[0].channel = channel;
	assert_int_equal(target_channel_open(target, &halves[1].channel, &fault), 0);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(os_thread_start(&threads[i], "half", write_half, &halves[i]), 0);
	for (unsigned int i = 0; i < 2; i++) {
		os_thread_join(&threads[i]);
		assert_int_equal(halves[i].error, 0);
	}
	memset(model, 0, sizeof(model));
	memset(model, PART_ROUNDS / 8, 16 * SECTOR);
	target_channel_close(halves[1].channel);
	close_target();
	expect_model();
}

static void an_error_is_the_requests(void **state)
{
	serve("--filter=error", text_of("error-pwrite=ENOSPC error-pwrite-rate=100%% "
					"error-file=%s/fail",
					folder));
	open_target(socket_uri);
	memset(model, 0, sizeof(model));
	memset(model, 'a', 3 * BLOCK);
	assert_int_equal(write_now(model, 0, 3 * BLOCK), 0);
	run(text_of("touch %s/fail", folder));
	assert_int_equal(write_now(seen, SECTOR, SECTOR), ENOSPC);    /* a part */
	assert_int_equal(write_now(seen, SECTOR, 2 * BLOCK), ENOSPC); /* parts and a block */
	assert_int_equal(write_now(seen, BLOCK, BLOCK), ENOSPC);      /* a block */
	assert_int_equal(zero_now(BLOCK + SECTOR, SECTOR), ENOSPC);
	assert_non_null(strstr(target_channel_error(channel), "No space left"));
	run(text_of("rm %s/fail", folder));
	assert_int_equal(write_now(model, SECTOR, SECTOR), 0);
	assert_int_equal(target_channel_flush(channel, DEADLINE_NS), 0);
	close_target();
	expect_model();
}

static void a_server_that_goes_is_an_error(void **state)
{
	struct result results[2] = {{0}};

	serve("", "");
	open_target(socket_uri);
	end_server(SIGKILL);
	(void)target_channel_write(channel, model, SECTOR, SECTOR, note_done, &results[0]);
	(void)target_channel_write(channel, model, BLOCK, BLOCK, note_done, &results[1]);
	assert_true(target_channel_drain(channel, DEADLINE_NS) < 0);
	for (unsigned int i = 0; i < 2; i++)
		assert_true(!results[i].is_done || results[i].error);
	assert_true(target_channel_flush(channel, DEADLINE_NS) < 0);
	close_target();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sectors_anywhere),
		TEST(neighbours_in_a_block),
		TEST(two_channels_in_a_block),
		TEST(an_error_is_the_requests),
		TEST(a_server_that_goes_is_an_error),
	};

	if (!is_installed("nbdkit")) {
		puts("nbdkit is not installed");
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
