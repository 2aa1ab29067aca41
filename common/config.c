// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads configuration with inih; see config.h.
 *
 * inih is lenient where a typo must not pass: it cuts long lines and names, takes indented lines as the
 * continuation of the value before, ignores what follows a section's "]" and goes on after errors. So
 * each line is looked at before inih gets it; and only the first fault counts.
 */
#include "common/config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ini.h>

#include "common/os_file.h"

#define FILE_BYTES_MAX	(64 * 1024)
#define LINES_SET_MAX	1000 /* keys that one file may set */
#define NAME_BYTES_MAX	47   /* inih keeps 50 bytes of a section's and a key's name */
#define TYPO_LENGTH_MAX 40

struct reader {
	const char *at, *end;
	unsigned int line;
	bool has_cut_comment; /* the line has a ';' after a blank, where inih ends the value */

	const struct config_key *keys;
	void *target;
	config_instance_fn *on_instance;

	struct {
		char *section, *name;
		unsigned int line;
	} * set; /* what was given so far */
	unsigned int set_count;

	unsigned int fault_line; /* of the first fault; 0: none yet */
	struct fault fault;
};

static void note_fault(struct reader *reader)
{
	if (reader->fault_line == 0)
		reader->fault_line = reader->line;
}

/* How many letters have to be changed, left out or put in to make one word of the other. */
static unsigned int typo_distance(const char *one, const char *two)
{
	unsigned int row[TYPO_LENGTH_MAX + 1];
	size_t length = strlen(two);

	if (strlen(one) > TYPO_LENGTH_MAX || length > TYPO_LENGTH_MAX)
		return TYPO_LENGTH_MAX;
	for (size_t i = 0; i <= length; i++)
		row[i] = (unsigned int)i;
	for (size_t i = 0; one[i]; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i + 1;
		for (size_t j = 0; j < length; j++) {
			unsigned int best = diagonal + (one[i] != two[j]);

			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j + 1] + 1 < best)
				best = row[j + 1] + 1;
			diagonal = row[j + 1];
			row[j + 1] = best;
		}
	}
	return row[length];
}

/* Is a word near enough to a known one to be a slip of the hand? */
static bool is_typo(const char *word, const char *known, unsigned int *best)
{
	unsigned int distance = typo_distance(word, known);

	if (distance > 1 + strlen(known) / 4 || distance >= *best)
		return false;
	*best = distance;
	return true;
}

/* Does [section] fall under a key's section? *ret_instance is what stands for the star, else NULL. */
static bool section_matches(const char *pattern, const char *section, const char **ret_instance)
{
	const char *star = strchr(pattern, '*');
	size_t prefix = star ? (size_t)(star - pattern) : 0;

	*ret_instance = NULL;
	if (!star)
		return strcmp(pattern, section) == 0;
	if (strncmp(pattern, section, prefix) != 0 || !section[prefix])
		return false;
	*ret_instance = section + prefix;
	return true;
}

static int unknown_section(const struct reader *reader, const char *section, struct fault *fault)
{
	const char *near = NULL;
	unsigned int best = TYPO_LENGTH_MAX;

	for (const struct config_key *key = reader->keys; key->name; key++)
		if (key->section[0] && is_typo(section, key->section, &best))
			near = key->section;
	if (near)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "unknown section [%s]; did you mean [%s]?", section, near);
	return fault_set(fault, FAULT_STOP, EINVAL, "unknown section [%s]; there is [%s]", section,
			 reader->keys->section);
}

static int unknown_key(const struct reader *reader, const char *section, const char *name,
		       struct fault *fault)
{
	const char *near = NULL, *elsewhere = NULL, *instance;
	unsigned int best = TYPO_LENGTH_MAX;
	bool is_section_known = false;

	for (const struct config_key *key = reader->keys; key->name; key++) {
		if (!section_matches(key->section, section, &instance)) {
			if (strcmp(key->name, name) == 0)
				elsewhere = key->section;
			continue;
		}
		is_section_known = true;
		if (is_typo(name, key->name, &best))
			near = key->name;
	}
	if (elsewhere && !near)
		return fault_set(fault, FAULT_STOP, EINVAL, "the key '%s' belongs %s%s%s", name,
				 elsewhere[0] ? "in section [" : "before the first section",
				 elsewhere, elsewhere[0] ? "]" : "");
	if (!is_section_known && section[0])
		return unknown_section(reader, section, fault);
	if (near)
		return fault_set(fault, FAULT_STOP, EINVAL, "unknown key '%s'; did you mean '%s'?",
				 name, near);
	return fault_set(fault, FAULT_STOP, EINVAL, "unknown key '%s'", name);
}

/* Remembers that a key was given, or complains that it was given before. */
static int note_given(struct reader *reader, const char *section, const char *name,
		      struct fault *fault)
{
	void *grown;

	for (unsigned int i = 0; i < reader->set_count; i++)
		if (strcmp(reader->set[i].section, section) == 0 &&
		    strcmp(reader->set[i].name, name) == 0)
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "'%s' is given twice, first in line %u", name,
					 reader->set[i].line);
	if (reader->set_count == LINES_SET_MAX)
		return fault_set(fault, FAULT_STOP, E2BIG, "more than %d keys", LINES_SET_MAX);
	grown = realloc(reader->set, (reader->set_count + 1) * sizeof(reader->set[0]));
	if (!grown)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	reader->set = grown;
	reader->set[reader->set_count].section = strdup(section);
	reader->set[reader->set_count].name = strdup(name);
	reader->set[reader->set_count].line = reader->line;
	reader->set_count++;
	if (!reader->set[reader->set_count - 1].section || !reader->set[reader->set_count - 1].name)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	return 0;
}

static int set_one(struct reader *reader, const char *section, const char *name, const char *value,
		   struct fault *fault)
{
	const struct config_key *key;
	const char *instance = NULL;
	int error;

	for (key = reader->keys; key->name; key++)
		if (strcmp(key->name, name) == 0 &&
		    section_matches(key->section, section, &instance))
			break;
	if (!key->name || (instance && !reader->on_instance))
		return unknown_key(reader, section, name, fault);
	error = note_given(reader, section, name, fault);
	if (error)
		return error;
	if (reader->has_cut_comment && key->type == CONFIG_STRING)
		return fault_set(
			fault, FAULT_STOP, EINVAL,
			"the value of '%s' has a ';' after a blank, which begins a comment: "
			"write it without the blank, or drop the comment",
			name);
	if (instance)
		return reader->on_instance(reader->target, instance, key, value, fault);
	return config_set(key, reader->target, value, fault);
}

/* inih's handler: 1 is success. */
static int on_value(void *context, const char *section, const char *name, const char *value)
{
	struct reader *reader = context;

	if (!name || reader->fault_line != 0)
		return 1;
	if (set_one(reader, section, name, value ? value : "", &reader->fault) != 0)
		note_fault(reader);
	return 1;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Looks at one line, without blanks at either end, before inih sees it. */
static int check_line(const char *line, size_t length, int room, struct fault *fault)
{
	const char *close = memchr(line, ']', length);

	for (size_t i = 0; i < length; i++)
		if ((unsigned char)line[i] < ' ' && line[i] != '\t')
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "there is a control character in this line");
	/* Newline and NUL have to fit as well. */
	if (length + 2 > (size_t)room)
		return fault_set(fault, FAULT_STOP, E2BIG,
				 "this line has %zu characters, and %d is the most", length,
				 room - 2);
	if (line[0] == '[') {
		const char *rest = close ? close + 1 : line;

		while (rest < line + length && is_blank(*rest))
			rest++;
		if (!close || (rest < line + length && *rest != ';' && *rest != '#'))
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "a section is [NAME] on a line of its own");
		if (close - line - 1 > NAME_BYTES_MAX)
			return fault_set(fault, FAULT_STOP, E2BIG,
					 "a section's name has at most %d characters",
					 NAME_BYTES_MAX);
		return 0;
	}
	if (!memchr(line, '=', length) && !memchr(line, ':', length))
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "this line is neither [SECTION], nor KEY = VALUE, nor a comment");
	return 0;
}

/* inih's fgets: gives it the next line, or an empty one where it must see nothing. */
static char *next_line(char *buffer, int room, void *context)
{
	struct reader *reader = context;
	const char *line = reader->at, *end;
	size_t length;

	if (line == reader->end || room < 2)
		return NULL;
	end = memchr(line, '\n', (size_t)(reader->end - line));
	reader->at = end ? end + 1 : reader->end;
	if (!end)
		end = reader->end;
	reader->line++;
	reader->has_cut_comment = false;
	if (reader->line == 1 && end - line >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
		line += 3; /* a byte order mark */
	while (line < end && is_blank(*line))
		line++;
	while (end > line && is_blank(end[-1]))
		end--;
	length = (size_t)(end - line);
	if (length == 0 || *line == ';' || *line == '#' || reader->fault_line != 0) {
		length = 0;
	} else if (check_line(line, length, room, &reader->fault) != 0) {
		note_fault(reader);
		length = 0;
	}
	for (size_t i = 1; i < length; i++)
		reader->has_cut_comment |= line[i] == ';' && is_blank(line[i - 1]);
	memcpy(buffer, line, length);
	buffer[length] = '\n';
	buffer[length + 1] = '\0';
	return buffer;
}

static void free_set(struct reader *reader)
{
	for (unsigned int i = 0; i < reader->set_count; i++) {
		free(reader->set[i].section);
		free(reader->set[i].name);
	}
	free(reader->set);
}

int config_read_text(const char *name, const char *text, size_t size, const struct config_key *keys,
		     void *target, config_instance_fn *on_instance, struct fault *fault)
{
	struct reader reader = {.at = text,
				.end = text + size,
				.keys = keys,
				.target = target,
				.on_instance = on_instance};
	int result = ini_parse_stream(next_line, &reader, on_value, &reader);

	free_set(&reader);
	/* What inih itself dislikes was checked before, but let nothing pass unsaid. */
	if (result != 0 && reader.fault_line == 0) {
		reader.fault_line = result > 0 ? (unsigned int)result : reader.line;
		fault_set(&reader.fault, FAULT_STOP, EINVAL, "this line cannot be read");
	}
	if (reader.fault_line == 0)
		return 0;
	return fault_set(fault, FAULT_STOP, reader.fault.error, "%s:%u: %s", name,
			 reader.fault_line, reader.fault.text);
}

int config_read(const char *path, const struct config_key *keys, void *target,
		config_instance_fn *on_instance, struct fault *fault)
{
	char *text;
	size_t size;
	int error = os_file_read(path, FILE_BYTES_MAX, &text, &size);

	if (error)
		return fault_set(fault, FAULT_STOP, -error, "cannot read %s: %s", path,
				 strerror(-error));
	error = config_read_text(path, text, size, keys, target, on_instance, fault);
	free(text);
	return error;
}
