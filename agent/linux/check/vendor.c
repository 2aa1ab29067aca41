// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of what this machine's hypervisor brought along, and what the target's would like to find. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/check.h"

struct tool {
	const char *path, *name, *how;
};

/* Harmless on another hypervisor, but for services that fail at each start. */
static const struct tool others[] = {
	{"/usr/bin/vmtoolsd", "open-vm-tools",
	 "remove it on the target (not ubuntu-server with it)"},
	{"/etc/vmware-tools", "VMware Tools", "uninstall them on the target"},
	{"/usr/sbin/VBoxService", "VirtualBox guest additions", "uninstall them on the target"},
	{"/usr/bin/prltoolsd", "Parallels tools", "uninstall them on the target"},
	{"/usr/sbin/hv_kvp_daemon", "Hyper-V daemons", "remove them on the target"},
};

void check_vendor(struct check_context *context)
{
	bool is_xen = context->target == CHECK_TARGET_XEN;
	char *text;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (root_exists(&context->root, others[i].path))
			check_add_fix(check_add(context, "vendor-tools", CHECK_INFO, others[i].path,
						"%s: of no use on the target", others[i].name),
				      false, "%s", others[i].how);
	if (is_xen && !root_exists(&context->root, "/usr/sbin/xe-daemon"))
		check_add_fix(
			check_add(context, "guest-tools", CHECK_INFO, "xe-guest-utilities",
				  "not installed: without them the target's host does not show "
				  "the machine's addresses, and cannot shut it down cleanly"),
			false, "install xe-guest-utilities (before or after the move)");
	if (!is_xen && !root_exists(&context->root, "/usr/sbin/qemu-ga") &&
	    !root_exists(&context->root, "/usr/bin/qemu-ga"))
		check_add_fix(
			check_add(context, "guest-tools", CHECK_INFO, "qemu-guest-agent",
				  "not installed: the target's host cannot freeze file systems "
				  "for snapshots"),
			false, "install qemu-guest-agent (before or after the move)");
	text = root_read(&context->root, "/etc/X11/xorg.conf");
	if (text && (strstr(text, "\"vmware\"") || strstr(text, "\"vboxvideo\"") ||
		     strstr(text, "\"qxl\"") || strstr(text, "\"nvidia\"")))
		check_add_fix(check_add(context, "display-driver", CHECK_WARNING,
					"/etc/X11/xorg.conf",
					"the display driver that is set here is not the target's"),
			      false, "write Driver \"modesetting\", or remove the file");
	free(text);
}
