// SPDX-License-Identifier: GPL-2.0-or-later
/* Faults: what is set, what is put in front, and what a NULL fault does. */
#include "common/fault.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void set_fills_all_and_returns_the_negative_error(void **state)
{
	struct fault fault = {0};

	(void)state;
	assert_int_equal(fault_set(&fault, FAULT_STOP, ENOENT, "no %s", "disk"), -ENOENT);
	assert_int_equal(fault.class, FAULT_STOP);
	assert_int_equal(fault.error, ENOENT);
	assert_string_equal(fault.text, "no disk");
}

static void text_may_quote_the_old_text(void **state)
{
	struct fault fault = {0};

	(void)state;
	fault_set(&fault, FAULT_RETRY, EIO, "inner");
	fault_set(&fault, FAULT_RETRY, EIO, "outer: %s", fault.text);
	assert_string_equal(fault.text, "outer: inner");
}

static void prefix_keeps_class_and_error(void **state)
{
	struct fault fault = {0};

	(void)state;
	fault_set(&fault, FAULT_RESYNC, EIO, "it broke");
	assert_int_equal(fault_prefix(&fault, "disk %d", 3), -EIO);
	assert_int_equal(fault.class, FAULT_RESYNC);
	assert_string_equal(fault.text, "disk 3: it broke");
}

static void texts_too_long_are_cut_not_overrun(void **state)
{
	char text[2 * FAULT_TEXT_MAX];
	struct fault fault = {0};

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	fault_set(&fault, FAULT_STOP, EIO, "%s", text);
	assert_int_equal(strlen(fault.text), FAULT_TEXT_MAX - 1);
	fault_prefix(&fault, "%s", text);
	assert_int_equal(strlen(fault.text), FAULT_TEXT_MAX - 1);
}

static void without_a_fault_failure_stays_failure(void **state)
{
	(void)state;
	assert_int_equal(fault_set(NULL, FAULT_STOP, EIO, "x"), -EIO);
	assert_true(fault_prefix(NULL, "x") < 0);
}

static void classes_have_names(void **state)
{
	(void)state;
	assert_string_equal(fault_class_name(FAULT_RETRY), "retry");
	assert_string_equal(fault_class_name(FAULT_RESYNC), "resync");
	assert_string_equal(fault_class_name(FAULT_STOP), "stop");
	assert_string_equal(fault_class_name((enum fault_class)0), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_fills_all_and_returns_the_negative_error),
		cmocka_unit_test(text_may_quote_the_old_text),
		cmocka_unit_test(prefix_keeps_class_and_error),
		cmocka_unit_test(texts_too_long_are_cut_not_overrun),
		cmocka_unit_test(without_a_fault_failure_stays_failure),
		cmocka_unit_test(classes_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
