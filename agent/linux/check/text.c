// SPDX-License-Identifier: GPL-2.0-or-later
/* Parts, lines and words of a text, and replacing them; see text.h. */
#include "agent/linux/check/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool span_is(struct span span, const char *text)
{
	return strlen(text) == span.length && memcmp(span.at, text, span.length) == 0;
}

bool span_starts(struct span span, const char *text)
{
	size_t length = strlen(text);

	return length <= span.length && memcmp(span.at, text, length) == 0;
}

bool span_copy(struct span span, char *ret_text, size_t size)
{
	size_t length = span.length < size ? span.length : size - 1;

	memcpy(ret_text, span.at, length);
	ret_text[length] = '\0';
	return length == span.length;
}

struct span span_trim(struct span span)
{
	while (span.length > 0 && isspace((unsigned char)span.at[0])) {
		span.at++;
		span.length--;
	}
	while (span.length > 0 && isspace((unsigned char)span.at[span.length - 1]))
		span.length--;
	return span;
}

bool text_line(const char **at, struct span *ret_line)
{
	if (**at == '\0')
		return false;
	ret_line->at = *at;
	ret_line->length = strcspn(*at, "\n");
	*at += ret_line->length;
	if (**at == '\n')
		(*at)++;
	return true;
}

bool text_word(struct span *rest, struct span *ret_word)
{
	const char *at = rest->at, *end = rest->at + rest->length;
	char quote = '\0';

	while (at < end && isspace((unsigned char)*at))
		at++;
	ret_word->at = at;
	for (; at < end && (quote || !isspace((unsigned char)*at)); at++) {
		if (*at == '\\' && at + 1 < end)
			at++;
		else if (*at == quote)
			quote = '\0';
		else if (!quote && *at == '"')
			quote = *at;
	}
	ret_word->length = (size_t)(at - ret_word->at);
	rest->at = at;
	rest->length = (size_t)(end - at);
	return ret_word->length > 0;
}

bool table_next(struct table_cursor *cursor, struct table_line *ret_line)
{
	struct span line;

	while (text_line(&cursor->at, &line)) {
		struct table_line found = {.number = ++cursor->number};
		const char *at = line.at, *end = line.at + line.length;

		while (found.fields < TABLE_FIELDS_MAX) {
			struct span *field = &found.field[found.fields];

			while (at < end && isspace((unsigned char)*at))
				at++;
			field->at = at;
			while (at < end && !isspace((unsigned char)*at))
				at++;
			field->length = (size_t)(at - field->at);
			if (field->length == 0)
				break;
			found.fields++;
		}
		if (found.fields > 0 && found.field[0].at[0] != '#') {
			*ret_line = found;
			return true;
		}
	}
	return false;
}

bool table_has_option(struct span list, const char *option)
{
	const char *at = list.at, *end = list.at + list.length;
	size_t length = strlen(option);

	while (at < end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		size_t part = (size_t)((comma ? comma : end) - at);

		if (part >= length && !memcmp(at, option, length) &&
		    (part == length || at[length] == '=' || option[length - 1] == '='))
			return true;
		at += part + 1;
	}
	return false;
}

static bool is_octal(const char *at)
{
	return at[0] >= '0' && at[0] <= '3' && at[1] >= '0' && at[1] <= '7' && at[2] >= '0' &&
	       at[2] <= '7';
}

void table_decode(struct span field, char *ret_text, size_t size)
{
	size_t length = 0;

	for (size_t i = 0; i < field.length && length + 1 < size; i++) {
		char c = field.at[i];

		if (c == '\\' && field.length - i > 3 && is_octal(field.at + i + 1)) {
			const char *digits = field.at + i + 1;

			c = (char)((digits[0] - '0') * 64 + (digits[1] - '0') * 8 + digits[2] -
				   '0');
			i += 3;
		} else if (c == '"') {
			continue;
		}
		ret_text[length++] = c;
	}
	ret_text[length] = '\0';
}

void edits_init(struct edits *edits, const char *text)
{
	*edits = (struct edits){.text = text};
}

void edits_add(struct edits *edits, struct span part, const char *by)
{
	struct edit *grown;

	if (edits->count == EDITS_MAX) {
		edits->has_failed = true;
		return;
	}
	grown = realloc(edits->list, (edits->count + 1) * sizeof(*grown));
	if (grown) {
		edits->list = grown;
		grown[edits->count].offset = (size_t)(part.at - edits->text);
		grown[edits->count].length = part.length;
		grown[edits->count].number = edits->count;
		grown[edits->count].by = strdup(by);
	}
	if (!grown || !grown[edits->count].by)
		edits->has_failed = true;
	else
		edits->count++;
}

static int compare_edits(const void *a, const void *b)
{
	const struct edit *left = a, *right = b;

	if (left->offset != right->offset)
		return left->offset < right->offset ? -1 : 1;
	return left->number < right->number ? -1 : left->number > right->number; /* as they came */
}

char *edits_apply(struct edits *edits)
{
	size_t size, from = 0, whole = strlen(edits->text);
	char *text = NULL;
	FILE *out = edits->has_failed ? NULL : open_memstream(&text, &size);

	if (!out) {
		edits_fini(edits);
		return NULL;
	}
	if (edits->count > 0)
		qsort(edits->list, edits->count, sizeof(*edits->list), compare_edits);
	for (unsigned int i = 0; i < edits->count; i++) {
		const struct edit *edit = &edits->list[i];

		fwrite(edits->text + from, 1, edit->offset - from, out);
		fputs(edit->by, out);
		from = edit->offset + edit->length;
	}
	fwrite(edits->text + from, 1, whole - from, out);
	edits_fini(edits);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

void edits_fini(struct edits *edits)
{
	for (unsigned int i = 0; i < edits->count; i++)
		free(edits->list[i].by);
	free(edits->list);
	*edits = (struct edits){.text = edits->text};
}
