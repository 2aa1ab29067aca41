/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NBD targets against the real nbdkit and qemu-nbd. */
#include "target_fixture.h"

static unsigned char model[DISK_BYTES], seen[DISK_BYTES];

/* What an independent client reads is what was written. */
static void assert_copy_equals_model(void)
{
	save("model", model, sizeof(model));
	run(text_of("nbdcopy '%s' %s/copy", socket_uri, folder));
	run(text_of("cmp %s/model %s/copy", folder, folder));
}

static void nbdkit_round_trip(void **state)
{
	make_file("disk", DISK_BYTES);
	start_nbdkit(text_of("file %s/disk", folder));
	open_target(socket_uri);
	assert_true(target_info(target)->can_flush);
	assert_true(target_info(target)->can_zero);
	assert_int_equal(target_info(target)->size_bytes, DISK_BYTES);
	scribble(model, 8, 1);
	assert_int_equal(read_now(seen, 0, DISK_BYTES), 0);
	assert_memory_equal(seen, model, DISK_BYTES);
	assert_copy_equals_model();
}

static void qemu_nbd_round_trip(void **state)
{
	if (!is_installed("qemu-nbd"))
		skip();
	make_file("disk", DISK_BYTES);
	start_qemu_nbd(text_of("--shared=4 %s/disk", folder));
	open_target(socket_uri);
	assert_true(target_info(target)->channels_max > 1);
	scribble(model, 4, 2);
	save("model", model, sizeof(model));
	run(text_of("qemu-img compare -U -f raw -F raw %s/model '%s' >/dev/null", folder,
		    socket_uri));
}

static void two_channels_see_one_target(void **state)
{
	struct target_channel *second, *first;

	start_nbdkit("memory 16M");
	open_target(socket_uri);
	first = channel;
	assert_int_equal(target_channel_open(target, &second, &fault), 0);
	fill_random(model, 4096, 3);
	assert_int_equal(write_now(model, 8192, 4096), 0);
	assert_int_equal(target_channel_flush(channel, DEADLINE_NS), 0);
	channel = second;
	assert_int_equal(read_now(seen, 8192, 4096), 0);
	assert_memory_equal(seen, model, 4096);
	channel = first;
	target_channel_close(second);
}

static void zeroes_become_holes(void **state)
{
	struct stat st;

	make_file("disk", DISK_BYTES);
	start_nbdkit(text_of("file %s/disk", folder));
	open_target(socket_uri);
	scribble(model, 0, 4);
	assert_int_equal(zero_now(0, DISK_BYTES), 0);
	memset(model, 0, sizeof(model));
	assert_copy_equals_model();
	assert_int_equal(stat(in_folder("disk"), &st), 0);
	assert_int_equal(st.st_blocks, 0);
}

static void zeroes_travel_as_data_where_the_server_has_none(void **state)
{
	start_nbdkit("--filter=nozero memory 16M");
	open_target(socket_uri);
	assert_false(target_info(target)->can_zero);
	scribble(model, 2, 5);
	assert_int_equal(zero_now(512, DISK_BYTES - 1024), 0);
	memset(model + 512, 0, DISK_BYTES - 1024);
	assert_copy_equals_model();
}

static void more_requests_than_the_queue_holds(void **state)
{
	static struct result results[2000];

	memset(results, 0, sizeof(results));
	start_nbdkit("memory 16M");
	open_target(socket_uri);
	fill_random(model, DISK_BYTES, 6);
	for (size_t i = 0; i < 2000; i++)
		assert_int_equal(target_channel_write(channel, model + i * 4096, i * 4096, 4096,
						      note_done, &results[i]),
				 0);
	assert_drained();
	for (size_t i = 0; i < 2000; i++)
		assert_true(results[i].is_done && results[i].error == 0);
	assert_int_equal(read_now(seen, 0, 2000 * 4096), 0);
	assert_memory_equal(seen, model, 2000 * 4096);
}

static void a_slow_request_does_not_hold_up_the_next(void **state)
{
	struct result slow = {0}, quick = {0};

	start_nbdkit("--filter=delay memory 16M delay-zero=1");
	open_target(socket_uri);
	assert_int_equal(target_channel_zero(channel, 0, 4096, note_done, &slow), 0);
	assert_int_equal(target_channel_write(channel, model, 4096, 4096, note_done, &quick), 0);
	assert_drained();
	assert_int_equal(quick.place, 1);
	assert_int_equal(slow.place, 2);
}

static void a_server_without_multi_conn_has_its_connection_shared(void **state)
{
	struct result first = {0}, second = {0};
	struct target_channel *other;

	start_nbdkit("--filter=multi-conn --filter=delay memory 16M multi-conn-mode=disable "
		     "delay-write=50ms");
	open_target(socket_uri);
	assert_true(target_info(target)->is_single);
	assert_int_equal(target_channel_open(target, &other, &fault), 0);
	fill_random(model, 65536, 5);
	assert_int_equal(target_channel_write(channel, model, 0, 32768, note_done, &first), 0);
	assert_int_equal(
		target_channel_write(other, model + 32768, 32768, 32768, note_done, &second), 0);
	assert_int_equal(target_channel_drain(other, DEADLINE_NS), 0);
	assert_true(second.is_done);
	assert_false(first.is_done); /* only the channel's own thread calls done */
	assert_int_equal(target_channel_flush(other, DEADLINE_NS), 0);
	assert_drained();
	assert_true(first.is_done);
	assert_int_equal(read_now(seen, 0, 65536), 0);
	assert_memory_equal(seen, model, 65536);
	target_channel_close(other);
	assert_true(target_is_clean(target));
	assert_int_equal(write_now(model, 0, 512), 0);
}

static void a_shared_connection_does_not_touch_the_buffers_of_a_closed_channel(void **state)
{
	struct result late = {0}, after = {0};
	struct target_channel *other;

	start_nbdkit("--filter=multi-conn --filter=delay memory 16M multi-conn-mode=disable "
		     "delay-write=2");
	open_target(socket_uri);
	assert_int_equal(target_channel_open(target, &other, &fault), 0);
	assert_int_equal(target_channel_write(other, model, 0, 32768, note_done, &late), 0);
	target_channel_close(other);
	assert_int_equal(late.error, ECANCELED);
	assert_false(target_is_clean(target));
	assert_int_equal(target_channel_write(channel, model, 0, 512, note_done, &after), 0);
	assert_int_not_equal(target_channel_drain(channel, DEADLINE_NS), 0);
	assert_int_not_equal(after.error, 0);
}

static void a_server_with_room_for_one_client_is_enough(void **state)
{
	if (!is_installed("qemu-nbd"))
		skip();
	make_file("disk", DISK_BYTES);
	start_qemu_nbd(text_of("--shared=1 %s/disk", folder));
	open_target(socket_uri);
	assert_true(target_info(target)->is_single);
	assert_int_equal(write_now(model, 0, 4096), 0);
	assert_int_equal(target_channel_flush(channel, DEADLINE_NS), 0);
}

static void all_zero_exports_are_known(void **state)
{
	start_nbdkit("memory 16M");
	open_target(socket_uri);
	assert_true(target_info(target)->is_known_zero);
	fill_random(model, 4096, 8);
	assert_int_equal(write_now(model, DISK_BYTES - 4096, 4096), 0);
	close_target();
	open_target(socket_uri);
	assert_false(target_info(target)->is_known_zero);
	close_target();
	end_server(SIGTERM);
	start_nbdkit("--filter=noextents memory 16M");
	open_target(socket_uri);
	assert_false(target_info(target)->is_known_zero);
}

static void larger_exports_are_taken(void **state)
{
	start_nbdkit("memory 20M");
	open_target(socket_uri);
	assert_int_equal(target_info(target)->size_bytes, 20 * MIB);
}

static void tls_with_a_shared_key(void **state)
{
	if (!is_installed("psktool"))
		skip();
	run(text_of("psktool -u blkferry -p %s/keys >/dev/null 2>&1", folder));
	start_nbdkit(text_of("--tls=require --tls-psk=%s/keys memory 16M", folder));
	open_target(text_of("nbds+unix://blkferry@/?socket=%s/sock&tls-psk-file=%s/keys", folder,
			    folder));
	scribble(model, 2, 9);
	assert_int_equal(read_now(seen, 0, DISK_BYTES), 0);
	assert_memory_equal(seen, model, DISK_BYTES);
	close_target();
	assert_true(try_open(socket_uri, DISK_BYTES) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nbdkit_round_trip),
		TEST(qemu_nbd_round_trip),
		TEST(two_channels_see_one_target),
		TEST(zeroes_become_holes),
		TEST(zeroes_travel_as_data_where_the_server_has_none),
		TEST(more_requests_than_the_queue_holds),
		TEST(a_slow_request_does_not_hold_up_the_next),
		TEST(a_server_without_multi_conn_has_its_connection_shared),
		TEST(a_shared_connection_does_not_touch_the_buffers_of_a_closed_channel),
		TEST(a_server_with_room_for_one_client_is_enough),
		TEST(all_zero_exports_are_known),
		TEST(larger_exports_are_taken),
		TEST(tls_with_a_shared_key),
	};

	if (!is_installed("nbdkit") || !is_installed("nbdcopy")) {
		puts("nbdkit or nbdcopy is not installed");
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
