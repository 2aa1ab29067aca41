/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading configuration files without losing a byte of them: parsers that say where in the text
 * something stands, and edits that replace just that.
 */
#ifndef BLKFERRY_AGENT_CHECK_TEXT_H
#define BLKFERRY_AGENT_CHECK_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* A part of a text. */
struct span {
	const char *at;
	size_t length;
};

bool span_is(struct span span, const char *text);
bool span_starts(struct span span, const char *text);
/* A copy with a NUL; what does not fit is cut off. Returns false then. */
bool span_copy(struct span span, char *ret_text, size_t size);
struct span span_trim(struct span span);

/* Takes the next line off *at, without its newline; false at the end. */
bool text_line(const char **at, struct span *ret_line);
/* Takes the next word (blanks between) off *rest. Quotes, and what follows a backslash, belong to the word,
 * as on the kernel's command line. */
bool text_word(struct span *rest, struct span *ret_word);

/* Lines of fields with blanks between, as fstab(5), crypttab(5) have them. Lines that are empty or begin
 * with # are passed over. */
#define TABLE_FIELDS_MAX 6
struct table_line {
	unsigned int number; /* of the line, from 1 */
	unsigned int fields;
	struct span field[TABLE_FIELDS_MAX];
};
struct table_cursor {
	const char *at;
	unsigned int number;
};
bool table_next(struct table_cursor *cursor, struct table_line *ret_line);
/* Is option (a name without value, or with '=') in a comma-separated list? */
bool table_has_option(struct span list, const char *option);
/* The escapes \040 and so on, and quotes around the value of UUID="...", are resolved. */
void table_decode(struct span field, char *ret_text, size_t size);

/* NAME=value lines of shell syntax: /etc/default/grub, ifcfg files, os-release. value is what stands
 * between the quotes, if there are any. */
struct shell_line {
	struct span line, name, value;
};
bool shell_next(const char **at, struct shell_line *ret_line);
/* The value of the last such line, copied; false when there is none. */
bool shell_get(const char *text, const char *name, char *ret_value, size_t size);

/* Sections of keys: systemd's files, NetworkManager's keyfiles. */
struct ini_line {
	struct span section, key, value;
};
struct ini_cursor {
	const char *at;
	struct span section;
};
bool ini_next(struct ini_cursor *cursor, struct ini_line *ret_line);

/* Replacements of parts of one text, added in any order; they must not overlap. */
#define EDITS_MAX 1024
struct edits {
	const char *text;
	struct edit {
		size_t offset, length;
		unsigned int number;
		char *by;
	} * list;
	unsigned int count;
	bool has_failed; /* out of memory, or too many */
};
void edits_init(struct edits *edits, const char *text);
/* part lies in the text; length 0 inserts before it. */
void edits_add(struct edits *edits, struct span part, const char *by);
/* The new text, which the caller frees; NULL when it could not be made. Empties the list. */
char *edits_apply(struct edits *edits);
void edits_fini(struct edits *edits);

#endif
