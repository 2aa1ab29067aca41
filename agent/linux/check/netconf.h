/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network cards and the files that configure them by name: ifupdown, NetworkManager, ifcfg files,
 * systemd-networkd, netplan.
 */
#ifndef BLKFERRY_AGENT_CHECK_NETCONF_H
#define BLKFERRY_AGENT_CHECK_NETCONF_H

#include <limits.h>
#include <stdbool.h>

#include "agent/linux/check/root.h"
#include "agent/linux/check/text.h"

#define NIC_NAME_MAX 32 /* the kernel's limit is 16 */
#define NIC_MAC_MAX  20
#define NICS_MAX     64
#define NIC_USES_MAX 256

/* A physical card of this machine. */
struct nic {
	char name[NIC_NAME_MAX];
	char mac[NIC_MAC_MAX]; /* lower case; "" when there is none */
};
unsigned int nics_find(const struct check_root *root, struct nic ret_nics[NICS_MAX]);

/* A file that configures a card by its name. */
struct nic_use {
	char name[NIC_NAME_MAX];
	char file[PATH_MAX];
};
struct nic_uses {
	struct nic_use *list;
	unsigned int count;
};
void nic_uses_find(const struct check_root *root, struct nic_uses *ret_uses);
void nic_uses_fini(struct nic_uses *uses);

/* Called by the parsers for each name that a text configures. */
typedef void nic_name_fn(void *context, struct span name);
void netconf_interfaces(const char *text, nic_name_fn *tell, void *context);
void netconf_keyfile(const char *text, nic_name_fn *tell, void *context);
void netconf_ifcfg(const char *text, nic_name_fn *tell, void *context);
void netconf_networkd(const char *text, nic_name_fn *tell, void *context);
void netconf_netplan(const char *text, nic_name_fn *tell, void *context);

/* Gives the card with that address that name: a rule rather than a .link file, since a rule also renames a
 * card that the initramfs has named already, and every udev has it. DRIVERS: only cards, not the VLANs on
 * them, which have their address, too. */
#define NETCONF_RULES_PATH "/etc/udev/rules.d/70-blkferry-net.rules" /* where ours are */
#define NETCONF_RULE                                                                               \
	"SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{address}==\"%s\", "            \
	"ATTR{type}==\"1\", NAME=\"%s\"\n"

/* Does an udev rule, or a .link file, give the card with that address that name? */
bool netconf_rule_binds(const char *text, const char *mac, const char *name);
bool netconf_link_binds(const char *text, const char *mac, const char *name);
/* Six pairs of hexadecimal digits with colons between. */
bool netconf_is_mac(const char *text);

#endif
