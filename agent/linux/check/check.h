/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Will this system start on the target's hardware? A table of checks (table.c) looks at the files of a
 * root folder and adds findings to a report; what can be made right safely goes into a plan at the same
 * time, which --fix carries out (fix.h) and anybody else throws away.
 *
 *   root ──▶ checks ──▶ report ──▶ text, JSON, exit status
 *               └─────▶ plan ────▶ manifest and originals kept ──▶ files replaced ──▶ initramfs rebuilt
 */
#ifndef BLKFERRY_AGENT_CHECK_CHECK_H
#define BLKFERRY_AGENT_CHECK_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/linux/check/root.h"
#include "common/fault.h"

enum check_target { CHECK_TARGET_XEN = 1, CHECK_TARGET_KVM };

/* error: it will not start, or nobody will reach it. warning: something will be missing or slow.
 * info: good to know. */
enum check_severity { CHECK_ERROR = 1, CHECK_WARNING, CHECK_INFO };

#define CHECK_SUBJECT_MAX  192
#define CHECK_TEXT_MAX	   400
#define CHECK_FINDINGS_MAX 1000

struct finding {
	const char *id;
	enum check_severity severity;
	bool is_fixable;		 /* --fix does it */
	char subject[CHECK_SUBJECT_MAX]; /* "/etc/fstab:3", "6.1.0-56-amd64" */
	char text[CHECK_TEXT_MAX];	 /* what is so, and what it means on the target */
	char fix[CHECK_TEXT_MAX]; /* how to make it right by hand; "" when nothing need be done */
};

struct plan;

struct check_context {
	struct check_root root;
	enum check_target target;
	const char *disks; /* which are replicated, as in agent.ini */
	struct finding *findings;
	unsigned int count;
	unsigned int left_out; /* findings that had no room */
	struct plan *plan;
};

struct check {
	const char *group;
	void (*run)(struct check_context *context);
};
extern const struct check check_table[]; /* ends with a NULL group */

/* Looks at root and makes the report and the plan. context->target and ->disks are set by the caller. */
int check_begin(struct check_context *context, const char *root, struct fault *fault);
void check_run(struct check_context *context);
void check_fini(struct check_context *context);
unsigned int check_count(const struct check_context *context, enum check_severity severity);

const char *check_severity_name(enum check_severity severity);
const char *check_target_name(enum check_target target);

/* Adds a finding and returns it, so that the caller can add how to fix it; never NULL: one that has no
 * room is counted, and what is returned thrown away. */
struct finding *check_add(struct check_context *context, const char *id,
			  enum check_severity severity, const char *subject, const char *format,
			  ...) __attribute__((format(printf, 5, 6)));
void check_add_fix(struct finding *finding, bool is_fixable, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The groups, a file each. */
void check_kernel(struct check_context *context);
void check_initramfs(struct check_context *context);
void check_fstab(struct check_context *context);
void check_crypttab(struct check_context *context);
void check_boot(struct check_context *context);
void check_console(struct check_context *context);
void check_lvm(struct check_context *context);
void check_network(struct check_context *context);
void check_firmware(struct check_context *context);
void check_storage(struct check_context *context);
void check_vendor(struct check_context *context);
void check_clock(struct check_context *context);

#endif
