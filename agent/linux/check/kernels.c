// SPDX-License-Identifier: GPL-2.0-or-later
/* Kernels, their drivers, and lists of modules; see kernels.h. */
#include "agent/linux/check/kernels.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/text.h"

static const struct driver xen_drivers[] = {
	{"xen-blkfront", "CONFIG_XEN_BLKDEV_FRONTEND", "disks", CHECK_ERROR},
	{"xen-netfront", "CONFIG_XEN_NETDEV_FRONTEND", "network cards", CHECK_INFO},
	{.module = NULL},
};
static const struct driver kvm_drivers[] = {
	{"virtio_pci", "CONFIG_VIRTIO_PCI", "all virtio devices", CHECK_ERROR},
	{"virtio_blk", "CONFIG_VIRTIO_BLK", "disks", CHECK_ERROR},
	{"virtio_scsi", "CONFIG_SCSI_VIRTIO", "SCSI disks", CHECK_WARNING},
	{"virtio_net", "CONFIG_VIRTIO_NET", "network cards", CHECK_INFO},
	{.module = NULL},
};

const struct driver *drivers_of(enum check_target target)
{
	return target == CHECK_TARGET_KVM ? kvm_drivers : xen_drivers;
}

static void find_initramfs(const struct check_root *root, struct kernel *kernel)
{
	static const char *const ends[][2] = {{"/boot/initrd.img-", ""},
					      {"/boot/initramfs-", ".img"},
					      {"/boot/initrd-", ""},
					      {"/boot/initramfs-", ""}};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		snprintf(kernel->initramfs, sizeof(kernel->initramfs), "%s%s%s", ends[i][0],
			 kernel->version, ends[i][1]);
		if (root_exists(root, kernel->initramfs))
			return;
	}
	kernel->initramfs[0] = '\0';
}

void kernels_find(const struct check_root *root, struct kernels *ret_kernels)
{
	struct root_names names;

	*ret_kernels = (struct kernels){.list = NULL};
	root_list(root, "/boot", &names);
	ret_kernels->list = calloc(names.count + 1, sizeof(*ret_kernels->list));
	for (unsigned int i = 0; ret_kernels->list && i < names.count; i++) {
		struct kernel *kernel = &ret_kernels->list[ret_kernels->count];
		const char *name = names.names[i];

		if (strncmp(name, "vmlinuz-", 8) != 0 || strlen(name + 8) >= KERNEL_NAME_MAX ||
		    !name[8])
			continue;
		snprintf(kernel->version, sizeof(kernel->version), "%s", name + 8);
		kernel->is_rescue = strstr(name, "rescue") != NULL;
		find_initramfs(root, kernel);
		ret_kernels->count++;
	}
	root_names_free(&names);
}

void kernels_fini(struct kernels *kernels)
{
	free(kernels->list);
	*kernels = (struct kernels){.list = NULL};
}

/* "xen_blkfront.ko.xz" or "xen-blkfront.ko:" is xen-blkfront. */
static bool is_module(struct span name, const char *module)
{
	static const char *const ends[] = {".ko", ".ko.xz", ".ko.zst", ".ko.gz"};
	size_t length = strlen(module);

	if (name.length > 0 && name.at[name.length - 1] == ':')
		name.length--;
	if (name.length < length)
		return false;
	for (size_t i = 0; i < length; i++)
		if ((name.at[i] == '_' ? '-' : name.at[i]) != (module[i] == '_' ? '-' : module[i]))
			return false;
	name.at += length;
	name.length -= length;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (span_is(name, ends[i]))
			return true;
	return false;
}

bool modules_list_has(const char *list, const char *module)
{
	const char *from = list;

	for (const char *at = list;; at++) {
		if (*at == '/') {
			from = at + 1;
		} else if (*at == '\0' || isspace((unsigned char)*at)) {
			struct span name = {.at = from, .length = (size_t)(at - from)};

			if (is_module(name, module))
				return true;
			if (*at == '\0')
				return false;
			from = at + 1;
		}
	}
}

static bool is_in(const struct check_root *root, const char *version, const char *file,
		  const char *module, bool *ret_is_there)
{
	char path[PATH_MAX], *list;
	bool is_found;

	snprintf(path, sizeof(path), "/lib/modules/%s/%s", version, file);
	list = root_read(root, path);
	*ret_is_there = list != NULL;
	is_found = list && modules_list_has(list, module);
	free(list);
	return is_found;
}

char *kernel_read_config(const struct check_root *root, const char *version)
{
	static const char *const formats[][2] = {{"/boot/config-", ""},
						 {"/lib/modules/", "/config"},
						 {"/lib/modules/", "/build/.config"}};
	char *config = NULL;

	for (size_t i = 0; !config && i < sizeof(formats) / sizeof(formats[0]); i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s%s%s", formats[i][0], version, formats[i][1]);
		config = root_read(root, path);
	}
	return config;
}

char kernel_config_value(const char *config, const char *name)
{
	struct span line;
	size_t length = strlen(name);

	while (text_line(&config, &line))
		if (span_starts(line, name) && line.length > length + 1 && line.at[length] == '=')
			return line.at[length + 1] == 'm' ? 'm' : 'y';
	return 'n';
}

enum driver_kind kernel_find_driver(const struct check_root *root, const char *version,
				    const struct driver *driver)
{
	bool has_builtin, has_dep;
	char *config;
	char value = '?';

	if (is_in(root, version, "modules.builtin", driver->module, &has_builtin))
		return DRIVER_BUILT_IN;
	if (is_in(root, version, "modules.dep", driver->module, &has_dep))
		return DRIVER_MODULE;
	if (has_builtin && has_dep)
		return DRIVER_NONE;
	config = kernel_read_config(root, version);
	if (config)
		value = kernel_config_value(config, driver->config);
	free(config);
	return value == 'y' ? DRIVER_BUILT_IN : value == 'n' ? DRIVER_NONE : DRIVER_UNKNOWN;
}
