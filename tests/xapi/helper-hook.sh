#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The stub's hook for tests in which this machine is the helper VM, or dom0, in the folders of HELPER_ROOT that stand
# for /dev, /sys and /run there. A VDI that is plugged into the helper VM becomes a loop device that looks like /dev/xvdX;
# one that is plugged into dom0, a loop device below /dev/sm/backend and a socket of a tapdisk.
#
# Usage: HELPER_ROOT=FOLDER helper-hook.sh plug|unplug VM-UUID DEVICE XENSTORE-ID FILE
set -eu
dom0=22222222-2222-2222-2222-222222222222
helper=33333333-3333-3333-3333-333333333333
action=$1 vm=$2 device=$3 id=$4 file=$5
notes=$HELPER_ROOT/notes/$device
socket=$HELPER_ROOT/run/blktap-control/nbd/${device#sm/backend/}

# As a kernel: not while somebody has it open.
close_loop()
{
	python3 -c 'import os, sys; os.open(sys.argv[1], os.O_RDONLY | os.O_EXCL)' "$(cat "$notes/loop")"
	losetup -d "$(cat "$notes/loop")"
	rm "${HELPER_ROOT:?}/dev/$device"
}

open_loop()
{
	mkdir -p "$notes" "$(dirname "$HELPER_ROOT/dev/$device")"
	losetup --find --show "$file" >"$notes/loop"
	mknod "$HELPER_ROOT/dev/$device" b 7 "$(sed 's|/dev/loop||' "$notes/loop")"
}

case $action-$vm in
"plug-$helper")
	open_loop
	mkdir -p "$HELPER_ROOT/sys/block/$device/device"
	echo "device/vbd/$id" >"$HELPER_ROOT/sys/block/$device/device/nodename"
	;;
"unplug-$helper")
	close_loop
	rm -r "$HELPER_ROOT/sys/block/$device"
	;;
"plug-$dom0")
	open_loop
	mkdir -p "$(dirname "$socket")"
	server=$(realpath "$(dirname "$0")/../tools/tapdisk_server.py")
	cd "$(dirname "$socket")" # its path is too long for a socket
	"$server" "${socket##*/}" "$file" >"$notes/log" 2>&1 </dev/null &
	echo $! >"$notes/pid"
	;;
"unplug-$dom0")
	close_loop
	kill "$(cat "$notes/pid")"
	rm -f "$socket"
	;;
esac
