// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of LVM, multipath and md: filters and lists that know the disks by what only this machine has. */
#include "agent/linux/check/lvm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/check.h"
#include "agent/linux/check/plan.h"

#define DEVICES_FILE "/etc/lvm/devices/system.devices"

bool lvm_setting(const char *text, const char *name, struct span *ret_value)
{
	struct span line;

	while (text_line(&text, &line)) {
		const char *at, *end;

		line = span_trim(line);
		if (!span_starts(line, name))
			continue;
		at = line.at + strlen(name);
		end = line.at + line.length;
		while (at < end && (*at == ' ' || *at == '\t'))
			at++;
		if (at == end || *at != '=')
			continue;
		at++;
		while (*at == ' ' || *at == '\t')
			at++;
		ret_value->at = at;
		/* A list may go on over lines. */
		ret_value->length = *at == '[' ? strcspn(at, "]") : strcspn(at, "\n#");
		*ret_value = span_trim(*ret_value);
		return true;
	}
	return false;
}

bool lvm_devices_are_bound(const char *text)
{
	struct table_cursor cursor = {.at = text};
	struct table_line line;

	while (table_next(&cursor, &line))
		for (unsigned int i = 0; i < line.fields; i++)
			if (span_starts(line.field[i], "IDTYPE=") &&
			    !span_is(line.field[i], "IDTYPE=devname") &&
			    !span_is(line.field[i], "IDTYPE=lvmlv_uuid") &&
			    !span_is(line.field[i], "IDTYPE=md_uuid") &&
			    !span_is(line.field[i], "IDTYPE=crypt_uuid"))
				return true;
	return false;
}

static bool is_devices_file_off(struct check_context *context)
{
	char *text = plan_read(context, "/etc/lvm/lvm.conf");
	struct span value;
	bool is_off = text && lvm_setting(text, "use_devicesfile", &value) && span_is(value, "0");

	free(text);
	return is_off;
}

static void check_devices_file(struct check_context *context)
{
	char *text = plan_read(context, DEVICES_FILE);

	if (text && lvm_devices_are_bound(text) && !is_devices_file_off(context)) {
		check_add_fix(
			check_add(context, "lvm-devices", CHECK_ERROR, DEVICES_FILE,
				  "LVM uses only the disks in this list, and knows them by WWN "
				  "or serial number: it would find no volume on the target's "
				  "disks"),
			plan_remove(context, DEVICES_FILE),
			"move the file away: LVM then uses all disks. On the target, "
			"'vgimportdevices -a' makes a new list");
		/* dracut may have taken the list into its images. */
		context->plan->is_rebuilding_all = true;
	}
	free(text);
}

static void check_filters(struct check_context *context, const char *path)
{
	static const char *const names[] = {"filter", "global_filter"};
	char *text = plan_read(context, path);

	for (size_t i = 0; text && i < sizeof(names) / sizeof(names[0]); i++) {
		char value[256];
		struct span found;

		if (!lvm_setting(text, names[i], &found))
			continue;
		span_copy(found, value, sizeof(value));
		if (!strstr(value, "sd") && !strstr(value, "vd") && !strstr(value, "nvme") &&
		    !strstr(value, "by-"))
			continue;
		check_add_fix(check_add(context, "lvm-filter", CHECK_ERROR, path,
					"%s names disks as they are called here: LVM may find none "
					"on the target",
					names[i]),
			      false, "let it accept all disks, or /dev/%s as well: %s = %.160s]",
			      context->target == CHECK_TARGET_XEN ? "xvd*" : "vd*", names[i],
			      value);
	}
	free(text);
}

/* An array is found by its UUID; only what limits the disks that are looked at, or names them, minds. */
static void check_md(struct check_context *context, const char *path)
{
	char *text = plan_read(context, path);
	struct table_cursor cursor = {.at = text ? text : ""};
	struct table_line line;

	while (table_next(&cursor, &line)) {
		char subject[CHECK_SUBJECT_MAX];

		if (!span_is(line.field[0], "DEVICE") || line.fields < 2 ||
		    span_is(line.field[1], "partitions") || span_is(line.field[1], "containers"))
			continue;
		snprintf(subject, sizeof(subject), "%s:%u", path, line.number);
		check_add_fix(check_add(context, "md-device", CHECK_WARNING, subject,
					"md looks at disks of certain names only: it may find no "
					"array on the target"),
			      false, "write 'DEVICE partitions', and build the initramfs again");
	}
	free(text);
}

void check_lvm(struct check_context *context)
{
	check_devices_file(context);
	check_filters(context, "/etc/lvm/lvm.conf");
	check_filters(context, "/etc/lvm/lvmlocal.conf");
	check_md(context, "/etc/mdadm/mdadm.conf");
	check_md(context, "/etc/mdadm.conf");
	if (root_exists(&context->root, "/etc/multipath.conf"))
		check_add_fix(
			check_add(context, "multipath", CHECK_INFO, "/etc/multipath.conf",
				  "multipath is set up: the target has one path to each disk"),
			false, "see to it that nothing is mounted by a name in /dev/mapper/mpath*");
}
