// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of fstab(5) and crypttab(5): devices by a name that other hardware does not give them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/devices.h"
#include "agent/linux/check/plan.h"
#include "agent/linux/check/text.h"

#define FSTAB	 "/etc/fstab"
#define CRYPTTAB "/etc/crypttab"

/* A device in a table: the finding about it, and its UUID in its place. */
static void judge_device(struct check_context *context, const char *id,
			 enum check_severity severity, const char *subject, struct span field,
			 struct edits *edits)
{
	char name[256], uuid[128];
	struct finding *finding;
	enum device_name kind;

	table_decode(field, name, sizeof(name));
	kind = device_name_judge(name, context->target);
	if (kind == DEVICE_NAME_STAYS)
		return;
	finding = check_add(
		context, id, kind == DEVICE_NAME_CHANGES ? severity : CHECK_WARNING, subject,
		kind == DEVICE_NAME_CHANGES
			? "%s will have another name on the target"
			: "%s is the right name only if the disks come in the same order",
		name);
	if (device_find_uuid(&context->root, name, uuid, sizeof(uuid)) == 0) {
		edits_add(edits, field, uuid);
		check_add_fix(finding, true, "write %s instead", uuid);
	} else {
		check_add_fix(finding, false,
			      "write UUID=... instead ('blkid %s' tells it), or remove the line if "
			      "there is no such device any more",
			      name);
	}
}

/* Is the system to start without it as well? */
static bool is_optional(const struct table_line *line)
{
	return line->fields > 3 && (table_has_option(line->field[3], "nofail") ||
				    table_has_option(line->field[3], "noauto"));
}

static void check_fstab_line(struct check_context *context, const struct table_line *line,
			     struct edits *edits)
{
	bool is_swap = line->fields > 2 && span_is(line->field[2], "swap");
	char subject[CHECK_SUBJECT_MAX], name[256];

	snprintf(subject, sizeof(subject), FSTAB ":%u", line->number);
	judge_device(context, "fstab-device",
		     is_optional(line) || is_swap ? CHECK_WARNING : CHECK_ERROR, subject,
		     line->field[0], edits);
	table_decode(line->field[0], name, sizeof(name));
	if (!is_optional(line) && !device_is_there(&context->root, name))
		check_add_fix(check_add(context, "fstab-missing", CHECK_WARNING, subject,
					"there is no %s: the next start waits for it, here and on "
					"the target",
					name),
			      false, "correct the line, or remove it");
	if (line->fields > 2 &&
	    (span_starts(line->field[2], "nfs") || span_is(line->field[2], "cifs") ||
	     span_is(line->field[2], "ceph")))
		check_add(context, "fstab-network", CHECK_INFO, subject,
			  "%s is on the network: is it reached from the target's network, too?",
			  name);
}

void check_fstab(struct check_context *context)
{
	char *text = plan_read(context, FSTAB);
	struct table_cursor cursor = {.at = text};
	struct table_line line;
	struct edits edits;

	if (!text)
		return;
	edits_init(&edits, text);
	while (table_next(&cursor, &line))
		if (line.fields >= 2)
			check_fstab_line(context, &line, &edits);
	plan_edit(context, FSTAB, &edits);
	free(text);
}

void check_crypttab(struct check_context *context)
{
	char *text = plan_read(context, CRYPTTAB);
	struct table_cursor cursor = {.at = text};
	struct table_line line;
	struct edits edits;

	if (!text)
		return;
	edits_init(&edits, text);
	while (table_next(&cursor, &line)) {
		char subject[CHECK_SUBJECT_MAX];

		if (line.fields < 2)
			continue;
		snprintf(subject, sizeof(subject), CRYPTTAB ":%u", line.number);
		judge_device(context, "crypttab-device",
			     is_optional(&line) ? CHECK_WARNING : CHECK_ERROR, subject,
			     line.field[1], &edits);
		if (line.fields > 3 && table_has_option(line.field[3], "tpm2-device"))
			check_add_fix(check_add(context, "crypttab-tpm", CHECK_WARNING, subject,
						"this volume is opened by the TPM of this machine, "
						"which the target does not have"),
				      false,
				      "see to it that a passphrase opens it as well, and that "
				      "somebody is at the console to type it; enrol the new TPM "
				      "afterwards");
		if (line.fields > 3 && table_has_option(line.field[3], "fido2-device"))
			check_add(context, "crypttab-token", CHECK_WARNING, subject,
				  "this volume is opened by a security token in this machine");
	}
	/* What the initramfs opens by, it has in itself. */
	if (edits.count > 0)
		context->plan->is_rebuilding_all = true;
	plan_edit(context, CRYPTTAB, &edits);
	free(text);
}
