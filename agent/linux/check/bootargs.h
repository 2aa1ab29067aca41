/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the boot loader's files keep the kernel's command line. */
#ifndef BLKFERRY_AGENT_CHECK_BOOTARGS_H
#define BLKFERRY_AGENT_CHECK_BOOTARGS_H

#include <limits.h>
#include <stdbool.h>

#include "agent/linux/check/check.h"
#include "agent/linux/check/text.h"

enum bootargs_kind {
	BOOTARGS_PLAIN = 1, /* the whole file: /etc/kernel/cmdline, /proc/cmdline */
	BOOTARGS_DEFAULTS,  /* /etc/default/grub */
	BOOTARGS_GRUB_CFG,
	BOOTARGS_ENTRY, /* of the boot loader specification */
	BOOTARGS_ENV,	/* GRUB's environment block */
};

#define BOOTARGS_SPANS_MAX 256

/* The parts of text that are kernel arguments. Of grub.cfg only what starts a Linux with a root. What only
 * refers to arguments that stand elsewhere ($kernelopts) is left out. */
unsigned int bootargs_find(enum bootargs_kind kind, const char *text,
			   struct span ret_spans[BOOTARGS_SPANS_MAX]);
/* In /etc/default/grub: is that part what every entry gets, GRUB_CMDLINE_LINUX? */
bool bootargs_is_for_all(const char *text, struct span span);
/* Brings an environment block that was edited back to its length of 1024 bytes; takes and gives a text that
 * the caller frees. NULL when it does not fit. */
char *bootargs_pad_env(char *text);

struct bootargs_file {
	char path[PATH_MAX];
	enum bootargs_kind kind;
};
#define BOOTARGS_FILES_MAX 128
/* The files that there are. */
unsigned int bootargs_files(const struct check_root *root,
			    struct bootargs_file ret_files[BOOTARGS_FILES_MAX]);
/* Plans what the edits of a file make of it. */
void bootargs_plan(struct check_context *context, const struct bootargs_file *file,
		   struct edits *edits);
/* Is this word, or one that begins with it when it ends in '=', on the running kernel's command line, or
 * where there is none, on any? */
bool bootargs_has(struct check_context *context, const char *word);

#endif
