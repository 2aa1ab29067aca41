// SPDX-License-Identifier: GPL-2.0-or-later
/* Configuration files: values, and what is said of every kind of mistake. */
#include "common/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/os_clock.h"
#include "common/os_file.h"
#include "common/units.h"

struct settings {
	char *text, *other;
	uint64_t bytes, rate, duration, number;
	bool is_on;
	int choice;
	char instances[200];
};

static const char *const colours[] = {"red", "green", "blue", NULL};

#define KEY(in, key, kind, field, ...)                                                             \
	{                                                                                          \
		.section = (in), .name = (key), .type = (kind),                                    \
		.offset = offsetof(struct settings, field), ##__VA_ARGS__                          \
	}

static const struct config_key keys[] = {
	KEY("", "early", CONFIG_STRING, other),
	KEY("agent", "text", CONFIG_STRING, text),
	KEY("agent", "size", CONFIG_BYTES, bytes, .least = KIB, .most = GIB),
	KEY("agent", "limit", CONFIG_RATE, rate),
	KEY("agent", "interval", CONFIG_DURATION, duration),
	KEY("agent", "connections", CONFIG_NUMBER, number, .least = 1, .most = 16),
	KEY("agent", "switch", CONFIG_SWITCH, is_on),
	KEY("agent", "colour", CONFIG_CHOICE, choice, .choices = colours),
	KEY("disk *", "target", CONFIG_STRING, text),
	{.name = NULL},
};

static int note_instance(void *target, const char *instance, const struct config_key *key,
			 const char *value, struct fault *fault)
{
	struct settings *settings = target;
	size_t used = strlen(settings->instances);

	if (strcmp(value, "refuse") == 0)
		return fault_set(fault, FAULT_STOP, EINVAL, "no such target");
	snprintf(settings->instances + used, sizeof(settings->instances) - used, "%s.%s=%s;",
		 instance, key->name, value);
	return 0;
}

static int read_into(struct settings *settings, const char *text, struct fault *fault)
{
	memset(settings, 0, sizeof(*settings));
	return config_read_text("a.ini", text, strlen(text), keys, settings, note_instance, fault);
}

static void every_kind_of_value_is_read(void **state)
{
	struct settings settings;
	struct fault fault = {0};

	(void)state;
	if (read_into(&settings,
		      "\xef\xbb\xbf"
		      "early = x\n"
		      "; a comment\n"
		      "  # another one, indented\n"
		      "[agent]   ; with a comment\n"
		      "text = some words = and more: here\n"
		      "  size: 64 KiB ; at night\r\n"
		      "\n"
		      "limit = 50MiB/s\n"
		      "interval=500ms\n"
		      "connections = 4\n"
		      "switch = Yes\n"
		      "colour = blue\n"
		      "[disk 0x5000c500a1b2c3d4]\n"
		      "target = nbd://host/a\n"
		      "[disk vda]\n"
		      "target = auto",
		      &fault) != 0)
		fail_msg("%s", fault.text);
	assert_string_equal(settings.other, "x");
	assert_string_equal(settings.text, "some words = and more: here");
	assert_int_equal(settings.bytes, 64 * KIB);
	assert_int_equal(settings.rate, 50 * MIB);
	assert_int_equal(settings.duration, NS_PER_S / 2);
	assert_int_equal(settings.number, 4);
	assert_true(settings.is_on);
	assert_int_equal(settings.choice, 3);
	assert_string_equal(settings.instances,
			    "0x5000c500a1b2c3d4.target=nbd://host/a;vda.target=auto;");
	config_fini(keys, &settings);
	assert_null(settings.text);
	config_fini(keys, &settings);
}

static void nothing_given_changes_nothing(void **state)
{
	struct settings settings = {.number = 7, .is_on = true, .text = strdup("kept")};

	(void)state;
	assert_int_equal(config_read_text("a.ini", "", 0, keys, &settings, NULL, NULL), 0);
	assert_int_equal(settings.number, 7);
	assert_true(settings.is_on);
	assert_string_equal(settings.text, "kept");
	assert_int_equal(
		config_read_text("a.ini", "[agent]\ntext=new", 16, keys, &settings, NULL, NULL), 0);
	assert_string_equal(settings.text, "new");
	config_fini(keys, &settings);
}

static void assert_said(const char *text, const char *words)
{
	struct settings settings;
	struct fault fault = {0};

	assert_true(read_into(&settings, text, &fault) < 0);
	config_fini(keys, &settings);
	assert_int_equal(fault.class, FAULT_STOP);
	if (!strstr(fault.text, words))
		fail_msg("'%s' is not in '%s'", words, fault.text);
}

static void unknown_names_are_errors_that_help(void **state)
{
	(void)state;
	assert_said("[agent]\n\nlmit = 1\n", "a.ini:3: unknown key 'lmit'; did you mean 'limit'?");
	assert_said("[agent]\nconections = 1\n", "did you mean 'connections'?");
	assert_said("[agent]\nwhatever = 1\n", "a.ini:2: unknown key 'whatever'");
	assert_said("limit = 1\n", "a.ini:1: the key 'limit' belongs in section [agent]");
	assert_said("[agent]\nearly = 1\n", "belongs before the first section");
	assert_said("[agnet]\nsomething = 1\n", "unknown section [agnet]; did you mean [agent]?");
	assert_said("[zzz]\nsomething = 1\n", "unknown section [zzz]");
	assert_said("[agent]\n = 1\n", "unknown key ''");
	assert_said("[disk ]\ntarget = x\n", "belongs in section [disk *]");
}

static void values_that_do_not_parse_are_errors_that_help(void **state)
{
	(void)state;
	assert_said("[agent]\nsize = big\n", "'big' is no value for 'size': it has to be a size");
	assert_said("[agent]\nlimit = 5 apples\n", "a rate like 50MiB/s, or none");
	assert_said("[agent]\ninterval = soon\n", "a duration like 500ms");
	assert_said("[agent]\nconnections = many\n", "a whole number");
	assert_said("[agent]\nconnections = 4x\n", "a whole number");
	assert_said("[agent]\nconnections = -1\n", "a whole number");
	assert_said("[agent]\nswitch = perhaps\n", "yes or no");
	assert_said("[agent]\ncolour = pink\n", "one of red, green, blue");
	assert_said("[agent]\ncolour =\n", "'colour' has no value; leave the line out");
	assert_said("[agent]\nlimit = 99999999999999999999\n", "too large for 'limit'");
}

static void ranges_are_kept(void **state)
{
	(void)state;
	assert_said("[agent]\nconnections = 0\n", "'connections' has to be between 1 and 16");
	assert_said("[agent]\nconnections = 17\n", "'connections' has to be between 1 and 16");
	assert_said("[agent]\nsize = 2GiB\n", "'size' has to be between 1.0 KiB and 1.0 GiB");
}

static void a_key_given_twice_is_an_error(void **state)
{
	struct settings settings;

	(void)state;
	assert_said("[agent]\nlimit = 1\n\nlimit = 2\n",
		    "a.ini:4: 'limit' is given twice, first in line 2");
	assert_said("[agent]\nlimit = 1\n[disk a]\n[agent]\nlimit = 2\n", "given twice");
	assert_said("[disk a]\ntarget = x\n[disk a]\ntarget = y\n", "given twice");
	assert_int_equal(read_into(&settings, "[disk a]\ntarget = x\n[disk b]\ntarget = y\n", NULL),
			 0);
}

/* inih cuts these without a word. */
static void nothing_is_cut_silently(void **state)
{
	char text[1000];

	(void)state;
	snprintf(text, sizeof(text), "[agent]\ntext = %0500d\n", 1);
	assert_said(text, "a.ini:2: this line has 507 characters");
	snprintf(text, sizeof(text), "[disk %0100d]\ntarget = x\n", 1);
	assert_said(text, "a section's name has at most");
	assert_said("[agent]\ntext = stop this ; stop that\n", "begins a comment");
}

static void long_comments_are_no_problem(void **state)
{
	struct settings settings;
	char text[1000];

	(void)state;
	snprintf(text, sizeof(text), "# %0500d\n[agent]\nlimit = 5\n", 1);
	assert_int_equal(read_into(&settings, text, NULL), 0);
	assert_int_equal(settings.rate, 5);
}

/* The longest line that a buffer of inih's default size holds. */
static void a_line_of_197_characters_is_read_whole(void **state)
{
	struct settings settings;
	char text[400];

	(void)state;
	snprintf(text, sizeof(text), "[agent]\ntext = %0190d\n", 1);
	assert_int_equal(read_into(&settings, text, NULL), 0);
	assert_int_equal(strlen(settings.text), 190);
	config_fini(keys, &settings);
}

static void lines_that_are_nothing_are_errors(void **state)
{
	(void)state;
	assert_said("[agent]\nlimit\n", "a.ini:2: this line is neither");
	assert_said("[agent\nlimit = 1\n", "a.ini:1: a section is [NAME]");
	assert_said("[agent] limit = 1\n", "a.ini:1: a section is [NAME]");
	assert_said("[agent]\nlimit = 1\x01\n", "control character");
}

/* Python's configparser would take the second line as more of the first one's value. */
static void indented_keys_are_keys(void **state)
{
	struct settings settings;

	(void)state;
	assert_int_equal(read_into(&settings, "[agent]\n  limit = 5\n  connections = 2\n", NULL),
			 0);
	assert_int_equal(settings.rate, 5);
	assert_int_equal(settings.number, 2);
}

static void the_first_fault_is_the_one_that_is_told(void **state)
{
	(void)state;
	assert_said("[agent]\nlimit = x\nnonsense\nswitch = y\n", "a.ini:2:");
	assert_said("[agent]\nnonsense\nlimit = x\n", "a.ini:2:");
}

static void an_instance_handlers_fault_gets_file_and_line(void **state)
{
	struct settings settings;
	struct fault fault = {0};

	(void)state;
	assert_said("[disk vda]\ntarget = refuse\n", "a.ini:2: no such target");
	assert_true(config_read_text("a.ini", "[disk a]\ntarget=x", 17, keys, &settings, NULL,
				     &fault) < 0);
}

static void files_are_read_and_missing_ones_named(void **state)
{
	char path[] = "/tmp/blkferry-test-XXXXXX";
	struct settings settings = {0};
	struct fault fault = {0};
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(os_file_write_atomic(path, "[agent]\nlimit=9\n", 16, 0600), 0);
	assert_int_equal(config_read(path, keys, &settings, NULL, &fault), 0);
	assert_int_equal(settings.rate, 9);
	remove(path);
	assert_int_equal(config_read(path, keys, &settings, NULL, &fault), -ENOENT);
	assert_non_null(strstr(fault.text, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_value_is_read),
		cmocka_unit_test(nothing_given_changes_nothing),
		cmocka_unit_test(unknown_names_are_errors_that_help),
		cmocka_unit_test(values_that_do_not_parse_are_errors_that_help),
		cmocka_unit_test(ranges_are_kept),
		cmocka_unit_test(a_key_given_twice_is_an_error),
		cmocka_unit_test(nothing_is_cut_silently),
		cmocka_unit_test(long_comments_are_no_problem),
		cmocka_unit_test(a_line_of_197_characters_is_read_whole),
		cmocka_unit_test(lines_that_are_nothing_are_errors),
		cmocka_unit_test(indented_keys_are_keys),
		cmocka_unit_test(the_first_fault_is_the_one_that_is_told),
		cmocka_unit_test(an_instance_handlers_fault_gets_file_and_line),
		cmocka_unit_test(files_are_read_and_missing_ones_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
