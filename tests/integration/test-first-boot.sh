#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# blkferry-agent first-boot on made-up systems: armed on one machine, nothing happens there; on another machine the
# cards get their names and addresses, once, whoever manages the network.

. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/../check-fixtures.sh"
requires ROOT busybox
file -b "$(command -v busybox)" 2>/dev/null | grep -q 'statically linked' || skip "busybox is not static"

# make_machine ROOT UUID: what the firmware says, and a systemctl that notes what it was asked.
make_machine()
{
	printf '%s' "$2" | put "$1" /sys/class/dmi/id/product_uuid
	put_program "$1" /usr/sbin/systemctl <<-'END'
		#!/bin/sh
		echo "$@" >>/tmp/systemctl
	END
}

# first_boot ROOT WANTED_STATUS OPTION...
first_boot()
{
	local root=$1 wanted=$2 status=0
	shift 2
	blkferry-agent first-boot --root "$root" "$@" >"$T/out.log" 2>&1 || status=$?
	[ "$status" = "$wanted" ] || fail "exit status $status, not $wanted: $(cat "$T/out.log")"
}

# arm ROOT: with the plan from standard input
arm()
{
	cat >"$T/plan.ini"
	first_boot "$1" 0 --arm --plan "$T/plan.ini"
	grep -qx "enable blkferry-agent-first-boot.service" "$1/tmp/systemctl" || fail "the unit is not enabled"
	first_boot "$1" 0 --apply
	grep -q "the machine that it was made on" "$T/out.log" || fail "applied on the source: $(cat "$T/out.log")"
}

# move ROOT NAME MAC: the same disk in another machine, with that card.
move()
{
	echo other-uuid >"$1/sys/class/dmi/id/product_uuid"
	rm -r "$1/sys/class/net"
	make_nic "$1" "$2" "$3"
}

rules=etc/udev/rules.d/70-blkferry-net.rules

say "ifupdown: a new MAC address, new addresses"
root=$T/debian
make_debian "$root"
make_machine "$root" source-uuid
printf 'iface ens192 inet6 auto\n\tup touch /run/up\n# end\n' >>"$root/etc/network/interfaces"
arm "$root" <<-END
	[nic 00:50:56:01:02:03]
	mac = 52:54:00:AA:bb:cc
	addresses = 198.51.100.7/24, 2001:db8::7/64
	gateways = 198.51.100.1 2001:db8::1
	dns = 198.51.100.53
	search = example.org
END
move "$root" enX0 52:54:00:aa:bb:cc
first_boot "$root" 0 --apply
grep -q 'ATTR{address}=="52:54:00:aa:bb:cc".*NAME="ens192"$' "$root/$rules" || fail "$(cat "$root/$rules")"
put "$T" /wanted <<'END'
source /etc/network/interfaces.d/*
auto lo
iface lo inet loopback
allow-hotplug ens192
iface ens192 inet static
	address 198.51.100.7/24
	gateway 198.51.100.1
	dns-nameservers 198.51.100.53
	dns-search example.org
	up touch /run/up
iface ens192 inet6 static
	address 2001:db8::7/64
	gateway 2001:db8::1
# end
END
diff -u "$T/wanted" "$root/etc/network/interfaces" || fail "interfaces"

say "it is applied once"
[ ! -e "$root/var/lib/blkferry-agent/first-boot.ini" ] || fail "still armed"
[ -e "$root/var/lib/blkferry-agent/first-boot.done" ] || fail "nothing tells that it was done"
echo "# mine" >>"$root/etc/network/interfaces"
first_boot "$root" 0 --apply
grep -q "# mine" "$root/etc/network/interfaces" || fail "applied twice"

say "what it replaced can be put back"
sed -i '/^# mine/d' "$root/etc/network/interfaces"
blkferry-agent check --root "$root" --undo >"$T/out.log" 2>&1 || fail "$(cat "$T/out.log")"
grep -q 'address 192.0.2.10/24' "$root/etc/network/interfaces" || fail "not put back"

say "NetworkManager: a connection of its own, that nobody else can read"
root=$T/el9
make_el9 "$root"
make_machine "$root" source-uuid
: | put_program "$root" /usr/sbin/NetworkManager
arm "$root" <<-END
	[nic 00:50:56:0a:0b:0c]
	addresses = 198.51.100.8/24
	gateways = 198.51.100.1
END
move "$root" enX0 00:50:56:0a:0b:0c
first_boot "$root" 0 --apply
connection=$root/etc/NetworkManager/system-connections/blkferry-ens224.nmconnection
[ "$(stat -c %a "$connection")" = 600 ] || fail "mode $(stat -c %a "$connection")"
for line in interface-name=ens224 autoconnect-priority=999 method=manual address1=198.51.100.8/24 gateway=198.51.100.1; do
	grep -qx "$line" "$connection" || fail "no $line in $(cat "$connection")"
done

say "systemd-networkd: a file before all others; only the MAC address of the card kept"
root=$T/btrfs
make_btrfs "$root"
make_machine "$root" source-uuid
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
: >"$root/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
arm "$root" <<-END
	[nic 52:54:00:00:00:01]
	addresses = dhcp
END
move "$root" enX0 52:54:00:00:00:02
first_boot "$root" 1 --apply
grep -q "no network card 52:54:00:00:00:01" "$T/out.log" || fail "$(cat "$T/out.log")"
[ -e "$root/var/lib/blkferry-agent/first-boot.ini" ] || fail "a failure disarmed it"
move "$root" enX0 52:54:00:00:00:01
first_boot "$root" 0 --apply
grep -qx DHCP=yes "$root/etc/systemd/network/05-blkferry-enp1s0.network" || fail "no DHCP"

say "wrong plans are refused when they are armed, with what is wrong"
make_debian "$T/wrong"
make_machine "$T/wrong" source-uuid
while IFS='|' read -r plan text; do
	printf '%b' "$plan" >"$T/plan.ini"
	first_boot "$T/wrong" 1 --arm --plan "$T/plan.ini"
	grep -qF -- "$text" "$T/out.log" || fail "no '$text' in $(cat "$T/out.log")"
	[ ! -e "$T/wrong/var/lib/blkferry-agent/first-boot.ini" ] || fail "armed"
done <<'END'
[nic 00:50:56:01:02:03]\naddresses = 192.0.2.300/24\n|not an IP address
[nic 00:50:56:01:02:03]\naddresses = 192.0.2.3\n|prefix length
[nic 00:50:56:01:02:03]\ngateways = 192.0.2.3\n|without addresses
[nic 00:50:56:01:02]\naddresses = dhcp\n|not a MAC address
[nic 00:50:56:01:02:99]\naddresses = dhcp\n|no such card
[nic 00:50:56:01:02:03]\nadresses = dhcp\n|adresses
[nic 00:50:56:01:02:03]\nsearch = a;b\naddresses = dhcp\n|cannot be right
|there is no [nic MAC]
END
first_boot "$T/wrong" 1 --cancel
