// SPDX-License-Identifier: GPL-2.0-or-later
/* Enrolment tokens as text, and what is said of texts that are none. */
#include "common/token.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/os_file.h"

static struct token make(void)
{
	struct token token;

	os_random(&token, sizeof(token));
	return token;
}

static void a_token_comes_back_from_its_text(void **state)
{
	char text[TOKEN_TEXT_MAX], padded[TOKEN_TEXT_MAX + 8];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct token token = make(), back = {.id = {0}};

		token_format(&token, text);
		assert_int_equal(strlen(text), 84);
		assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					      "0123456789-_"),
				 84);
		snprintf(padded, sizeof(padded), " %s\r\n", text);
		assert_int_equal(token_parse(padded, &back, NULL), 0);
		assert_memory_equal(&token, &back, sizeof(token));
	}
}

/* The layout is a contract between releases: id, secret, fingerprint, CRC-32 little-endian. */
static void the_text_form_is_fixed(void **state)
{
	struct token token = {.id = {0}};
	char text[TOKEN_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(token); i++)
		((uint8_t *)&token)[i] = (uint8_t)i;
	token_format(&token, text);
	assert_string_equal(text, "bf1-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKiss"
				  "LS4vMDEyMzQ1NjeVE_zr");
}

static void assert_said(const char *text, const char *words)
{
	struct fault fault = {0};
	struct token token = {.id = {7}};

	assert_int_equal(token_parse(text, &token, &fault), -EINVAL);
	assert_int_equal(fault.class, FAULT_STOP);
	assert_non_null(strstr(fault.text, words));
	assert_int_equal(token.id[0], 7);
}

static void what_is_wrong_with_a_token_is_said(void **state)
{
	char text[TOKEN_TEXT_MAX + 4];
	struct token token = make();

	(void)state;
	assert_said("", "no enrolment token");
	assert_said("hunter2", "no enrolment token");
	assert_said("bf2-AAAA", "no enrolment token");
	assert_said("bf1-", "cut short");
	token_format(&token, text);
	text[83] = '\0';
	assert_said(text, "cut short");
	token_format(&token, text);
	strcat(text, "x");
	assert_said(text, "copy just the token");
	token_format(&token, text);
	text[40] = '=';
	assert_said(text, "mistyped");
}

static void every_changed_character_is_noticed(void **state)
{
	char text[TOKEN_TEXT_MAX];
	struct token token = make();

	(void)state;
	token_format(&token, text);
	for (size_t at = 4; at < 84; at++) {
		char before = text[at];

		for (const char *other = "aZ0-_+/ \x80"; *other; other++) {
			if (*other == before)
				continue;
			text[at] = *other;
			if (at < 83 || *other != ' ') /* a blank at the end is one less */
				assert_said(text, "mistyped");
		}
		text[at] = before;
	}
}

static void the_message_does_not_quote_the_token(void **state)
{
	char text[TOKEN_TEXT_MAX];
	struct token token = make(), back;
	struct fault fault = {0};

	(void)state;
	token_format(&token, text);
	text[83] = '\0';
	token_parse(text, &back, &fault);
	assert_null(strstr(fault.text, "bf1-"));
	assert_null(strstr(fault.text, text + 20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_comes_back_from_its_text),
		cmocka_unit_test(the_text_form_is_fixed),
		cmocka_unit_test(what_is_wrong_with_a_token_is_said),
		cmocka_unit_test(every_changed_character_is_noticed),
		cmocka_unit_test(the_message_does_not_quote_the_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
