// SPDX-License-Identifier: GPL-2.0-or-later
/* Kernel command lines in the boot loader's files; see bootargs.h. */
#include "agent/linux/check/bootargs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/plan.h"

#define ENV_BYTES 1024

static bool has_word(struct span args, const char *begin)
{
	struct span word;

	while (text_word(&args, &word))
		if (span_starts(word, begin))
			return true;
	return false;
}

/* "linux /vmlinuz-6.1 root=... ro": the arguments after the kernel; false when it is another line. */
static bool find_linux_args(struct span line, struct span *ret_args)
{
	struct span word;

	if (!text_word(&line, &word) ||
	    (!span_is(word, "linux") && !span_is(word, "linux16") && !span_is(word, "linuxefi")))
		return false;
	if (!text_word(&line, &word))
		return false;
	*ret_args = span_trim(line);
	return has_word(*ret_args, "root=");
}

static bool find_in_line(enum bootargs_kind kind, struct span line, struct span *ret_args)
{
	struct span word;

	switch (kind) {
	case BOOTARGS_GRUB_CFG:
		return find_linux_args(line, ret_args);
	case BOOTARGS_ENTRY:
		if (!text_word(&line, &word) || !span_is(word, "options"))
			return false;
		*ret_args = span_trim(line);
		return !has_word(*ret_args, "$kernelopts");
	case BOOTARGS_ENV:
		if (!span_starts(line, "kernelopts="))
			return false;
		*ret_args =
			span_trim((struct span){.at = line.at + 11, .length = line.length - 11});
		return true;
	case BOOTARGS_PLAIN:
		*ret_args = span_trim(line);
		return ret_args->length > 0 && ret_args->at[0] != '#';
	case BOOTARGS_DEFAULTS:
		break;
	}
	return false;
}

unsigned int bootargs_find(enum bootargs_kind kind, const char *text,
			   struct span ret_spans[BOOTARGS_SPANS_MAX])
{
	unsigned int count = 0;
	struct shell_line assignment;
	struct span line;

	if (kind == BOOTARGS_DEFAULTS) {
		while (count < BOOTARGS_SPANS_MAX && shell_next(&text, &assignment))
			if (span_starts(assignment.name, "GRUB_CMDLINE_LINUX"))
				ret_spans[count++] = assignment.value;
		return count;
	}
	while (count < BOOTARGS_SPANS_MAX && text_line(&text, &line))
		if (find_in_line(kind, line, &ret_spans[count]))
			count++;
	return count;
}

char *bootargs_pad_env(char *text)
{
	char *padded = text ? malloc(ENV_BYTES + 1) : NULL;
	size_t length = text ? strlen(text) : 0;

	while (length > 0 && text[length - 1] == '#')
		length--;
	if (padded && length <= ENV_BYTES) {
		memcpy(padded, text, length);
		memset(padded + length, '#', ENV_BYTES - length);
		padded[ENV_BYTES] = '\0';
	} else {
		free(padded);
		padded = NULL;
	}
	free(text);
	return padded;
}

static void add_file(const struct check_root *root, const char *path, enum bootargs_kind kind,
		     struct bootargs_file *files, unsigned int *count)
{
	char real[PATH_MAX];

	if (*count == BOOTARGS_FILES_MAX || root_resolve(root, path, real, sizeof(real)) != 0)
		return;
	for (unsigned int i = 0; i < *count; i++)
		if (!strcmp(files[i].path, real))
			return; /* /boot/grub may be a link to /boot/grub2 */
	memcpy(files[*count].path, real, sizeof(real));
	files[*count].kind = kind;
	(*count)++;
}

static void add_folder(const struct check_root *root, const char *folder, const char *end,
		       enum bootargs_kind kind, struct bootargs_file *files, unsigned int *count)
{
	struct root_names names;

	root_list(root, folder, &names);
	for (unsigned int i = 0; i < names.count; i++) {
		char path[PATH_MAX];

		if (snprintf(path, sizeof(path), "%s/%s%s", folder, names.names[i],
			     kind == BOOTARGS_ENTRY ? "" : end) < (int)sizeof(path) &&
		    (kind != BOOTARGS_ENTRY || strstr(names.names[i], end)))
			add_file(root, path, kind, files, count);
	}
	root_names_free(&names);
}

unsigned int bootargs_files(const struct check_root *root,
			    struct bootargs_file ret_files[BOOTARGS_FILES_MAX])
{
	static const struct {
		const char *path;
		enum bootargs_kind kind;
	} fixed[] = {
		{"/etc/default/grub", BOOTARGS_DEFAULTS},
		{"/etc/kernel/cmdline", BOOTARGS_PLAIN},
		{"/boot/grub/grub.cfg", BOOTARGS_GRUB_CFG},
		{"/boot/grub2/grub.cfg", BOOTARGS_GRUB_CFG},
		{"/boot/grub/grubenv", BOOTARGS_ENV},
		{"/boot/grub2/grubenv", BOOTARGS_ENV},
	};
	unsigned int count = 0;

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		add_file(root, fixed[i].path, fixed[i].kind, ret_files, &count);
	add_folder(root, "/boot/efi/EFI", "/grub.cfg", BOOTARGS_GRUB_CFG, ret_files, &count);
	add_folder(root, "/boot/loader/entries", ".conf", BOOTARGS_ENTRY, ret_files, &count);
	add_folder(root, "/boot/efi/loader/entries", ".conf", BOOTARGS_ENTRY, ret_files, &count);
	add_folder(root, "/efi/loader/entries", ".conf", BOOTARGS_ENTRY, ret_files, &count);
	return count;
}

void bootargs_plan(struct check_context *context, const struct bootargs_file *file,
		   struct edits *edits)
{
	if (file->kind == BOOTARGS_ENV && edits->count > 0)
		plan_write(context, file->path, bootargs_pad_env(edits_apply(edits)));
	else
		plan_edit(context, file->path, edits);
}

static bool text_has(enum bootargs_kind kind, const char *text, const char *word)
{
	struct span spans[BOOTARGS_SPANS_MAX], found;
	unsigned int count = bootargs_find(kind, text, spans);
	size_t length = strlen(word);

	for (unsigned int i = 0; i < count; i++)
		while (text_word(&spans[i], &found))
			if (word[length - 1] == '=' ? span_starts(found, word)
						    : span_is(found, word))
				return true;
	return false;
}

bool bootargs_is_for_all(const char *text, struct span span)
{
	static const char name[] = "GRUB_CMDLINE_LINUX=";
	const char *from = span.at;

	if (from > text && (from[-1] == '"' || from[-1] == '\''))
		from--;
	return from - text >= (long)sizeof(name) - 1 &&
	       !memcmp(from - (sizeof(name) - 1), name, sizeof(name) - 1);
}

bool bootargs_has(struct check_context *context, const char *word)
{
	char *text = root_read(&context->root, "/proc/cmdline");
	struct bootargs_file *files;
	bool has_it = text && text_has(BOOTARGS_PLAIN, text, word);
	unsigned int count;

	if (text) {
		free(text);
		return has_it;
	}
	files = calloc(BOOTARGS_FILES_MAX, sizeof(*files));
	count = files ? bootargs_files(&context->root, files) : 0;
	for (unsigned int i = 0; i < count && !has_it; i++) {
		text = plan_read(context, files[i].path);
		has_it = text && text_has(files[i].kind, text, word);
		free(text);
	}
	free(files);
	return has_it;
}
