/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is to become of the network on the target: which card there is which card here, and its addresses.
 *
 * The person writes /etc/blkferry/first-boot.ini. Arming checks it and writes STATE/first-boot.ini: the same,
 * with the names of the cards, and the hardware that it must *not* be applied on: this one. Both lie on the disk that is
 * replicated, so the target has them.
 *
 *   [source]
 *   hardware = 3b1f...            (written by arming)
 *   [nic 00:50:56:01:02:03]       a card of the source, by its MAC address
 *   name = ens192                 (written by arming)
 *   mac = 52:54:00:aa:bb:cc       the target's card; left out: it has the same address
 *   addresses = 192.0.2.10/24     or dhcp; left out: the configuration stays as it is
 *   gateways = 192.0.2.1
 *   dns = 192.0.2.53
 *   search = example.org
 */
#ifndef BLKFERRY_AGENT_FIRSTBOOT_NICMAP_H
#define BLKFERRY_AGENT_FIRSTBOOT_NICMAP_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/linux/check/netconf.h"
#include "common/fault.h"

#define NICMAP_PATH	     "/etc/blkferry/first-boot.ini"
#define NICMAP_ADDRESS_MAX   56 /* an IPv6 address with its prefix length */
#define NICMAP_ADDRESSES_MAX 16
#define NICMAP_SEARCH_MAX    256

struct address_list {
	char text[NICMAP_ADDRESSES_MAX][NICMAP_ADDRESS_MAX];
	unsigned int count;
};

struct nicmap_nic {
	char source_mac[NIC_MAC_MAX];
	char mac[NIC_MAC_MAX]; /* "" : the same */
	char name[NIC_NAME_MAX];
	bool is_dhcp;
	struct address_list addresses, gateways, dns;
	char search[NICMAP_SEARCH_MAX];
};

struct nicmap {
	char *hardware;
	struct nicmap_nic nics[NICS_MAX];
	unsigned int count;
};

/* Reads and checks one. The caller frees what it points at with nicmap_fini. */
int nicmap_read(const char *path, struct nicmap *ret_mapping, struct fault *fault);
int nicmap_read_text(const char *name, const char *text, size_t size, struct nicmap *ret_mapping,
		     struct fault *fault);
void nicmap_fini(struct nicmap *mapping);
/* The text that nicmap_read reads; the caller frees. NULL: no memory. */
char *nicmap_write(const struct nicmap *mapping);

/* The address of the card on the target. */
const char *nicmap_target_mac(const struct nicmap_nic *nic);
bool address_is_v6(const char *address);
/* Has this nic anything but a name and a MAC address? */
bool nicmap_sets_addresses(const struct nicmap_nic *nic);

#endif
