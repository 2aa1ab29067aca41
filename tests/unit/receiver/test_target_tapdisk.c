/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NBD targets against a server with the ways of tapdisk (tests/tools/tapdisk_server.py lists them). */
#include <sys/socket.h>
#include <sys/un.h>

#include "target_fixture.h"

static unsigned char model[DISK_BYTES], seen[DISK_BYTES];

static void start(const char *arguments)
{
	make_file("disk", DISK_BYTES);
	start_tapdisk(arguments);
}

static void assert_disk_equals_model(void)
{
	save("model", model, sizeof(model));
	run(text_of("cmp %s/model %s/disk", folder, folder));
}

static void what_is_written_is_on_the_disk(void)
{
	open_target(socket_uri);
	assert_false(target_info(target)->can_flush);
	assert_false(target_info(target)->can_zero);
	assert_int_equal(target_info(target)->block_bytes, 512);
	assert_true(target_info(target)->is_single);
	scribble(model, 8, 10);
	assert_int_equal(write_now(model, 0, DISK_BYTES), 0); /* in pieces of at most 2 MiB */
	assert_int_equal(zero_now(8192, 5 * MIB), 0);
	memset(model + 8192, 0, 5 * MIB);
	assert_int_equal(target_channel_flush(channel, DEADLINE_NS), 0);
	assert_int_equal(read_now(seen, 0, DISK_BYTES), 0);
	assert_memory_equal(seen, model, DISK_BYTES);
	assert_disk_equals_model();
}

static void round_trip(void **state)
{
	start("");
	what_is_written_is_on_the_disk();
}

static void round_trip_with_a_newer_server(void **state)
{
	start("--newer");
	what_is_written_is_on_the_disk();
}

static void an_export_name_is_sent_and_does_not_matter(void **state)
{
	start("");
	open_target(text_of("nbd+unix:///0a1b2c3d-vdi-uuid?socket=%s/sock", folder));
	assert_int_equal(write_now(model, 0, 4096), 0);
}

/* Which takes block status in requests of 2 MiB. */
static void an_empty_disk_is_known_to_be_zero(void **state)
{
	start("");
	open_target(socket_uri);
	assert_true(target_info(target)->is_known_zero);
}

static void a_disk_with_data_is_not_known_to_be_zero(void **state)
{
	make_file("disk", DISK_BYTES);
	run(text_of("printf x | dd of=%s/disk bs=1 seek=15M conv=notrunc status=none", folder));
	start_tapdisk("");
	open_target(socket_uri);
	assert_false(target_info(target)->is_known_zero);
}

static void errors_are_told_with_a_hint(void **state)
{
	start("--full-at 1048576");
	open_target(socket_uri);
	assert_int_equal(write_now(model, 0, 4096), 0);
	assert_int_equal(write_now(model, 1048576, 4096), EINVAL);
	assert_non_null(strstr(target_channel_error(channel), "full storage"));
	/* Other requests go on. */
	assert_int_equal(write_now(model, 4096, 4096), 0);
}

static void a_read_only_disk_is_told_by_its_first_write(void **state)
{
	start("--read-only");
	open_target(socket_uri);
	assert_int_equal(write_now(model, 0, 4096), EINVAL);
	assert_non_null(strstr(target_channel_error(channel), "read-only"));
}

static void garbage_is_not_taken_for_data(void **state)
{
	start("--bad-at 1048576");
	open_target(socket_uri);
	assert_int_equal(read_now(seen, 0, 4096), 0);
	assert_int_equal(read_now(seen, 1048576, 4096), EINVAL);
}

/* The deadline below is not what decides: it only has to pass while the server stands still. */
static void a_long_stall_is_waited_out(void **state)
{
	struct result results[40] = {0};

	start("");
	open_target(socket_uri);
	kill(server_pid, SIGUSR1);
	fill_random(model, DISK_BYTES, 12);
	for (unsigned int i = 0; i < 40; i++)
		assert_int_equal(target_channel_write(channel, model + i * 65536, i * 65536, 65536,
						      note_done, &results[i]),
				 0);
	assert_int_equal(target_channel_drain(channel, NS_PER_S / 5), -ETIMEDOUT);
	kill(server_pid, SIGUSR2);
	assert_drained();
	for (unsigned int i = 0; i < 40; i++)
		assert_true(results[i].is_done && results[i].error == 0);
	assert_int_equal(read_now(seen, 0, 40 * 65536), 0);
	assert_memory_equal(seen, model, 40 * 65536);
}

/* Closing hears the new greeting that tapdisk sends for DISC, or does not send one. */
static void it_can_be_opened_again_after_closing(void **state)
{
	start("");
	for (unsigned int i = 0; i < 3; i++) {
		open_target(socket_uri);
		fill_random(model, 4096, i);
		assert_int_equal(write_now(model, 4096, 4096), 0);
		assert_true(target_is_clean(target));
		close_target();
	}
	open_target(socket_uri);
	assert_int_equal(read_now(seen, 4096, 4096), 0);
	assert_memory_equal(seen, model, 4096);
}

static void the_server_of_xcp_ng_8_2_is_refused_with_advice(void **state)
{
	start("--old-style");
	assert_true(try_open(socket_uri, DISK_BYTES) < 0);
	assert_int_equal(fault.class, FAULT_STOP);
	assert_non_null(strstr(fault.text, "block:/dev/sm/backend/"));
}

static void zeroes_that_the_server_refuses_become_data(void **state)
{
	start("--refuse-zeroes");
	open_target(socket_uri);
	assert_true(target_info(target)->can_zero);
	scribble(model, 2, 11);
	assert_int_equal(zero_now(0, 3 * MIB), 0);
	memset(model, 0, 3 * MIB);
	assert_disk_equals_model();
}

/* That the server has the quirk which newer libnbds have to be told about, whatever libnbd is here. */
static void the_server_drops_whoever_offers_extended_headers(void **state)
{
	static const unsigned char offer[] = "\0\0\0\3IHAVEOPT\0\0\0\13\0\0\0\0";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	unsigned char greeting[18], byte;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	start("");
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", folder);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(recv(fd, greeting, sizeof(greeting), MSG_WAITALL), sizeof(greeting));
	assert_int_equal(send(fd, offer, sizeof(offer) - 1, 0), sizeof(offer) - 1);
	assert_true(recv(fd, &byte, 1, 0) <= 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(round_trip),
		TEST(round_trip_with_a_newer_server),
		TEST(an_export_name_is_sent_and_does_not_matter),
		TEST(an_empty_disk_is_known_to_be_zero),
		TEST(a_disk_with_data_is_not_known_to_be_zero),
		TEST(errors_are_told_with_a_hint),
		TEST(a_read_only_disk_is_told_by_its_first_write),
		TEST(garbage_is_not_taken_for_data),
		TEST(a_long_stall_is_waited_out),
		TEST(it_can_be_opened_again_after_closing),
		TEST(the_server_of_xcp_ng_8_2_is_refused_with_advice),
		TEST(zeroes_that_the_server_refuses_become_data),
		TEST(the_server_drops_whoever_offers_extended_headers),
	};

	if (!is_installed("python3")) {
		puts("python3 is not installed");
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
