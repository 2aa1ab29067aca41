/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NBD targets when something goes wrong: failing requests, dead servers, what is refused at once. */
#include "target_fixture.h"

static unsigned char model[DISK_BYTES], seen[DISK_BYTES];

static void bad_ranges_are_refused_before_they_are_sent(void **state)
{
	struct result result = {0};
	static const struct {
		uint64_t offset, length;
	} bad[] = {
		{0, 0},
		{0, 100},
		{100, 512},
		{DISK_BYTES, 512},
		{512, DISK_BYTES},
		{UINT64_MAX - 511, 512},
		{UINT64_MAX - 511, 1024},
	};

	start_nbdkit("memory 16M");
	open_target(socket_uri);
	assert_int_equal(target_info(target)->block_bytes, 512);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(target_channel_zero(channel, bad[i].offset, bad[i].length,
						     note_done, &result),
				 -EINVAL);
		assert_int_equal(target_channel_write(channel, model, bad[i].offset,
						      (uint32_t)bad[i].length, note_done, &result),
				 -EINVAL);
		assert_int_equal(target_channel_read(channel, seen, bad[i].offset,
						     (uint32_t)bad[i].length, note_done, &result),
				 -EINVAL);
	}
	assert_drained();
	assert_false(result.is_done);
}

static void errors_of_writes_reach_done(void **state)
{
	start_nbdkit("--filter=error memory 16M error=ENOSPC error-pwrite-rate=100%");
	open_target(socket_uri);
	assert_int_equal(write_now(model, 0, 4096), ENOSPC);
	assert_non_null(strstr(target_channel_error(channel), "No space left"));
	assert_non_null(strstr(target_channel_error(channel), socket_uri));
	/* A piece in the middle of a large request counts as well. */
	assert_int_equal(write_now(model, 0, DISK_BYTES), ENOSPC);
	/* The channel itself is fine. */
	assert_int_equal(read_now(seen, 0, 4096), 0);
}

static void errors_of_reads_and_zeroes_reach_done(void **state)
{
	start_nbdkit("--filter=error memory 16M error=EIO error-pread-rate=100% "
		     "error-zero-rate=100%");
	open_target(socket_uri);
	assert_int_equal(read_now(seen, 0, 4096), EIO);
	assert_int_equal(zero_now(0, DISK_BYTES), EIO);
	assert_int_equal(write_now(model, 0, 4096), 0);
}

static void some_failing_writes_are_told_from_the_others(void **state)
{
	static struct result results[1000];
	unsigned int failed = 0;

	memset(results, 0, sizeof(results));
	start_nbdkit("--filter=error memory 16M error=EIO error-pwrite-rate=20%");
	open_target(socket_uri);
	fill_random(model, DISK_BYTES, 7);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(target_channel_write(channel, model + i * 4096, i * 4096, 4096,
						      note_done, &results[i]),
				 0);
	assert_drained();
	assert_int_equal(read_now(seen, 0, 1000 * 4096), 0);
	for (size_t i = 0; i < 1000; i++) {
		assert_true(results[i].is_done);
		failed += results[i].error != 0;
		if (results[i].error == 0)
			assert_memory_equal(seen + i * 4096, model + i * 4096, 4096);
	}
	assert_true(failed > 0 && failed < 1000);
}

static void a_failed_flush_stays_failed_until_reopened(void **state)
{
	run(text_of("touch %s/broken", folder));
	start_nbdkit(text_of("eval get_size='echo 16M' pread='head -c $3 /dev/zero' "
			     "can_write='exit 0' pwrite='cat >/dev/null' can_flush='exit 0' "
			     "flush='[ ! -e %s/broken ] || { echo EIO broken >&2; exit 1; }'",
			     folder));
	open_target(socket_uri);
	assert_int_equal(write_now(model, 0, 4096), 0);
	assert_int_equal(target_channel_flush(channel, DEADLINE_NS), -EIO);
	unlink(in_folder("broken"));
	assert_int_equal(target_channel_flush(channel, DEADLINE_NS), -EIO);
	assert_non_null(strstr(target_channel_error(channel), "earlier flush"));
	close_target();
	open_target(socket_uri);
	assert_int_equal(target_channel_flush(channel, DEADLINE_NS), 0);
}

static void a_killed_server_fails_all_and_can_come_back(void **state)
{
	static struct result results[40];

	memset(results, 0, sizeof(results));
	start_nbdkit("--filter=delay memory 16M wdelay=600");
	open_target(socket_uri);
	for (size_t i = 0; i < 40; i++)
		assert_int_equal(target_channel_write(channel, model, i * 65536, 65536, note_done,
						      &results[i]),
				 0);
	assert_int_equal(target_channel_poll(channel), 0);
	assert_int_equal(done_count, 0);
	assert_true(target_is_clean(target));
	end_server(SIGKILL);
	assert_true(target_channel_drain(channel, DEADLINE_NS) < 0);
	assert_false(target_is_clean(target)); /* a server behind a cut link looks the same */
	for (size_t i = 0; i < 40; i++)
		assert_true(results[i].is_done && results[i].error != 0);
	assert_true(target_channel_write(channel, model, 0, 512, note_done, &results[0]) < 0);
	assert_true(target_channel_poll(channel) < 0);
	assert_true(target_channel_flush(channel, DEADLINE_NS) < 0);
	close_target();

	assert_int_equal(try_open(socket_uri, DISK_BYTES), -ENOENT);
	assert_int_equal(fault.class, FAULT_RETRY);
	start_nbdkit("memory 16M");
	open_target(socket_uri);
	assert_int_equal(write_now(model, 0, 4096), 0);
}

static void an_idle_channel_notices_a_killed_server(void **state)
{
	uint64_t deadline_ns = os_monotonic_ns() + DEADLINE_NS;

	start_nbdkit("memory 16M");
	open_target(socket_uri);
	end_server(SIGKILL);
	while (target_channel_poll(channel) == 0)
		assert_true(os_monotonic_ns() < deadline_ns);
	assert_true(target_channel_drain(channel, DEADLINE_NS) < 0);
	assert_true(target_is_clean(target));
}

static void drain_and_flush_keep_their_deadlines(void **state)
{
	static struct result result; /* ended after this function, when the channel is closed */

	memset(&result, 0, sizeof(result));
	start_nbdkit("memory 16M");
	open_target(socket_uri);
	assert_int_equal(kill(server_pid, SIGSTOP), 0);
	run(text_of(
		"timeout 60 sh -c 'while grep -qs \"^State:.[RSD]\" /proc/%d/task/*/status; do :; "
		"done'",
		server_pid));
	assert_int_equal(target_channel_write(channel, model, 0, 4096, note_done, &result), 0);
	assert_int_equal(target_channel_drain(channel, 10 * NS_PER_MS), -ETIMEDOUT);
	assert_false(result.is_done);
	assert_int_equal(target_channel_flush(channel, 10 * NS_PER_MS), -ETIMEDOUT);
	/* Its answer must not be taken for that of a later flush. */
	assert_true(target_channel_write(channel, model, 0, 4096, note_done, &result) < 0);
}

static void closing_cancels_what_is_under_way(void **state)
{
	static struct result results[30];

	memset(results, 0, sizeof(results));
	start_nbdkit("--filter=delay memory 16M wdelay=600");
	open_target(socket_uri);
	for (size_t i = 0; i < 30; i++)
		assert_int_equal(
			target_channel_write(channel, model, 0, 65536, note_done, &results[i]), 0);
	target_channel_close(channel);
	channel = NULL;
	for (size_t i = 0; i < 30; i++)
		assert_true(results[i].is_done && results[i].error == ECANCELED);
	assert_false(target_is_clean(target));
}

static int nested_error;
static void write_again(void *context, int error)
{
	struct result *result = context;

	nested_error = target_channel_write(channel, model, 0, 512, note_done, result);
}

static void done_may_not_start_requests(void **state)
{
	struct result result = {0};

	start_nbdkit("memory 16M");
	open_target(socket_uri);
	assert_int_equal(target_channel_write(channel, model, 0, 512, write_again, &result), 0);
	assert_drained();
	assert_int_equal(nested_error, -EDEADLK);
	assert_false(result.is_done);
}

static void small_and_read_only_exports_are_refused(void **state)
{
	start_nbdkit("memory 16M");
	assert_int_equal(try_open(socket_uri, DISK_BYTES + 512), -ENOSPC);
	assert_int_equal(fault.class, FAULT_STOP);
	assert_non_null(strstr(fault.text, "16777216"));
	end_server(SIGTERM);
	start_nbdkit("-r memory 16M");
	assert_int_equal(try_open(socket_uri, DISK_BYTES), -EROFS);
	assert_int_equal(fault.class, FAULT_STOP);
}

static void one_export_is_not_opened_twice(void **state)
{
	struct target *first;

	start_nbdkit("memory 16M");
	assert_int_equal(try_open(socket_uri, DISK_BYTES), 0);
	first = target;
	target = NULL;
	/* The same server by another spelling. */
	assert_int_equal(try_open(text_of("nbd+unix:///?socket=%s/../%s/sock", folder,
					  strrchr(folder, '/') + 1),
				  DISK_BYTES),
			 -EBUSY);
	assert_int_equal(fault.class, FAULT_STOP);
	target_close(first);
	assert_int_equal(try_open(socket_uri, DISK_BYTES), 0);
}

static void bad_uris_are_refused(void **state)
{
	static const char *const bad[] = {
		"",	  "nothing", "http://host/",	     "file:relative",
		"block:", "auto2",   "nbd+unix:///?socket=%"};
	char long_uri[400];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(try_open(bad[i], DISK_BYTES) < 0);
		if (i < 6)
			assert_int_equal(fault.class, FAULT_STOP);
	}
	memset(long_uri, 'x', sizeof(long_uri));
	memcpy(long_uri, "nbd://", 6);
	long_uri[sizeof(long_uri) - 1] = '\0';
	assert_int_equal(try_open(long_uri, DISK_BYTES), -EINVAL);
	assert_int_equal(try_open("auto", 0), -EINVAL);
	assert_int_equal(try_open("auto", UINT64_MAX), -EINVAL);
}

static void a_server_that_is_not_there_is_tried_again(void **state)
{
	assert_int_equal(try_open(socket_uri, DISK_BYTES), -ENOENT);
	assert_int_equal(fault.class, FAULT_RETRY);
	assert_int_equal(try_open("nbd://127.0.0.1:1/", DISK_BYTES), -ECONNREFUSED);
	assert_int_equal(fault.class, FAULT_RETRY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bad_ranges_are_refused_before_they_are_sent),
		TEST(errors_of_writes_reach_done),
		TEST(errors_of_reads_and_zeroes_reach_done),
		TEST(some_failing_writes_are_told_from_the_others),
		TEST(a_failed_flush_stays_failed_until_reopened),
		TEST(a_killed_server_fails_all_and_can_come_back),
		TEST(an_idle_channel_notices_a_killed_server),
		TEST(drain_and_flush_keep_their_deadlines),
		TEST(closing_cancels_what_is_under_way),
		TEST(done_may_not_start_requests),
		TEST(small_and_read_only_exports_are_refused),
		TEST(one_export_is_not_opened_twice),
		TEST(bad_uris_are_refused),
		TEST(a_server_that_is_not_there_is_tried_again),
	};

	if (!is_installed("nbdkit") || !is_installed("nbdcopy")) {
		puts("nbdkit or nbdcopy is not installed");
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
