/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mapping of network cards, and what is written for each program that manages a network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/linux/firstboot/managers.h"
#include "agent/linux/firstboot/nicmap.h"

static int read_text(const char *text, struct nicmap *map)
{
	struct fault fault;

	return nicmap_read_text("test", text, strlen(text), map, &fault);
}

static const char plan[] = "[source]\nhardware = abc\n[nic 00:50:56:01:02:03]\nname = ens3\n"
			   "mac = 52:54:00:aa:bb:cc\naddresses = 192.0.2.7/24, 2001:db8::7/64\n"
			   "gateways = 192.0.2.1, 2001:db8::1\ndns = 192.0.2.53\n"
			   "search = a.example b.example\n";

static void what_is_written_reads_the_same(void **state)
{
	struct nicmap map, again;
	char *text, *second;

	assert_int_equal(read_text(plan, &map), 0);
	text = nicmap_write(&map);
	assert_int_equal(read_text(text, &again), 0);
	second = nicmap_write(&again);
	assert_string_equal(text, second);
	assert_int_equal(again.count, 1);
	assert_int_equal(again.nics[0].addresses.count, 2);
	assert_string_equal(again.nics[0].mac, "52:54:00:aa:bb:cc");
	assert_string_equal(again.hardware, "abc");
	free(text);
	free(second);
	nicmap_fini(&map);
	nicmap_fini(&again);
}

static void two_cards_cannot_become_one(void **state)
{
	struct nicmap map;

	assert_int_equal(read_text("[nic 00:50:56:01:02:03]\nmac = 00:50:56:01:02:04\n"
				   "[nic 00:50:56:01:02:04]\naddresses = dhcp\n",
				   &map),
			 -EINVAL);
	assert_int_equal(read_text("[nic 00:50:56:01:02:03]\nmac = 00:50:56:01:02:04\n"
				   "[nic 00:50:56:01:02:04]\nmac = 00:50:56:01:02:03\n",
				   &map),
			 0);
	nicmap_fini(&map);
}

static void a_prefix_fits_its_family(void **state)
{
	static const char *const bad[] = {"192.0.2.1/33", "192.0.2.1/0",    "192.0.2.1/",
					  "::1/129",	  "192.0.2.1/2x",   "/24",
					  "192.0.2/24",	  "fe80::1%eth0/64"};
	struct nicmap map;
	char text[100];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "[nic 00:50:56:01:02:03]\naddresses = %s\n", bad[i]);
		assert_int_equal(read_text(text, &map), -EINVAL);
	}
}

static void other_stanzas_and_hooks_stay(void **state)
{
	static const char old[] =
		"# head\nauto lo\niface lo inet loopback\n\n"
		"iface ens3 inet static\n  address 1.2.3.4\n  netmask 255.0.0.0\n"
		"  # why\n  mtu 9000\n  up ip route add x\niface ens33 inet dhcp\n";
	static const char wanted[] = "# head\nauto lo\niface lo inet loopback\n\n"
				     "iface ens3 inet dhcp\n  mtu 9000\n  up ip route add x\n"
				     "  # why\niface ens33 inet dhcp\n";
	struct nicmap_nic nic = {.name = "ens3", .is_dhcp = true};
	char *text = interfaces_rewrite(old, &nic), *again;

	assert_string_equal(text, wanted);
	again = interfaces_rewrite("", &nic);
	assert_string_equal(again, "\nauto ens3\niface ens3 inet dhcp\n");
	free(text);
	free(again);
}

static void rewriting_twice_is_rewriting_once(void **state)
{
	struct nicmap map;
	char *once, *twice;

	assert_int_equal(read_text(plan, &map), 0);
	once = interfaces_rewrite("iface ens3 inet dhcp\n\tup x\n", &map.nics[0]);
	twice = interfaces_rewrite(once, &map.nics[0]);
	assert_string_equal(once, twice);
	free(once);
	free(twice);
	nicmap_fini(&map);
}

static void each_manager_gets_its_form(void **state)
{
	struct nicmap map;
	char *text;

	assert_int_equal(read_text(plan, &map), 0);
	text = manager_write(MANAGER_NETWORKD, &map.nics[0], "");
	assert_non_null(strstr(text, "[Match]\nName=ens3\n\n[Network]\nDHCP=no\n"
				     "Address=192.0.2.7/24\nAddress=2001:db8::7/64\n"
				     "Gateway=192.0.2.1\nGateway=2001:db8::1\nDNS=192.0.2.53\n"
				     "Domains=a.example b.example\n"));
	free(text);
	text = manager_write(MANAGER_NETWORKMANAGER, &map.nics[0], "");
	assert_non_null(strstr(text, "[ipv4]\nmethod=manual\naddress1=192.0.2.7/24\n"
				     "gateway=192.0.2.1\ndns=192.0.2.53;\n"
				     "dns-search=a.example;b.example;\n"));
	assert_non_null(strstr(text, "[ipv6]\nmethod=manual\naddress1=2001:db8::7/64\n"
				     "gateway=2001:db8::1\n"));
	free(text);
	text = manager_write(MANAGER_IFCFG, &map.nics[0], "");
	assert_non_null(strstr(text, "BOOTPROTO=none\nIPADDR0=192.0.2.7\nPREFIX0=24\n"
				     "IPV6INIT=yes\nIPV6ADDR=2001:db8::7/64\nGATEWAY=192.0.2.1\n"
				     "IPV6_DEFAULTGW=2001:db8::1\nDNS1=192.0.2.53\n"));
	free(text);
	nicmap_fini(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_reads_the_same),
		cmocka_unit_test(two_cards_cannot_become_one),
		cmocka_unit_test(a_prefix_fits_its_family),
		cmocka_unit_test(other_stanzas_and_hooks_stay),
		cmocka_unit_test(rewriting_twice_is_rewriting_once),
		cmocka_unit_test(each_manager_gets_its_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
