// SPDX-License-Identifier: GPL-2.0-or-later
/* Which network cards there are, and which files configure them; see netconf.h. */
#include "agent/linux/check/netconf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned int nics_find(const struct check_root *root, struct nic ret_nics[NICS_MAX])
{
	struct root_names names;
	unsigned int count = 0;

	root_list(root, "/sys/class/net", &names);
	for (unsigned int i = 0; i < names.count && count < NICS_MAX; i++) {
		struct nic *nic = &ret_nics[count];
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "/sys/class/net/%s/device", names.names[i]);
		if (strlen(names.names[i]) >= NIC_NAME_MAX || !root_exists(root, path))
			continue; /* a bridge, a VLAN, a tunnel */
		snprintf(nic->name, sizeof(nic->name), "%s", names.names[i]);
		/* In a bond all have one address; the card's own is kept here. */
		snprintf(path, sizeof(path), "/sys/class/net/%s/bonding_slave/perm_hwaddr",
			 nic->name);
		root_read_line(root, path, nic->mac, sizeof(nic->mac));
		if (!nic->mac[0]) {
			snprintf(path, sizeof(path), "/sys/class/net/%s/address", nic->name);
			root_read_line(root, path, nic->mac, sizeof(nic->mac));
		}
		for (char *c = nic->mac; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		if (!netconf_is_mac(nic->mac) || !strcmp(nic->mac, "00:00:00:00:00:00"))
			nic->mac[0] = '\0';
		count++;
	}
	root_names_free(&names);
	return count;
}

struct collector {
	struct nic_uses *uses;
	const char *file;
};

static void add_use(void *context, struct span name)
{
	struct collector *collector = context;
	struct nic_uses *uses = collector->uses;
	char text[NIC_NAME_MAX];

	if (!span_copy(name, text, sizeof(text)))
		return;
	for (unsigned int i = 0; i < uses->count; i++)
		if (!strcmp(uses->list[i].name, text) &&
		    !strcmp(uses->list[i].file, collector->file))
			return;
	if (uses->count == NIC_USES_MAX)
		return;
	memcpy(uses->list[uses->count].name, text, sizeof(text));
	snprintf(uses->list[uses->count].file, PATH_MAX, "%s", collector->file);
	uses->count++;
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), wanted = strlen(end);

	return length >= wanted && !strcmp(text + length - wanted, end);
}

static void read_file(const struct check_root *root, const char *path, struct nic_uses *uses,
		      void (*parse)(const char *, nic_name_fn *, void *))
{
	struct collector collector = {.uses = uses, .file = path};
	char *text = root_read(root, path);

	if (text)
		parse(text, add_use, &collector);
	free(text);
}

void nic_uses_find(const struct check_root *root, struct nic_uses *ret_uses)
{
	static const struct {
		const char *folder, *begin, *end;
		void (*parse)(const char *, nic_name_fn *, void *);
	} places[] = {
		{"/etc/network/interfaces.d", "", "", netconf_interfaces},
		{"/etc/NetworkManager/system-connections", "", "", netconf_keyfile},
		{"/etc/sysconfig/network-scripts", "ifcfg-", "", netconf_ifcfg},
		{"/etc/systemd/network", "", ".network", netconf_networkd},
		{"/etc/netplan", "", ".yaml", netconf_netplan},
	};

	ret_uses->count = 0;
	ret_uses->list = calloc(NIC_USES_MAX, sizeof(*ret_uses->list));
	if (!ret_uses->list)
		return;
	read_file(root, "/etc/network/interfaces", ret_uses, netconf_interfaces);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct root_names names;

		root_list(root, places[i].folder, &names);
		for (unsigned int j = 0; j < names.count; j++) {
			char path[PATH_MAX];

			snprintf(path, sizeof(path), "%s/%s", places[i].folder, names.names[j]);
			if (strncmp(names.names[j], places[i].begin, strlen(places[i].begin)) ==
				    0 &&
			    ends_with(names.names[j], places[i].end))
				read_file(root, path, ret_uses, places[i].parse);
		}
		root_names_free(&names);
	}
}

void nic_uses_fini(struct nic_uses *uses)
{
	free(uses->list);
	*uses = (struct nic_uses){.list = NULL};
}
