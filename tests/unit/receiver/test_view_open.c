// SPDX-License-Identifier: GPL-2.0-or-later
/* Views as a whole: a real history, real nbdkits with our plugin; nbdcopy and cmp are the judges. */
#include "tests/unit/receiver/view_fixture.h"

#include <stdatomic.h>

#include "common/os_thread.h"

static void each_checkpoint_is_what_was_there(void **state)
{
	(void)state;
	for (uint64_t number = 1; number <= POINT_COUNT; number++) {
		struct view *view = open_view(text_of("#%llu", (unsigned long long)number));

		assert_int_equal(view_point(view)->number, number);
		expect_copy(view, number);
		close_view(view);
	}
}

static void a_view_stays_what_it_is_while_targets_change(void **state)
{
	struct view *view = open_view("#2"), *newest = open_view("latest");

	(void)state;
	assert_int_equal(view_point(newest)->number, POINT_COUNT);
	overwrite_some(100);
	expect_copy(view, 2);
	make_point(POINT_COUNT + 1);
	overwrite_some(100);
	expect_copy(view, 2);
	expect_copy(newest, POINT_COUNT);
	while (history_drop_oldest(history, &fault) == 0)
		;
	expect_copy(view, 2);
	close_view(view);
	close_view(newest);
}

static atomic_bool has_to_stop;

static void overwrite_until_stopped(void *argument)
{
	(void)argument;
	while (!has_to_stop)
		overwrite_some(1);
}

/* Each block, read while it is being overwritten. */
static void reading_does_not_race_with_overwriting(void **state)
{
	struct view *view = open_view("latest");
	struct os_thread writer;

	(void)state;
	has_to_stop = false;
	assert_int_equal(os_thread_start(&writer, "writer", overwrite_until_stopped, NULL), 0);
	for (int i = 0; i < 20; i++)
		expect_copy(view, POINT_COUNT);
	has_to_stop = true;
	os_thread_join(&writer);
	close_view(view);
}

static void what_is_written_is_kept_apart(void **state)
{
	struct view *first = open_view("#3"), *second = open_view("#3");

	(void)state;
	run(text_of("cp %s %s; cp %s %s", target_path(0), in_folder("before"), copy_path(3, 0),
		    in_folder("expected")));
	run(text_of("head -c 100000 /dev/urandom >%s", in_folder("patch")));
	run(text_of("qemu-io -f raw -c 'write -s %s 12345 100000' '%s' >/dev/null",
		    in_folder("patch"), view_disk_uri(first, 0)));
	run(text_of("dd if=%s of=%s bs=1 seek=12345 conv=notrunc status=none", in_folder("patch"),
		    in_folder("expected")));
	read_view(first, 0, in_folder("read"));
	run(text_of("cmp %s %s", in_folder("read"), in_folder("expected")));
	expect_copy(second, 3);
	run(text_of("cmp %s %s", target_path(0), in_folder("before")));
	close_view(first);
	expect_copy(second, 3);
	close_view(second);
}

static void a_killed_server_is_an_error_and_leaves_nothing(void **state)
{
	struct view *view = open_view("latest");

	(void)state;
	assert_true(view_is_alive(view));
	end_pid(pid_in(text_of("%s/views/%u/disk0.pid", folder, view_id(view))), SIGKILL);
	assert_false(view_is_alive(view));
	assert_true(view_is_open(view));
	assert_int_not_equal(
		try_run(text_of("nbdcopy '%s' null: 2>/dev/null", view_disk_uri(view, 0))), 0);
	read_view(view, 1, in_folder("read"));
	close_view(view);
}

static void views_are_listed_and_end_with_their_machine(void **state)
{
	struct view *first = open_view("#1"), *second = open_view("#2"), *at;
	struct view_options view_options = {.point = "latest"};
	unsigned int id = view_id(second);

	(void)state;
	at = view_next(machine, NULL);
	assert_ptr_equal(at, second);
	at = view_next(machine, at);
	assert_ptr_equal(at, first);
	assert_null(view_next(machine, at));
	close_view(first);
	view_release(second);
	at = view_find(machine, id);
	assert_ptr_equal(at, second);
	view_forbid(machine);
	assert_false(view_is_open(at));
	view_close(at);
	view_release(at);
	assert_null(view_find(machine, 0));
	assert_int_equal(view_open(machines, machine, &view_options, &at, &fault), -EBUSY);
	view_allow(machine);
	close_view(open_view("latest"));
}

static void a_checkpoint_that_is_not_there_is_said(void **state)
{
	struct view_options view_options = {.point = "#99"};
	struct view *view;

	(void)state;
	assert_int_equal(view_open(machines, machine, &view_options, &view, &fault), -ENOENT);
	assert_true(fault.text[0]);
}

/* When there is no room for undo records any more all checkpoints go, also one that is looked at. Then there must be
 * errors, not the target's newer bytes. */
static void a_view_of_a_dropped_checkpoint_is_an_error(void **state)
{
	struct view *view = open_view("latest");
	bool has_failed = false;

	(void)state;
	assert_int_equal(history_clear(history, &fault), 0);
	for (unsigned int i = 0; i < DISKS; i++)
		for (unsigned int block = 0; block + 16 < BLOCKS; block += 16)
			overwrite(i, block, 16);
	for (unsigned int i = 0; i < DISKS; i++)
		if (try_run(text_of("nbdcopy '%s' %s 2>/dev/null", view_disk_uri(view, i),
				    in_folder("read"))))
			has_failed = true;
		else
			run(text_of("cmp %s %s", in_folder("read"), copy_path(POINT_COUNT, i)));
	assert_true(has_failed);
	close_view(view);
}

static uint16_t free_port(void)
{
	FILE *output =
		popen("python3 -c 'import socket; s = socket.socket(); s.bind((\"127.0.0.1\", "
		      "0)); print(s.getsockname()[1])'",
		      "r");
	unsigned int port = 0;

	assert_int_equal(fscanf(output, "%u", &port), 1);
	pclose(output);
	return (uint16_t)port;
}

static void a_port_needs_the_views_key(void **state)
{
	struct view_options view_options = {.point = "latest"};
	struct view *view;
	int error = -1;

	(void)state;
	for (int tries = 0; error && tries < 10; tries++) {
		view_options.port = free_port();
		error = view_open(machines, machine, &view_options, &view, &fault);
	}
	assert_int_equal(error, 0);
	expect_copy(view, POINT_COUNT);
	assert_int_not_equal(
		try_run(text_of("nbdinfo nbd://127.0.0.1:%u >/dev/null 2>&1", view_options.port)),
		0);
	assert_int_not_equal(
		try_run(text_of("nbdinfo nbds://127.0.0.1:%u >/dev/null 2>&1", view_options.port)),
		0);
	run(text_of("echo blkferry:$(head -c 32 /dev/zero | xxd -p -c 64) >%s", in_folder("psk")));
	assert_int_not_equal(
		try_run(text_of("nbdinfo 'nbds://blkferry@127.0.0.1:%u/?tls-psk-file=%s' "
				">/dev/null 2>&1",
				view_options.port, in_folder("psk"))),
		0);
	close_view(view);
}

/* Its nbdkit allows several clients: the plugin is one. */
static int set_up_nbdkit(void **state)
{
	(void)state;
	make_folder();
	make_file("target1", disk_bytes(1));
	start_nbdkit(text_of("file %s", target_path(1)));
	begin_with("", text_of("nbd+unix:///?socket=%s/sock", folder));
	return 0;
}

/* It lets in one client, and that is the receiver. */
static int set_up_qemu_nbd(void **state)
{
	(void)state;
	make_folder();
	make_file("target1", disk_bytes(1));
	start_qemu_nbd(target_path(1));
	begin_with("", text_of("nbd+unix:///?socket=%s/sock", folder));
	return 0;
}

static bool has_target_of_its_own(const struct view *view, unsigned int disk)
{
	return try_run(text_of(
		       "tr '\\0' '\\n' </proc/$(cat %s/views/%u/disk%u.pid)/cmdline | grep -q "
		       "^target=",
		       folder, view_id(view), disk)) == 0;
}

static void an_nbd_target_is_read_beside_the_receiver(void **state)
{
	struct view *view = open_view("#2");

	(void)state;
	assert_true(has_target_of_its_own(view, 1));
	overwrite_some(50);
	expect_copy(view, 2);
	close_view(view);
}

static void a_target_for_one_client_is_read_by_the_receiver(void **state)
{
	struct view *view = open_view("#2");

	(void)state;
	assert_true(has_target_of_its_own(view, 0));
	assert_false(has_target_of_its_own(view, 1));
	overwrite_some(50);
	expect_copy(view, 2);
	close_view(view);
}

#define VIEW_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		VIEW_TEST(each_checkpoint_is_what_was_there),
		VIEW_TEST(a_view_stays_what_it_is_while_targets_change),
		VIEW_TEST(reading_does_not_race_with_overwriting),
		VIEW_TEST(what_is_written_is_kept_apart),
		VIEW_TEST(a_killed_server_is_an_error_and_leaves_nothing),
		VIEW_TEST(views_are_listed_and_end_with_their_machine),
		VIEW_TEST(a_checkpoint_that_is_not_there_is_said),
		VIEW_TEST(a_view_of_a_dropped_checkpoint_is_an_error),
		VIEW_TEST(a_port_needs_the_views_key),
		cmocka_unit_test_setup_teardown(an_nbd_target_is_read_beside_the_receiver,
						set_up_nbdkit, tear_down),
		cmocka_unit_test_setup_teardown(a_target_for_one_client_is_read_by_the_receiver,
						set_up_qemu_nbd, tear_down),
	};

	if (!has_tools())
		return SKIP;
	bring_plugin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
