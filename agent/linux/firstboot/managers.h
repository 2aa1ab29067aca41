/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses in the form of each program that manages a network. NetworkManager and systemd-networkd (also
 * when netplan writes for them) get a file of their own that stands before all others, so nothing that is there
 * is edited. ifupdown adds up all stanzas of a card, and an ifcfg file is the card's: these are rewritten.
 */
#ifndef BLKFERRY_AGENT_FIRSTBOOT_MANAGERS_H
#define BLKFERRY_AGENT_FIRSTBOOT_MANAGERS_H

#include <limits.h>

#include "agent/linux/firstboot/nicmap.h"

enum manager {
	MANAGER_IFUPDOWN = 1,
	MANAGER_NETWORKMANAGER,
	MANAGER_NETWORKD,
	MANAGER_IFCFG, /* the old network scripts */
};

/* Who manages the card of that name, and in which file (ifupdown). 0 or -ENOENT. */
int manager_find(const struct check_root *root, const char *name, enum manager *ret_manager,
		 char ret_file[PATH_MAX]);
/* The file that gets the addresses: for ifupdown the one that manager_find told. */
void manager_path(enum manager manager, const char *name, char path[PATH_MAX]);
/* Its new content, which the caller frees; NULL: no memory. old is what is there ("" for nothing). */
char *manager_write(enum manager manager, const struct nicmap_nic *nic, const char *old);

/* interfaces(5) with the stanzas of a card replaced by what the mapping says. What has nothing to do with
 * addresses (hooks, MTU) stays. */
char *interfaces_rewrite(const char *old, const struct nicmap_nic *nic);

#endif
