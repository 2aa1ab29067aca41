// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of checks, and the report that they fill; see check.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/check.h"
#include "agent/linux/check/plan.h"

/* In the order in which a system starts. */
const struct check check_table[] = {
	{"firmware", check_firmware},
	{"boot loader", check_boot},
	{"console", check_console},
	{"kernel", check_kernel},
	{"initramfs", check_initramfs},
	{"lvm", check_lvm},
	{"crypttab", check_crypttab},
	{"fstab", check_fstab},
	{"storage", check_storage},
	{"network", check_network},
	{"clock", check_clock},
	{"vendor tools", check_vendor},
	{.group = NULL},
};

int check_begin(struct check_context *context, const char *root, struct fault *fault)
{
	int error = root_open(root, &context->root, fault);

	if (error)
		return error;
	context->findings = calloc(CHECK_FINDINGS_MAX + 1, sizeof(*context->findings));
	context->plan = plan_new();
	if (!context->findings || !context->plan) {
		check_fini(context);
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	}
	return 0;
}

void check_run(struct check_context *context)
{
	for (const struct check *check = check_table; check->group; check++)
		check->run(context);
}

void check_fini(struct check_context *context)
{
	plan_free(context->plan);
	free(context->findings);
	root_close(&context->root);
	context->plan = NULL;
	context->findings = NULL;
	context->count = 0;
}

unsigned int check_count(const struct check_context *context, enum check_severity severity)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < context->count; i++)
		count += context->findings[i].severity == severity;
	return count;
}

const char *check_severity_name(enum check_severity severity)
{
	switch (severity) {
	case CHECK_ERROR:
		return "error";
	case CHECK_WARNING:
		return "warning";
	case CHECK_INFO:
		return "info";
	}
	return "?";
}

const char *check_target_name(enum check_target target)
{
	return target == CHECK_TARGET_KVM ? "kvm" : "xen";
}

/* What stands in files may be anything; what is printed, and put into JSON, is plain. */
static void make_plain(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
			*text = '?';
}

struct finding *check_add(struct check_context *context, const char *id,
			  enum check_severity severity, const char *subject, const char *format,
			  ...)
{
	/* The last place is for what is thrown away. */
	struct finding *finding = &context->findings[context->count];
	va_list arguments;

	if (context->count < CHECK_FINDINGS_MAX)
		context->count++;
	else
		context->left_out++;
	memset(finding, 0, sizeof(*finding));
	finding->id = id;
	finding->severity = severity;
	snprintf(finding->subject, sizeof(finding->subject), "%s", subject);
	va_start(arguments, format);
	vsnprintf(finding->text, sizeof(finding->text), format, arguments);
	va_end(arguments);
	make_plain(finding->subject);
	make_plain(finding->text);
	return finding;
}

void check_add_fix(struct finding *finding, bool is_fixable, const char *format, ...)
{
	va_list arguments;

	finding->is_fixable = is_fixable;
	va_start(arguments, format);
	vsnprintf(finding->fix, sizeof(finding->fix), format, arguments);
	va_end(arguments);
	make_plain(finding->fix);
}
