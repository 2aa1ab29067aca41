/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Auto targets: the nbdkit that is started, found again, restarted and ended. */
#include "target_fixture.h"

#define NAME "web1-disk0"

static unsigned char model[DISK_BYTES], seen[DISK_BYTES];

static char *our_file(const char *suffix)
{
	return text_of("%s/" NAME "%s", folder, suffix);
}

static pid_t nbdkit_pid(void)
{
	return pid_in(our_file(".pid"));
}

static int end_auto(void **state)
{
	close_target();
	target_forget("auto", folder, NAME, true, NULL);
	return end(state);
}

static void it_serves_a_new_sparse_file(void **state)
{
	struct stat st;

	open_target("auto");
	assert_true(target_info(target)->is_known_zero);
	assert_true(target_info(target)->can_flush);
	assert_true(target_info(target)->channels_max > 1);
	assert_string_equal(target_info(target)->path, our_file(".raw"));
	assert_int_equal(stat(our_file(".raw"), &st), 0);
	assert_int_equal(st.st_size, DISK_BYTES);
	assert_int_equal(st.st_blocks, 0);
}

static void auto_round_trip(void **state)
{
	char uri[256];

	open_target("auto");
	scribble(model, 4, 1);
	snprintf(uri, sizeof(uri), "%s", target_info(target)->text);
	close_target();
	save("model", model, sizeof(model));
	run(text_of("cmp %s/model %s/" NAME ".raw", folder, folder));
	/* Other clients read by the URI that status shows. */
	run(text_of("nbdcopy '%s' %s/copy", uri, folder));
	run(text_of("cmp %s/model %s/copy", folder, folder));
}

static void a_running_server_is_used_again(void **state)
{
	pid_t pid;

	open_target("auto");
	pid = nbdkit_pid();
	close_target();
	assert_true(is_alive(pid));
	open_target("auto");
	assert_int_equal(nbdkit_pid(), pid);
	assert_int_equal(write_now(model, 0, 4096), 0);
}

static void a_dead_server_is_started_again(void **state)
{
	pid_t pid;

	open_target("auto");
	fill_random(model, 4096, 2);
	assert_int_equal(write_now(model, 0, 4096), 0);
	pid = nbdkit_pid();
	end_pid(pid, SIGKILL);
	assert_true(target_channel_drain(channel, DEADLINE_NS) < 0 ||
		    target_channel_flush(channel, DEADLINE_NS) < 0);
	close_target();
	open_target("auto");
	assert_int_not_equal(nbdkit_pid(), pid);
	assert_int_equal(read_now(seen, 0, 4096), 0);
	assert_memory_equal(seen, model, 4096);
	assert_false(target_info(target)->is_known_zero);
}

static void a_server_that_may_have_old_writes_is_not_used_again(void **state)
{
	struct result results[2] = {0};
	pid_t pid;

	/* The last user left without waiting ... */
	open_target("auto");
	pid = nbdkit_pid();
	assert_int_equal(kill(pid, SIGSTOP), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			target_channel_write(channel, model, 0, 65536, note_done, &results[i]), 0);
	close_target();
	assert_int_not_equal(access(our_file(".clean"), F_OK), 0);
	open_target("auto");
	assert_false(is_alive(pid));
	/* ... or was killed. */
	pid = nbdkit_pid();
	close_target();
	assert_int_equal(access(our_file(".clean"), F_OK), 0);
	assert_int_equal(unlink(our_file(".clean")), 0);
	open_target("auto");
	assert_false(is_alive(pid));
	assert_int_equal(write_now(model, 0, 4096), 0);
}

static void the_pid_of_another_program_is_left_alone(void **state)
{
	pid_t pid;

	open_target("auto");
	pid = nbdkit_pid();
	close_target();
	end_pid(pid, SIGKILL);
	run(text_of("sleep 100 >/dev/null 2>&1 & echo $! >%s", our_file(".pid")));
	pid = nbdkit_pid();
	open_target("auto");
	assert_true(is_alive(pid));
	end_pid(pid, SIGKILL);
}

static void a_server_without_its_pid_file_is_not_doubled(void **state)
{
	pid_t pid;

	open_target("auto");
	pid = nbdkit_pid();
	close_target();
	run(text_of("mv %s %s/kept", our_file(".pid"), folder));
	assert_int_equal(try_open("auto", DISK_BYTES), -EBUSY);
	assert_int_equal(fault.class, FAULT_STOP);
	assert_true(is_alive(pid));
	run(text_of("mv %s/kept %s", folder, our_file(".pid")));
}

static void the_file_grows_with_the_disk(void **state)
{
	open_target("auto");
	fill_random(model, 4096, 3);
	assert_int_equal(write_now(model, 0, 4096), 0);
	close_target();
	assert_int_equal(try_open("auto", 2 * DISK_BYTES), 0);
	assert_int_equal(target_channel_open(target, &channel, &fault), 0);
	assert_int_equal(target_info(target)->size_bytes, 2 * DISK_BYTES);
	assert_int_equal(write_now(model, 2 * DISK_BYTES - 4096, 4096), 0);
	assert_int_equal(read_now(seen, 0, 4096), 0);
	assert_memory_equal(seen, model, 4096);
}

static void a_file_that_is_made_again_is_another_file(void **state)
{
	char identity[sizeof(target_info(target)->file_identity)];

	open_target("auto");
	snprintf(identity, sizeof(identity), "%s", target_info(target)->file_identity);
	assert_true(identity[0] != '\0');
	close_target();
	open_target("auto");
	assert_string_equal(target_info(target)->file_identity, identity);
	close_target();
	run(text_of("cp -p %s %s/copy && mv %s/copy %s", our_file(".raw"), folder, folder,
		    our_file(".raw")));
	open_target("auto");
	assert_string_not_equal(target_info(target)->file_identity, identity);
}

static void one_name_is_opened_once(void **state)
{
	struct target *first;

	assert_int_equal(try_open("auto", DISK_BYTES), 0);
	first = target;
	target = NULL;
	assert_int_equal(try_open("auto", DISK_BYTES), -EBUSY);
	assert_int_equal(target_forget("auto", folder, NAME, true, &fault), -EBUSY);
	target_close(first);
	assert_int_equal(try_open("auto", DISK_BYTES), 0);
}

static void forgetting_ends_the_server_and_keeps_the_data(void **state)
{
	pid_t pid;

	open_target("auto");
	pid = nbdkit_pid();
	close_target();
	assert_int_equal(target_forget("auto", folder, NAME, false, &fault), 0);
	assert_false(is_alive(pid));
	assert_int_equal(access(our_file(".raw"), F_OK), 0);
	assert_int_not_equal(access(our_file(".sock"), F_OK), 0);
	assert_int_not_equal(access(our_file(".pid"), F_OK), 0);
}

static void forgetting_with_the_data_leaves_nothing(void **state)
{
	open_target("auto");
	close_target();
	assert_int_equal(target_forget("auto", folder, NAME, true, &fault), 0);
	run(text_of("[ -z \"$(ls -A %s)\" ]", folder));
	/* Again, and where nothing ever was: nothing to do. */
	assert_int_equal(target_forget("auto", folder, NAME, true, &fault), 0);
	assert_int_equal(target_forget("auto", "/nonexistent", NAME, true, &fault), 0);
	assert_int_equal(target_forget("nbd://somewhere", folder, NAME, true, &fault), 0);
}

static void names_and_folders_that_cannot_be_are_refused(void **state)
{
	static const char *const bad[] = {"", ".", "../web1", "a/b", "-rf", "a b", "a\nb"};
	char long_folder[160];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(target_open("auto", folder, bad[i], DISK_BYTES, &target, &fault),
				 -EINVAL);
		assert_int_equal(target_forget("auto", folder, bad[i], true, &fault), -EINVAL);
	}
	assert_int_equal(target_open("auto", "relative", NAME, DISK_BYTES, &target, &fault),
			 -EINVAL);
	memset(long_folder, 'x', sizeof(long_folder));
	memcpy(long_folder, "/tmp/", 5);
	long_folder[sizeof(long_folder) - 1] = '\0';
	assert_int_equal(target_open("auto", long_folder, NAME, DISK_BYTES, &target, &fault),
			 -ENAMETOOLONG);
	assert_non_null(strstr(fault.text, "shorter"));
	assert_null(target);
}

static void a_folder_with_odd_characters_works(void **state)
{
	char *odd = text_of("%s/a b%%&?#é", folder);

	assert_int_equal(target_open("auto", odd, NAME, DISK_BYTES, &target, &fault), 0);
	assert_int_equal(target_channel_open(target, &channel, &fault), 0);
	assert_int_equal(write_now(model, 0, 4096), 0);
	close_target();
	assert_int_equal(target_forget("auto", odd, NAME, true, &fault), 0);
}

static void a_server_that_does_not_start_says_why(void **state)
{
	const char *path = getenv("PATH");
	char *old_path = strdup(path ? path : "/usr/bin:/bin");

	/* An nbdkit that fails, and none at all. */
	run(text_of("mkdir %s/bin && printf '#!/bin/sh\\necho it has no plugins >&2\\nexit 1\\n' "
		    ">%s/bin/nbdkit && chmod +x %s/bin/nbdkit",
		    folder, folder, folder));
	setenv("PATH", text_of("%s/bin:/bin", folder), 1);
	assert_int_equal(try_open("auto", DISK_BYTES), -EIO);
	assert_non_null(strstr(fault.text, "no plugins"));
	setenv("PATH", text_of("%s/none", folder), 1);
	assert_int_equal(try_open("auto", DISK_BYTES), -ENOENT);
	assert_non_null(strstr(fault.text, "install"));
	setenv("PATH", old_path, 1);
	free(old_path);
}

int main(void)
{
#define AUTO_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end_auto)
	const struct CMUnitTest tests[] = {
		AUTO_TEST(it_serves_a_new_sparse_file),
		AUTO_TEST(auto_round_trip),
		AUTO_TEST(a_running_server_is_used_again),
		AUTO_TEST(a_dead_server_is_started_again),
		AUTO_TEST(a_server_that_may_have_old_writes_is_not_used_again),
		AUTO_TEST(the_pid_of_another_program_is_left_alone),
		AUTO_TEST(a_server_without_its_pid_file_is_not_doubled),
		AUTO_TEST(the_file_grows_with_the_disk),
		AUTO_TEST(a_file_that_is_made_again_is_another_file),
		AUTO_TEST(one_name_is_opened_once),
		AUTO_TEST(forgetting_ends_the_server_and_keeps_the_data),
		AUTO_TEST(forgetting_with_the_data_leaves_nothing),
		AUTO_TEST(names_and_folders_that_cannot_be_are_refused),
		AUTO_TEST(a_folder_with_odd_characters_works),
		AUTO_TEST(a_server_that_does_not_start_says_why),
	};

	if (!is_installed("nbdkit") || !is_installed("nbdcopy")) {
		puts("nbdkit or nbdcopy is not installed");
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
