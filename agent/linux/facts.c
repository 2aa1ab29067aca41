// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the machine is, so that its target can be made alike. Nothing here is needed for replication: what
 * cannot be read is left out, or guessed on the side of more.
 */
#include "agent/linux/facts.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "agent/platform.h"
#include "common/os_file.h"
#include "common/units.h"

#define MEMORY_STEP_BYTES (256 * MIB)
#define ETHERNET	  1
#define SECURE_BOOT	  "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

/* The sum of the memory blocks is what the machine was given; what the kernel calls its memory is less. */
static uint64_t memory_of_blocks(const struct system_roots *roots)
{
	char path[SYSFS_PATH_MAX], text[32];
	uint64_t block_bytes, count = 0;
	struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/devices/system/memory/block_size_bytes", roots->sys);
	if (sysfs_read_text(path, text, sizeof(text)))
		return 0;
	block_bytes = strtoull(text, NULL, 16);
	snprintf(path, sizeof(path), "%s/devices/system/memory", roots->sys);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		char online[SYSFS_PATH_MAX];

		if (strncmp(entry->d_name, "memory", 6) != 0)
			continue;
		snprintf(online, sizeof(online), "%s/devices/system/memory/%.32s/online",
			 roots->sys, entry->d_name);
		if (sysfs_read_text(online, text, sizeof(text)) == 0 && strcmp(text, "1") == 0)
			count++;
	}
	if (folder)
		closedir(folder);
	return block_bytes <= GIB * 64 ? block_bytes * count : 0;
}

static uint64_t memory_bytes(const struct system_roots *roots)
{
	uint64_t bytes = memory_of_blocks(roots);
	struct sysinfo info;

	if (bytes == 0 && sysinfo(&info) == 0)
		bytes = ((uint64_t)info.totalram * info.mem_unit + MEMORY_STEP_BYTES - 1) /
			MEMORY_STEP_BYTES * MEMORY_STEP_BYTES;
	return bytes ? bytes : MEMORY_STEP_BYTES;
}

/* efivarfs puts four bytes of attributes before the value. */
static bool is_secure_boot(const struct system_roots *roots)
{
	char path[SYSFS_PATH_MAX];
	char *value;
	size_t size;
	bool is_on;

	snprintf(path, sizeof(path), "%s/firmware/efi/efivars/" SECURE_BOOT, roots->sys);
	if (os_file_read(path, 16, &value, &size))
		return false;
	is_on = size == 5 && value[4] == 1;
	free(value);
	return is_on;
}

struct interface {
	struct wire_nic nic;
	uint64_t index; /* the kernel's */
};

static int read_net(const struct system_roots *roots, const char *name, const char *what,
		    char *ret_text, size_t size)
{
	char path[SYSFS_PATH_MAX];

	snprintf(path, sizeof(path), "%s/class/net/%.16s/%s", roots->sys, name, what);
	return sysfs_read_text(path, ret_text, size);
}

/* Hardware, or what the hypervisor says is: no bridge, bond, VLAN or tunnel. */
static bool read_interface(const struct system_roots *roots, const char *name,
			   struct interface *ret_interface)
{
	uint8_t *mac = ret_interface->nic.mac;
	char path[SYSFS_PATH_MAX], text[64];
	uint64_t type;

	snprintf(path, sizeof(path), "%s/class/net/%.16s/device", roots->sys, name);
	if (!os_file_exists(path) || read_net(roots, name, "type", text, sizeof(text)) ||
	    sysfs_parse_number(text, &type) || type != ETHERNET ||
	    read_net(roots, name, "ifindex", text, sizeof(text)) ||
	    sysfs_parse_number(text, &ret_interface->index))
		return false;
	/* In a bond an interface wears another's address. */
	if (read_net(roots, name, "bonding_slave/perm_hwaddr", text, sizeof(text)) &&
	    read_net(roots, name, "address", text, sizeof(text)))
		return false;
	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &mac[0], &mac[1], &mac[2], &mac[3],
		   &mac[4], &mac[5]) != 6)
		return false;
	snprintf(ret_interface->nic.name, sizeof(ret_interface->nic.name), "%.15s", name);
	return true;
}

static int compare_index(const void *a, const void *b)
{
	const struct interface *left = a, *right = b;

	return left->index < right->index ? -1 : left->index > right->index;
}

static void read_interfaces(const struct system_roots *roots, struct wire_machine *machine)
{
	struct interface found[WIRE_NICS_MAX] = {0};
	char path[SYSFS_PATH_MAX];
	unsigned int count = 0;
	struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/class/net", roots->sys);
	folder = opendir(path);
	while (folder && count < WIRE_NICS_MAX && (entry = readdir(folder)))
		if (entry->d_name[0] != '.' && read_interface(roots, entry->d_name, &found[count]))
			count++;
	if (folder)
		closedir(folder);
	qsort(found, count, sizeof(found[0]), compare_index);
	for (unsigned int i = 0; i < count; i++)
		machine->nic[i] = found[i].nic;
	machine->nics = (uint16_t)count;
}

void facts_read_from(const struct system_roots *roots, struct wire_machine *ret_machine)
{
	unsigned int cores = host_cores();
	char path[SYSFS_PATH_MAX];

	memset(ret_machine, 0, sizeof(*ret_machine));
	snprintf(path, sizeof(path), "%s/firmware/efi", roots->sys);
	ret_machine->memory_bytes = memory_bytes(roots);
	ret_machine->cpus = (uint16_t)(cores < WIRE_CPUS_MAX ? cores : WIRE_CPUS_MAX);
	ret_machine->firmware = os_file_exists(path) ? WIRE_FIRMWARE_UEFI : WIRE_FIRMWARE_BIOS;
	ret_machine->flags = is_secure_boot(roots) ? WIRE_MACHINE_SECURE_BOOT : 0;
	read_interfaces(roots, ret_machine);
}

void facts_read(struct wire_machine *ret_machine)
{
	facts_read_from(&system_roots_default, ret_machine);
}
