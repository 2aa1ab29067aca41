// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of the firmware: what it starts on the target, where the boot entries of this machine are gone. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/linux/check/check.h"
#include "agent/linux/check/plan.h"

/* Where the EFI system partition is mounted; false when nowhere that is known. */
static bool find_esp(struct check_context *context, char *ret_path, size_t size)
{
	static const char *const places[] = {"/boot/efi", "/efi", "/boot"};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char path[PATH_MAX], found[PATH_MAX];

		snprintf(path, sizeof(path), "%s/EFI", places[i]);
		if (root_find_nocase(&context->root, path, found, sizeof(found)) == 0 &&
		    snprintf(ret_path, size, "%s", found) < (int)size)
			return true;
	}
	return false;
}

static bool find_file(struct check_context *context, const char *folder, const char *name,
		      char *ret_path, size_t size)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path) &&
	       root_find_nocase(&context->root, path, ret_path, size) == 0;
}

/* Plans a copy of a file of the vendor's folder into the fallback folder, if there is one of that name. */
static bool copy_to_fallback(struct check_context *context, const char *vendor, const char *efi,
			     const char *name, const char *as)
{
	char from[PATH_MAX], to[PATH_MAX];

	if (!find_file(context, vendor, name, from, sizeof(from)))
		return false;
	if (snprintf(to, sizeof(to), "%s/BOOT/%s", efi, as) >= (int)sizeof(to))
		return false;
	/* FAT: the folder may be there as "Boot". */
	if (find_file(context, efi, "BOOT", to, sizeof(to) - strlen(as) - 1)) {
		strcat(to, "/");
		strcat(to, as);
	}
	return plan_copy(context, from, to);
}

/* The shim starts the grubx64.efi beside it, which finds its configuration in the vendor's folder. */
static bool plan_fallback(struct check_context *context, const char *efi)
{
	struct root_names names;
	bool is_planned = false;

	root_list(&context->root, efi, &names);
	for (unsigned int i = 0; i < names.count && !is_planned; i++) {
		char vendor[PATH_MAX];

		if (snprintf(vendor, sizeof(vendor), "%s/%s", efi, names.names[i]) >=
		    (int)sizeof(vendor))
			continue;
		if (copy_to_fallback(context, vendor, efi, "shimx64.efi", "BOOTX64.EFI")) {
			is_planned = copy_to_fallback(context, vendor, efi, "grubx64.efi",
						      "grubx64.efi");
			(void)copy_to_fallback(context, vendor, efi, "mmx64.efi", "mmx64.efi");
		} else {
			is_planned = copy_to_fallback(context, vendor, efi, "grubx64.efi",
						      "BOOTX64.EFI") ||
				     copy_to_fallback(context, vendor, efi, "systemd-bootx64.efi",
						      "BOOTX64.EFI");
		}
	}
	root_names_free(&names);
	return is_planned;
}

/* The variable's value follows four bytes of attributes. */
static bool is_secure_boot_on(struct check_context *context)
{
	char value[5] = {0};
	ssize_t got;
	int fd;

	if (root_open_file(&context->root,
			   "/sys/firmware/efi/efivars/"
			   "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
			   O_RDONLY | O_NONBLOCK, &fd) != 0)
		return false;
	got = read(fd, value, sizeof(value));
	close(fd);
	return got == (ssize_t)sizeof(value) && value[4] == 1;
}

void check_firmware(struct check_context *context)
{
	bool is_uefi = root_is_folder(&context->root, "/sys/firmware/efi");
	char efi[PATH_MAX], path[PATH_MAX];

	if (!find_esp(context, efi, sizeof(efi))) {
		if (is_uefi)
			check_add_fix(check_add(context, "uefi-partition", CHECK_ERROR, "UEFI",
						"the EFI system partition is not mounted on "
						"/boot/efi, /efi or /boot: it cannot be told "
						"whether the target's firmware finds a loader"),
				      false, "mount it");
		return;
	}
	/* A partition that is there, on a machine that was started by its BIOS, is not needed. */
	if (!is_uefi && root_is_folder(&context->root, "/sys/firmware"))
		return;
	check_add(context, "uefi", CHECK_INFO, "UEFI",
		  "this system starts by UEFI: the target machine must have UEFI firmware, too");
	if (!find_file(context, efi, "BOOT/BOOTX64.EFI", path, sizeof(path)))
		check_add_fix(check_add(context, "uefi-fallback", CHECK_ERROR, efi,
					"there is no BOOT/BOOTX64.EFI: boot entries stay behind "
					"with this machine's firmware, and without them only that "
					"loader is found"),
			      plan_fallback(context, efi),
			      "copy shimx64.efi (as BOOTX64.EFI) and grubx64.efi of the "
			      "distribution's folder into %s/BOOT",
			      efi);
	if (is_secure_boot_on(context))
		check_add_fix(check_add(context, "secure-boot", CHECK_WARNING, "UEFI",
					"secure boot is on here: the target's firmware needs the "
					"keys, or secure boot off"),
			      false,
			      "switch it on at the target only after its certificates are "
			      "installed there");
}
