// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of the boot loader: devices by name on the kernel's command line, and arguments that Xen minds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/bootargs.h"
#include "agent/linux/check/devices.h"
#include "agent/linux/check/kernels.h"
#include "agent/linux/check/plan.h"

/* By file systems' UUIDs only an initramfs finds anything; a kernel that has none must still start here. */
static int find_uuid(struct check_context *context, const char *name, char *ret_uuid, size_t size)
{
	struct kernels kernels;
	bool has_bare = false;

	kernels_find(&context->root, &kernels);
	for (unsigned int i = 0; i < kernels.count; i++)
		has_bare = has_bare || !kernels.list[i].initramfs[0];
	kernels_fini(&kernels);
	if (has_bare)
		return device_find_partuuid(&context->root, name, ret_uuid, size);
	return device_find_uuid(&context->root, name, ret_uuid, size);
}

/* root=/dev/sda1, resume=/dev/sda2: the finding, and the UUID in the name's place. */
static void judge_word(struct check_context *context, const char *path, struct span word,
		       struct edits *edits)
{
	bool is_root = span_starts(word, "root=/dev/");
	char name[256], uuid[128];
	struct finding *finding;
	enum device_name kind;
	struct span value;

	if (!is_root && !span_starts(word, "resume=/dev/"))
		return;
	value.at = word.at + (is_root ? 5 : 7);
	value.length = word.length - (size_t)(value.at - word.at);
	span_copy(value, name, sizeof(name));
	kind = device_name_judge(name, context->target);
	if (kind == DEVICE_NAME_STAYS)
		return;
	finding = check_add(context, is_root ? "boot-root" : "boot-resume",
			    is_root && kind == DEVICE_NAME_CHANGES ? CHECK_ERROR : CHECK_WARNING,
			    path, "%s=%s: on the target that device %s%s",
			    is_root ? "root" : "resume", name,
			    kind == DEVICE_NAME_CHANGES ? "has another name"
							: "has that name only if the disks come in "
							  "the same order",
			    is_root ? "" : "; each start waits for it");
	if (find_uuid(context, name, uuid, sizeof(uuid)) != 0) {
		check_add_fix(
			finding, false,
			"write %s=UUID=... (without an initramfs PARTUUID=...) instead; 'blkid %s' "
			"tells it",
			is_root ? "root" : "resume", name);
		return;
	}
	edits_add(edits, value, uuid);
	check_add_fix(finding, true, "write %s=%s instead", is_root ? "root" : "resume", uuid);
}

/* grub-mkconfig writes root=UUID= by itself, unless it is told not to. */
static void judge_defaults(struct check_context *context, const char *path, const char *text,
			   struct edits *edits)
{
	struct shell_line line;
	char value[16];

	while (shell_next(&text, &line)) {
		span_copy(line.value, value, sizeof(value));
		if (!span_is(line.name, "GRUB_DISABLE_LINUX_UUID") || strcmp(value, "true") != 0)
			continue;
		check_add_fix(check_add(context, "grub-uuid", CHECK_WARNING, path,
					"GRUB_DISABLE_LINUX_UUID=true: the next grub-mkconfig "
					"writes the root's device by name"),
			      true, "write GRUB_DISABLE_LINUX_UUID=false");
		edits_add(edits, line.value, "false");
	}
}

static void check_file(struct check_context *context, const struct bootargs_file *file)
{
	struct span spans[BOOTARGS_SPANS_MAX], word;
	char *text = plan_read(context, file->path);
	struct edits edits;
	unsigned int count;

	if (!text)
		return;
	edits_init(&edits, text);
	count = bootargs_find(file->kind, text, spans);
	for (unsigned int i = 0; i < count; i++)
		while (text_word(&spans[i], &word))
			judge_word(context, file->path, word, &edits);
	if (file->kind == BOOTARGS_DEFAULTS)
		judge_defaults(context, file->path, text, &edits);
	bootargs_plan(context, file, &edits);
	free(text);
}

/* What the running kernel was given, and no file that is known has: another boot loader. */
static void check_running(struct check_context *context)
{
	char *text = root_read(&context->root, "/proc/cmdline");
	struct span args, word;
	char name[256];

	if (!text)
		return;
	args = (struct span){.at = text, .length = strlen(text)};
	while (text_word(&args, &word)) {
		if (!span_starts(word, "root=/dev/") || !span_copy(word, name, sizeof(name)) ||
		    device_name_judge(name + 5, context->target) != DEVICE_NAME_CHANGES)
			continue;
		check_add_fix(
			check_add(context, "boot-root", CHECK_ERROR, "/proc/cmdline",
				  "%s, and no boot loader's file is known here: on the target "
				  "that device has another name",
				  name),
			false, "have the boot loader write root=UUID=...");
	}
	free(text);
}

void check_boot(struct check_context *context)
{
	static const struct {
		const char *word, *text;
	} arguments[] = {
		{"xen_nopv", "the Xen drivers are not used: slow, four disks at most"},
		{"nopv", "the Xen drivers are not used: slow, four disks at most"},
		{"xen_emul_unplug=never", "disks are the emulated ones: slow, four at most"},
	};
	struct bootargs_file *files = calloc(BOOTARGS_FILES_MAX, sizeof(*files));
	unsigned int count = files ? bootargs_files(&context->root, files) : 0;

	for (unsigned int i = 0; i < count; i++)
		check_file(context, &files[i]);
	free(files);
	if (count == 0)
		check_running(context);
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++)
		if (context->target == CHECK_TARGET_XEN && bootargs_has(context, arguments[i].word))
			check_add_fix(check_add(context, "boot-argument", CHECK_WARNING,
						arguments[i].word,
						"this argument is on the kernel's command line: %s",
						arguments[i].text),
				      false, "remove it from the boot loader's configuration");
}
