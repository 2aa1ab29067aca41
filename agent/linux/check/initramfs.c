// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of the initramfs images: is what the target's disks need in each of them? */
#include "agent/linux/check/initramfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/devices.h"
#include "agent/linux/check/text.h"

#define TOOLS_MODULES "/etc/initramfs-tools/modules"
#define TOOLS_RESUME  "/etc/initramfs-tools/conf.d/resume"
#define DRACUT_CONF   "/etc/dracut.conf.d/90-blkferry.conf"

/* Adds "module" to the file of modules that initramfs-tools takes into every image. */
static bool plan_tools(struct check_context *context, const char *module)
{
	char *text = plan_read(context, TOOLS_MODULES), *longer = NULL;
	struct table_cursor cursor = {.at = text ? text : ""};
	struct table_line line;
	bool is_there = false;
	size_t length;

	while (table_next(&cursor, &line))
		is_there = is_there || span_is(line.field[0], module);
	length = text ? strlen(text) : 0;
	if (!is_there && asprintf(&longer, "%s%s%s\n", text ? text : "",
				  length && text[length - 1] != '\n' ? "\n" : "", module) < 0)
		longer = NULL;
	free(text);
	return is_there || plan_write(context, TOOLS_MODULES, longer);
}

static bool plan_dracut(struct check_context *context, const char *module)
{
	char *text = plan_read(context, DRACUT_CONF), *longer = NULL;
	char line[128];
	bool is_there;

	/* The blanks matter: dracut puts these lists one after another. */
	snprintf(line, sizeof(line), "add_drivers+=\" %s \"\n", module);
	is_there = text && strstr(text, line);
	if (!is_there && asprintf(&longer, "%s%s", text ? text : "", line) < 0)
		longer = NULL;
	free(text);
	return is_there || plan_write(context, DRACUT_CONF, longer);
}

static void add_missing(struct check_context *context, const struct kernel *kernel,
			const struct driver *driver)
{
	struct finding *finding =
		check_add(context, "initramfs-driver",
			  kernel->is_rescue && driver->if_not_in_initramfs == CHECK_ERROR
				  ? CHECK_WARNING
				  : driver->if_not_in_initramfs,
			  kernel->version, "%s, the driver for the target's %s, is not in %s%s",
			  driver->module, driver->is_for, kernel->initramfs,
			  driver->if_not_in_initramfs == CHECK_ERROR
				  ? ": the root file system would not be found"
				  : "");

	if (kernel->is_rescue) {
		check_add_fix(finding, false,
			      "a rescue image is built when its kernel is installed: remove it, or "
			      "build it again with 'dracut --no-hostonly'");
		return;
	}
	switch (initramfs_find_builder(&context->root)) {
	case INITRAMFS_TOOLS:
		check_add_fix(finding, plan_tools(context, driver->module),
			      "echo %s >>" TOOLS_MODULES "; update-initramfs -u -k %s",
			      driver->module, kernel->version);
		break;
	case INITRAMFS_DRACUT:
		check_add_fix(finding, plan_dracut(context, driver->module),
			      "echo 'add_drivers+=\" %s \"' >>" DRACUT_CONF "; dracut -f %s %s",
			      driver->module, kernel->initramfs, kernel->version);
		break;
	case INITRAMFS_OTHER:
		check_add_fix(finding, false, "build the image again with that driver in it");
		return;
	}
	plan_rebuild(context, kernel->version);
}

static void check_image(struct check_context *context, const struct kernel *kernel)
{
	struct fault fault = {0};
	char *list = NULL;

	for (const struct driver *driver = drivers_of(context->target); driver->module; driver++) {
		enum driver_kind kind = kernel_find_driver(&context->root, kernel->version, driver);

		/* A rescue image carries the modules of the kernel that it was made with. */
		if (kind == DRIVER_BUILT_IN || (kind == DRIVER_NONE && !kernel->is_rescue))
			continue;
		if (!kernel->initramfs[0]) {
			if (driver->if_not_in_initramfs == CHECK_ERROR && !kernel->is_rescue)
				check_add_fix(
					check_add(context, "initramfs-none", CHECK_ERROR,
						  kernel->version,
						  "%s is a module, and there is no initramfs that "
						  "could load it",
						  driver->module),
					false, "build one, or remove this kernel");
			continue;
		}
		if (!list && initramfs_list(&context->root, kernel->initramfs, &list, &fault)) {
			check_add_fix(check_add(context, "initramfs-unknown",
						kernel->is_rescue ? CHECK_WARNING : CHECK_ERROR,
						kernel->version,
						"it cannot be told what is in %s: %s",
						kernel->initramfs, fault.text),
				      false,
				      "look yourself whether %s is in it, and say that this check "
				      "is to be ignored",
				      driver->module);
			break;
		}
		if (!modules_list_has(list, driver->module))
			add_missing(context, kernel, driver);
	}
	free(list);
}

/* RESUME= by a name that changes: the image waits for it at each start. */
static void check_resume(struct check_context *context)
{
	char *text = plan_read(context, TOOLS_RESUME);
	const char *at = text ? text : "";
	struct shell_line line;
	struct edits edits;

	edits_init(&edits, at);
	while (shell_next(&at, &line)) {
		char name[256], uuid[128];
		struct finding *finding;

		span_copy(line.value, name, sizeof(name));
		if (!span_is(line.name, "RESUME") ||
		    device_name_judge(name, context->target) != DEVICE_NAME_CHANGES)
			continue;
		finding = check_add(context, "resume-device", CHECK_WARNING, TOOLS_RESUME,
				    "RESUME=%s will have another name on the target: each start "
				    "waits for it",
				    name);
		if (device_find_uuid(&context->root, name, uuid, sizeof(uuid)) != 0) {
			check_add_fix(finding, false,
				      "write RESUME=UUID=... (blkid tells it) and run "
				      "update-initramfs -u -k all");
			continue;
		}
		edits_add(&edits, line.value, uuid);
		context->plan->is_rebuilding_all = true;
		check_add_fix(finding, true, "write RESUME=%s and run update-initramfs -u -k all",
			      uuid);
	}
	if (text)
		plan_edit(context, TOOLS_RESUME, &edits);
	free(text);
}

void check_initramfs(struct check_context *context)
{
	struct kernels kernels;

	kernels_find(&context->root, &kernels);
	for (unsigned int i = 0; i < kernels.count; i++)
		check_image(context, &kernels.list[i]);
	kernels_fini(&kernels);
	check_resume(context);
}
