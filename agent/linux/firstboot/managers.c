// SPDX-License-Identifier: GPL-2.0-or-later
/* Files for the programs that manage a network; see managers.h. */
#include "agent/linux/firstboot/managers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "# Written by 'blkferry-agent first-boot'.\n"

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool netplan_is_for_networkmanager(const struct check_root *root, const char *file)
{
	char *text = root_read(root, file);
	bool is_it = text && strstr(text, "renderer: NetworkManager");

	free(text);
	return is_it;
}

int manager_find(const struct check_root *root, const char *name, enum manager *ret_manager,
		 char ret_file[PATH_MAX])
{
	bool has_nm = root_has_program(root, "NetworkManager");
	struct nic_uses uses;
	int error = -ENOENT;

	nic_uses_find(root, &uses);
	for (unsigned int i = 0; error && i < uses.count; i++) {
		const char *file = uses.list[i].file;

		if (strcmp(uses.list[i].name, name) != 0)
			continue;
		error = 0;
		snprintf(ret_file, PATH_MAX, "%s", file);
		if (begins(file, "/etc/network/"))
			*ret_manager = MANAGER_IFUPDOWN;
		else if (begins(file, "/etc/NetworkManager/") ||
			 (begins(file, "/etc/sysconfig/") && has_nm) ||
			 (begins(file, "/etc/netplan/") &&
			  netplan_is_for_networkmanager(root, file)))
			*ret_manager = MANAGER_NETWORKMANAGER;
		else if (begins(file, "/etc/sysconfig/"))
			*ret_manager = MANAGER_IFCFG;
		else
			*ret_manager = MANAGER_NETWORKD;
	}
	nic_uses_fini(&uses);
	if (!error)
		return 0;
	/* Configured by a pattern, or not at all: who is there? */
	if (has_nm)
		*ret_manager = MANAGER_NETWORKMANAGER;
	else if (root_exists(root, "/etc/systemd/system/multi-user.target.wants/"
				   "systemd-networkd.service") ||
		 root_is_folder(root, "/etc/netplan"))
		*ret_manager = MANAGER_NETWORKD;
	else
		return -ENOENT;
	return 0;
}

void manager_path(enum manager manager, const char *name, char path[PATH_MAX])
{
	switch (manager) {
	case MANAGER_NETWORKMANAGER:
		snprintf(path, PATH_MAX,
			 "/etc/NetworkManager/system-connections/blkferry-%s.nmconnection", name);
		break;
	case MANAGER_NETWORKD:
		snprintf(path, PATH_MAX, "/etc/systemd/network/05-blkferry-%s.network", name);
		break;
	case MANAGER_IFCFG:
		snprintf(path, PATH_MAX, "/etc/sysconfig/network-scripts/ifcfg-%s", name);
		break;
	case MANAGER_IFUPDOWN:
		break;
	}
}

static void write_networkd(FILE *out, const struct nicmap_nic *nic)
{
	fprintf(out, HEAD "[Match]\nName=%s\n\n[Network]\nDHCP=%s\n", nic->name,
		nic->is_dhcp ? "yes" : "no");
	for (unsigned int i = 0; i < nic->addresses.count; i++)
		fprintf(out, "Address=%s\n", nic->addresses.text[i]);
	for (unsigned int i = 0; i < nic->gateways.count; i++)
		fprintf(out, "Gateway=%s\n", nic->gateways.text[i]);
	for (unsigned int i = 0; i < nic->dns.count; i++)
		fprintf(out, "DNS=%s\n", nic->dns.text[i]);
	if (nic->search[0])
		fprintf(out, "Domains=%s\n", nic->search);
}

static unsigned int count_family(const struct address_list *list, bool is_v6)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < list->count; i++)
		count += address_is_v6(list->text[i]) == is_v6;
	return count;
}

static void write_keyfile_family(FILE *out, const struct nicmap_nic *nic, bool is_v6)
{
	unsigned int number = 0;
	bool has_any = count_family(&nic->addresses, is_v6) > 0;

	fprintf(out, "\n[ipv%c]\nmethod=%s\n", is_v6 ? '6' : '4',
		has_any			? "manual"
		: nic->is_dhcp || is_v6 ? "auto"
					: "disabled");
	for (unsigned int i = 0; i < nic->addresses.count; i++)
		if (address_is_v6(nic->addresses.text[i]) == is_v6)
			fprintf(out, "address%u=%s\n", ++number, nic->addresses.text[i]);
	for (unsigned int i = 0; i < nic->gateways.count; i++)
		if (address_is_v6(nic->gateways.text[i]) == is_v6)
			fprintf(out, "gateway=%s\n", nic->gateways.text[i]);
	if (count_family(&nic->dns, is_v6) > 0) {
		fputs("dns=", out);
		for (unsigned int i = 0; i < nic->dns.count; i++)
			if (address_is_v6(nic->dns.text[i]) == is_v6)
				fprintf(out, "%s;", nic->dns.text[i]);
		fputc('\n', out);
	}
	if (nic->search[0] && !is_v6) {
		fputs("dns-search=", out);
		for (const char *c = nic->search; *c; c++)
			fputc(*c == ' ' ? ';' : *c, out);
		fputs(";\n", out);
	}
}

/* Of the connections that fit a card, the one of the highest priority is taken. */
static void write_keyfile(FILE *out, const struct nicmap_nic *nic)
{
	fprintf(out,
		HEAD "[connection]\nid=blkferry-%s\ntype=ethernet\ninterface-name=%s\n"
		     "autoconnect-priority=999\n",
		nic->name, nic->name);
	write_keyfile_family(out, nic, false);
	write_keyfile_family(out, nic, true);
}

static void write_ifcfg(FILE *out, const struct nicmap_nic *nic)
{
	unsigned int four = 0, six = 0;

	fprintf(out, HEAD "DEVICE=%s\nTYPE=Ethernet\nONBOOT=yes\nNM_CONTROLLED=no\nBOOTPROTO=%s\n",
		nic->name, nic->is_dhcp ? "dhcp" : "none");
	for (unsigned int i = 0; i < nic->addresses.count; i++) {
		const char *address = nic->addresses.text[i], *slash = strchr(address, '/');

		if (!address_is_v6(address)) {
			fprintf(out, "IPADDR%u=%.*s\nPREFIX%u=%s\n", four, (int)(slash - address),
				address, four, slash + 1);
			four++;
		} else if (six++ == 0) {
			fprintf(out, "IPV6INIT=yes\nIPV6ADDR=%s\n", address);
		} else {
			fprintf(out, "IPV6ADDR_SECONDARIES=\"$IPV6ADDR_SECONDARIES %s\"\n",
				address);
		}
	}
	for (unsigned int i = 0; i < nic->gateways.count; i++)
		fprintf(out, "%s=%s\n",
			address_is_v6(nic->gateways.text[i]) ? "IPV6_DEFAULTGW" : "GATEWAY",
			nic->gateways.text[i]);
	for (unsigned int i = 0; i < nic->dns.count; i++)
		fprintf(out, "DNS%u=%s\n", i + 1, nic->dns.text[i]);
	if (nic->search[0])
		fprintf(out, "DOMAIN=\"%s\"\n", nic->search);
}

char *manager_write(enum manager manager, const struct nicmap_nic *nic, const char *old)
{
	char *text = NULL;
	size_t size;
	FILE *out;

	if (manager == MANAGER_IFUPDOWN)
		return interfaces_rewrite(old, nic);
	out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	if (manager == MANAGER_NETWORKMANAGER)
		write_keyfile(out, nic);
	else if (manager == MANAGER_NETWORKD)
		write_networkd(out, nic);
	else
		write_ifcfg(out, nic);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
