// SPDX-License-Identifier: GPL-2.0-or-later
/* The mapping of network cards; see nicmap.h. */
#include "agent/linux/firstboot/nicmap.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"

static const struct config_key keys[] = {
	{.section = "source",
	 .name = "hardware",
	 .type = CONFIG_STRING,
	 .offset = offsetof(struct nicmap, hardware)},
	{.section = "nic *", .name = "name", .type = CONFIG_STRING},
	{.section = "nic *", .name = "mac", .type = CONFIG_STRING},
	{.section = "nic *", .name = "addresses", .type = CONFIG_STRING},
	{.section = "nic *", .name = "gateways", .type = CONFIG_STRING},
	{.section = "nic *", .name = "dns", .type = CONFIG_STRING},
	{.section = "nic *", .name = "search", .type = CONFIG_STRING},
	{.name = NULL},
};

bool address_is_v6(const char *address)
{
	return strchr(address, ':') != NULL;
}

const char *nicmap_target_mac(const struct nicmap_nic *nic)
{
	return nic->mac[0] ? nic->mac : nic->source_mac;
}

bool nicmap_sets_addresses(const struct nicmap_nic *nic)
{
	return nic->is_dhcp || nic->addresses.count > 0;
}

/* "192.0.2.10/24" (has_prefix) or "192.0.2.10" */
static bool is_address(const char *text, bool has_prefix)
{
	unsigned char bytes[16];
	char address[NICMAP_ADDRESS_MAX], *slash, *end;
	unsigned long prefix;

	snprintf(address, sizeof(address), "%s", text);
	slash = strchr(address, '/');
	if (!slash != !has_prefix)
		return false;
	if (slash) {
		*slash = '\0';
		prefix = strtoul(slash + 1, &end, 10);
		if (!isdigit((unsigned char)slash[1]) || *end || prefix == 0 ||
		    prefix > (address_is_v6(address) ? 128 : 32))
			return false;
	}
	return inet_pton(address_is_v6(address) ? AF_INET6 : AF_INET, address, bytes) == 1;
}

/* Splits at commas and blanks. */
static int read_list(const char *value, bool has_prefix, struct address_list *list,
		     struct fault *fault)
{
	list->count = 0;
	for (;;) {
		size_t length;

		value += strspn(value, ", \t");
		length = strcspn(value, ", \t");
		if (length == 0)
			return list->count > 0 ? 0
					       : fault_set(fault, FAULT_STOP, EINVAL,
							   "an address is missing");
		if (list->count == NICMAP_ADDRESSES_MAX || length >= NICMAP_ADDRESS_MAX)
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "too many addresses, or too long");
		snprintf(list->text[list->count], NICMAP_ADDRESS_MAX, "%.*s", (int)length, value);
		if (!is_address(list->text[list->count], has_prefix))
			return fault_set(fault, FAULT_STOP, EINVAL, "'%s' is not an IP address%s",
					 list->text[list->count],
					 has_prefix ? " with its prefix length, as 192.0.2.10/24"
						    : "");
		list->count++;
		value += length;
	}
}

static int read_mac(const char *value, char ret_mac[NIC_MAC_MAX], struct fault *fault)
{
	if (!netconf_is_mac(value))
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "'%s' is not a MAC address, as 52:54:00:12:34:56", value);
	for (unsigned int i = 0; i < NIC_MAC_MAX && (i == 0 || value[i - 1]); i++)
		ret_mac[i] = (char)tolower((unsigned char)value[i]);
	return 0;
}

/* What goes into other programs' files must not end a line there, or begin a section. */
static int read_word(const char *value, const char *allowed, char *ret_text, size_t size,
		     struct fault *fault)
{
	if (value[strspn(value, allowed)] || strlen(value) >= size || !value[0])
		return fault_set(fault, FAULT_STOP, EINVAL, "'%s' cannot be right", value);
	snprintf(ret_text, size, "%s", value);
	return 0;
}

static struct nicmap_nic *find_nic(struct nicmap *mapping, const char *mac)
{
	for (unsigned int i = 0; i < mapping->count; i++)
		if (!strcmp(mapping->nics[i].source_mac, mac))
			return &mapping->nics[i];
	return NULL;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

static int read_key(void *target, const char *instance, const struct config_key *key,
		    const char *value, struct fault *fault)
{
	struct nicmap *mapping = target;
	char mac[NIC_MAC_MAX];
	struct nicmap_nic *nic;

	if (read_mac(instance, mac, fault) != 0)
		return -EINVAL;
	nic = find_nic(mapping, mac);
	if (!nic) {
		if (mapping->count == NICS_MAX)
			return fault_set(fault, FAULT_STOP, EINVAL, "too many network cards");
		nic = &mapping->nics[mapping->count++];
		memcpy(nic->source_mac, mac, sizeof(mac));
	}
	if (!strcmp(key->name, "name"))
		return read_word(value, LETTERS, nic->name, sizeof(nic->name), fault);
	if (!strcmp(key->name, "mac"))
		return read_mac(value, nic->mac, fault);
	if (!strcmp(key->name, "gateways"))
		return read_list(value, false, &nic->gateways, fault);
	if (!strcmp(key->name, "dns"))
		return read_list(value, false, &nic->dns, fault);
	if (!strcmp(key->name, "search"))
		return read_word(value, LETTERS " ", nic->search, sizeof(nic->search), fault);
	nic->is_dhcp = !strcmp(value, "dhcp");
	return nic->is_dhcp ? 0 : read_list(value, true, &nic->addresses, fault);
}

static int check(const char *path, const struct nicmap *mapping, struct fault *fault)
{
	const char *hardware = mapping->hardware;

	if (hardware && (!hardware[0] || hardware[strspn(hardware, "0123456789abcdef")]))
		return fault_set(
			fault, FAULT_STOP, EINVAL,
			"%s: 'hardware' is not what 'first-boot --arm' writes: arm it again", path);
	for (unsigned int i = 0; i < mapping->count; i++) {
		const struct nicmap_nic *nic = &mapping->nics[i];

		if ((nic->gateways.count || nic->dns.count || nic->search[0]) &&
		    !nicmap_sets_addresses(nic))
			return fault_set(
				fault, FAULT_STOP, EINVAL,
				"%s: [nic %s] has gateways, dns or search without addresses", path,
				nic->source_mac);
		for (unsigned int j = 0; j < i; j++)
			if (!strcmp(nicmap_target_mac(nic), nicmap_target_mac(&mapping->nics[j])))
				return fault_set(
					fault, FAULT_STOP, EINVAL,
					"%s: [nic %s] and [nic %s] are the same card on the "
					"target",
					path, nic->source_mac, mapping->nics[j].source_mac);
	}
	return 0;
}

static int settle(int error, const char *name, struct nicmap *mapping, struct nicmap *ret_mapping,
		  struct fault *fault)
{
	if (!error)
		error = check(name, mapping, fault);
	if (error)
		nicmap_fini(mapping);
	else
		*ret_mapping = *mapping;
	return error;
}

int nicmap_read(const char *path, struct nicmap *ret_mapping, struct fault *fault)
{
	struct nicmap mapping = {.hardware = NULL};
	int error = config_read(path, keys, &mapping, read_key, fault);

	return settle(error, path, &mapping, ret_mapping, fault);
}

int nicmap_read_text(const char *name, const char *text, size_t size, struct nicmap *ret_mapping,
		     struct fault *fault)
{
	struct nicmap mapping = {.hardware = NULL};
	int error = config_read_text(name, text, size, keys, &mapping, read_key, fault);

	return settle(error, name, &mapping, ret_mapping, fault);
}

void nicmap_fini(struct nicmap *mapping)
{
	free(mapping->hardware);
	mapping->hardware = NULL;
	mapping->count = 0;
}

static void write_list(FILE *out, const char *key, const struct address_list *list)
{
	if (list->count > 0)
		fprintf(out, "%s =", key);
	for (unsigned int i = 0; i < list->count; i++)
		fprintf(out, "%s %s", i ? "," : "", list->text[i]);
	if (list->count > 0)
		fputc('\n', out);
}

char *nicmap_write(const struct nicmap *mapping)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	if (mapping->hardware)
		fprintf(out, "[source]\nhardware = %s\n", mapping->hardware);
	for (unsigned int i = 0; i < mapping->count; i++) {
		const struct nicmap_nic *nic = &mapping->nics[i];

		fprintf(out, "[nic %s]\n", nic->source_mac);
		if (nic->name[0])
			fprintf(out, "name = %s\n", nic->name);
		if (nic->mac[0])
			fprintf(out, "mac = %s\n", nic->mac);
		if (nic->is_dhcp)
			fputs("addresses = dhcp\n", out);
		write_list(out, "addresses", &nic->addresses);
		write_list(out, "gateways", &nic->gateways);
		write_list(out, "dns", &nic->dns);
		if (nic->search[0])
			fprintf(out, "search = %s\n", nic->search);
	}
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
