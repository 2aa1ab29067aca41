// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of the console: is there one on the target, where somebody can see why it does not start? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/bootargs.h"
#include "agent/linux/check/plan.h"

/* The last one is /dev/console: the screen, which every target has. */
#define CONSOLES "console=ttyS0,115200 console=tty0"

static bool has_serial(struct span args)
{
	struct span word;

	while (text_word(&args, &word))
		if (span_is(word, "console=ttyS0") || span_starts(word, "console=ttyS0,"))
			return true;
	return false;
}

/* A shell value without quotes around it holds one word only. */
static bool is_bare(const char *text, struct span value)
{
	return value.at == text || (value.at[-1] != '"' && value.at[-1] != '\'');
}

/* The edits that a file needs; false when it needs none. */
static bool add_consoles(const struct bootargs_file *file, const char *text, struct edits *edits)
{
	struct span spans[BOOTARGS_SPANS_MAX];
	unsigned int count = bootargs_find(file->kind, text, spans);

	for (unsigned int i = 0; i < count; i++) {
		struct span end = {.at = spans[i].at + spans[i].length};

		/* In the defaults it may stand in a line of its own making. */
		if (has_serial(spans[i]) ||
		    (file->kind == BOOTARGS_DEFAULTS &&
		     (!bootargs_is_for_all(text, spans[i]) || strstr(text, "console=ttyS0"))))
			continue;
		if (file->kind == BOOTARGS_DEFAULTS && is_bare(text, spans[i])) {
			edits_add(edits, (struct span){.at = spans[i].at}, "\"");
			edits_add(edits, end, spans[i].length ? " " CONSOLES "\"" : CONSOLES "\"");
			continue;
		}
		edits_add(edits, end, spans[i].length ? " " CONSOLES : CONSOLES);
	}
	return edits->count > 0;
}

/* Are these arguments what a kernel is started with, not what a tool makes such from later? */
static bool is_effective(const struct bootargs_file *file)
{
	return file->kind == BOOTARGS_GRUB_CFG || file->kind == BOOTARGS_ENTRY ||
	       file->kind == BOOTARGS_ENV;
}

/* Plans the consoles for all files, when a kernel would start without. */
static bool plan_consoles(struct check_context *context, const struct bootargs_file *files,
			  unsigned int count)
{
	bool is_needed = false;

	for (unsigned int pass = 0; pass < 2; pass++) {
		for (unsigned int i = 0; i < count; i++) {
			char *text = plan_read(context, files[i].path);
			struct edits edits;

			if (!text)
				continue;
			edits_init(&edits, text);
			if (add_consoles(&files[i], text, &edits) && is_effective(&files[i]))
				is_needed = true;
			if (pass == 1)
				bootargs_plan(context, &files[i], &edits);
			else
				edits_fini(&edits);
			free(text);
		}
		if (!is_needed)
			break;
	}
	return is_needed;
}

void check_console(struct check_context *context)
{
	struct bootargs_file *files = calloc(BOOTARGS_FILES_MAX, sizeof(*files));
	unsigned int count = files ? bootargs_files(&context->root, files) : 0;

	if (plan_consoles(context, files, count))
		check_add_fix(check_add(context, "console-serial", CHECK_INFO,
					"kernel command line",
					"there is no serial console: should the target not start, "
					"only its screen would say why"),
			      true, "add '" CONSOLES "' to the kernel's command line");
	free(files);
}
