// SPDX-License-Identifier: GPL-2.0-or-later
/* Files of keys with values: shell assignments and sections of keys; see text.h. */
#include <ctype.h>
#include <string.h>

#include "agent/linux/check/text.h"

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* What stands between the quotes that at begins with, or up to a blank or a comment. */
static struct span read_value(const char *at, const char *end)
{
	struct span value = {.at = at};
	char quote = at < end && (*at == '"' || *at == '\'') ? *at : '\0';

	if (quote)
		value.at = ++at;
	while (at < end && (quote ? *at != quote : !isspace((unsigned char)*at))) {
		if (*at == '\\' && quote != '\'' && at + 1 < end)
			at++;
		at++;
	}
	value.length = (size_t)(at - value.at);
	return value;
}

bool shell_next(const char **at, struct shell_line *ret_line)
{
	struct span line;

	while (text_line(at, &line)) {
		const char *from = line.at, *end = line.at + line.length, *name;

		while (from < end && (*from == ' ' || *from == '\t'))
			from++;
		if (end - from > 7 && !memcmp(from, "export ", 7))
			from += 7;
		for (name = from; from < end && is_name(*from); from++)
			;
		if (from == name || from == end || *from != '=')
			continue;
		ret_line->line = line;
		ret_line->name = (struct span){.at = name, .length = (size_t)(from - name)};
		ret_line->value = read_value(from + 1, end);
		return true;
	}
	return false;
}

bool shell_get(const char *text, const char *name, char *ret_value, size_t size)
{
	struct shell_line line;
	bool is_found = false;

	while (shell_next(&text, &line)) {
		if (!span_is(line.name, name))
			continue;
		span_copy(line.value, ret_value, size);
		is_found = true;
	}
	return is_found;
}

bool ini_next(struct ini_cursor *cursor, struct ini_line *ret_line)
{
	struct span line;

	while (text_line(&cursor->at, &line)) {
		const char *equals;

		line = span_trim(line);
		if (line.length == 0 || line.at[0] == '#' || line.at[0] == ';')
			continue;
		if (line.at[0] == '[') {
			const char *close = memchr(line.at, ']', line.length);

			cursor->section.at = line.at + 1;
			cursor->section.length = close ? (size_t)(close - line.at) - 1 : 0;
			continue;
		}
		equals = memchr(line.at, '=', line.length);
		if (!equals)
			continue;
		ret_line->section = cursor->section;
		ret_line->key = span_trim(
			(struct span){.at = line.at, .length = (size_t)(equals - line.at)});
		ret_line->value = span_trim((struct span){
			.at = equals + 1, .length = line.length - (size_t)(equals - line.at) - 1});
		return true;
	}
	return false;
}
