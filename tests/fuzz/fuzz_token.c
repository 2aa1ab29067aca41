// SPDX-License-Identifier: GPL-2.0-or-later
/* Any text as a token; and any token as text and back. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct token token = {.id = {0}}, back;
	char written[TOKEN_TEXT_MAX], *text = malloc(size + 1);
	struct fault fault;

	if (size > 0)
		memcpy(text, bytes, size);
	text[size] = '\0';
	if (token_parse(text, &token, &fault) == 0) {
		token_format(&token, written);
		if (!strstr(text, written))
			abort();
	}
	if (size > 0)
		memcpy(&token, bytes, size < sizeof(token) ? size : sizeof(token));
	token_format(&token, written);
	if (token_parse(written, &back, &fault) != 0 || memcmp(&token, &back, sizeof(token)) != 0)
		abort();
	free(text);
	return 0;
}
