// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of the kernels: the machine's kind, the drivers that they have, what keeps these from loading. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/linux/check/kernels.h"
#include "agent/linux/check/text.h"

/* Programs of the root say for which machine they are; what runs here may be another. */
static void check_machine(struct check_context *context)
{
	static const char *const programs[] = {"/bin/sh", "/sbin/init", "/usr/bin/env"};

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		Elf64_Ehdr head;
		ssize_t got;
		int fd;

		if (root_open_file(&context->root, programs[i], O_RDONLY | O_NONBLOCK, &fd) != 0)
			continue;
		got = read(fd, &head, sizeof(head));
		close(fd);
		if (got != (ssize_t)sizeof(head) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
			continue;
		if (head.e_machine != EM_X86_64)
			check_add(context, "machine-type", CHECK_ERROR, programs[i],
				  "the system is not for x86-64 (ELF machine %u); the target runs "
				  "x86-64 only",
				  head.e_machine);
		return;
	}
}

static void check_drivers(struct check_context *context, const struct kernel *kernel)
{
	for (const struct driver *driver = drivers_of(context->target); driver->module; driver++) {
		enum driver_kind kind = kernel_find_driver(&context->root, kernel->version, driver);
		struct finding *finding;

		if (kind != DRIVER_NONE)
			continue;
		finding = check_add(context, "kernel-driver",
				    driver->if_not_in_initramfs == CHECK_WARNING ? CHECK_WARNING
										 : CHECK_ERROR,
				    kernel->version,
				    "this kernel has no driver %s: it sees no %s of the target",
				    driver->module, driver->is_for);
		check_add_fix(finding, false,
			      "install a kernel that has it (a generic one, not one for clouds or "
			      "another hypervisor), or remove this one");
	}
}

static void check_xen_support(struct check_context *context, const struct kernel *kernel)
{
	char *config = kernel_read_config(&context->root, kernel->version);

	if (config && kernel_config_value(config, "CONFIG_XEN_PVHVM") != 'y')
		check_add_fix(check_add(context, "kernel-xen", CHECK_ERROR, kernel->version,
					"this kernel was built without CONFIG_XEN_PVHVM: on Xen it "
					"has emulated devices only, which are slow, and four disks "
					"at most"),
			      false, "install a kernel with CONFIG_XEN_PVHVM=y");
	free(config);
}

/* "blacklist X" and "install X /bin/false" in modprobe.d keep a driver from loading. */
static void check_blacklist(struct check_context *context, const char *path)
{
	char *text = root_read(&context->root, path);
	struct table_cursor cursor = {.at = text ? text : ""};
	struct table_line line;

	while (table_next(&cursor, &line)) {
		bool is_install = span_is(line.field[0], "install") && line.fields > 2;

		if (line.fields < 2 || (!span_is(line.field[0], "blacklist") && !is_install) ||
		    (is_install && !memmem(line.field[2].at, line.field[2].length, "false", 5) &&
		     !memmem(line.field[2].at, line.field[2].length, "true", 4)))
			continue;
		for (const struct driver *driver = drivers_of(context->target); driver->module;
		     driver++) {
			char name[80], subject[CHECK_SUBJECT_MAX];

			span_copy(line.field[1], name, sizeof(name) - 4);
			strcat(name, ".ko");
			if (!modules_list_has(name, driver->module))
				continue;
			snprintf(subject, sizeof(subject), "%.170s:%u", path, line.number);
			check_add_fix(check_add(context, "driver-blacklist", CHECK_ERROR, subject,
						"%s is kept from loading: the target's %s would "
						"not be seen",
						driver->module, driver->is_for),
				      false, "remove that line, and build the initramfs again");
		}
	}
	free(text);
}

void check_kernel(struct check_context *context)
{
	struct kernels kernels;
	struct root_names names;

	check_machine(context);
	kernels_find(&context->root, &kernels);
	if (kernels.count == 0)
		check_add_fix(
			check_add(context, "kernel-none", CHECK_ERROR, "/boot",
				  "there is no /boot/vmlinuz-VERSION: it cannot be told which "
				  "kernels can be booted, and whether they have the target's "
				  "drivers"),
			false, "mount /boot; if the kernel lies elsewhere, look yourself");
	for (unsigned int i = 0; i < kernels.count; i++) {
		if (kernels.list[i].is_rescue)
			continue;
		check_drivers(context, &kernels.list[i]);
		if (context->target == CHECK_TARGET_XEN)
			check_xen_support(context, &kernels.list[i]);
	}
	kernels_fini(&kernels);
	root_list(&context->root, "/etc/modprobe.d", &names);
	for (unsigned int i = 0; i < names.count; i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "/etc/modprobe.d/%s", names.names[i]);
		check_blacklist(context, path);
	}
	root_names_free(&names);
}
