// SPDX-License-Identifier: GPL-2.0-or-later
/* The verdict of a check, in a file; see verdict.h, and readiness_read in platform.h. */
#include "agent/linux/check/verdict.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <jansson.h>

#include "agent/platform.h"
#include "common/os_file.h"
#include "common/wire.h"

#define VERDICT_MAX (64u << 10)

static int verdict_path(const char *state_folder, char ret_path[PATH_MAX])
{
	return snprintf(ret_path, PATH_MAX, "%s/check.json", state_folder) >= PATH_MAX
		       ? -ENAMETOOLONG
		       : 0;
}

/* A line each, the errors first, as many as there is room for. */
static void list_findings(const struct check_context *context, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (enum check_severity severity = CHECK_ERROR; severity <= CHECK_WARNING; severity++)
		for (unsigned int i = 0; i < context->count; i++) {
			const struct finding *finding = &context->findings[i];
			int length;

			if (finding->severity != severity)
				continue;
			length = snprintf(text + used, size - used, "%s %s (%s): %s\n",
					  check_severity_name(severity), finding->id,
					  finding->subject, finding->text);
			if (length >= (int)(size - used)) {
				text[used] = '\0';
				return;
			}
			used += (size_t)length;
		}
}

int verdict_write(const char *state_folder, const struct check_context *context)
{
	char path[PATH_MAX], list[WIRE_CHECKS_TEXT_MAX], *text;
	json_t *root;
	int error = verdict_path(state_folder, path);

	if (error)
		return error;
	if (!os_file_exists(state_folder))
		return 0;
	list_findings(context, list, sizeof(list));
	root = json_pack("{s:s, s:i, s:i, s:I, s:s}", "target", check_target_name(context->target),
			 "errors", (int)check_count(context, CHECK_ERROR), "warnings",
			 (int)check_count(context, CHECK_WARNING), "checked",
			 (json_int_t)time(NULL), "text", list);
	text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	json_decref(root);
	error = text ? os_file_write_atomic(path, text, strlen(text), 0600) : -ENOMEM;
	free(text);
	return error;
}

static uint32_t read_count(const json_t *root, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(root, key));

	return value > 0 && value <= CHECK_FINDINGS_MAX ? (uint32_t)value : 0;
}

int readiness_read(const char *state_folder, struct wire_checks *ret_checks)
{
	char path[PATH_MAX], *text;
	const char *target, *list;
	json_int_t checked;
	json_t *root;
	size_t size;
	int error = verdict_path(state_folder, path);

	if (!error)
		error = os_file_read(path, VERDICT_MAX, &text, &size);
	if (error)
		return error;
	root = json_loadb(text, size, 0, NULL);
	free(text);
	target = json_string_value(json_object_get(root, "target"));
	list = json_string_value(json_object_get(root, "text"));
	checked = json_integer_value(json_object_get(root, "checked"));
	if (!target || !list || checked <= 0) {
		json_decref(root);
		return -EINVAL;
	}
	memset(ret_checks, 0, sizeof(*ret_checks));
	ret_checks->errors = read_count(root, "errors");
	ret_checks->warnings = read_count(root, "warnings");
	ret_checks->checked_s = (uint64_t)checked;
	snprintf(ret_checks->target, sizeof(ret_checks->target), "%s", target);
	snprintf(ret_checks->text, sizeof(ret_checks->text), "%s", list);
	json_decref(root);
	return 0;
}
