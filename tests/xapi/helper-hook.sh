#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The stub's hook for tests in which this machine is the helper VM: a VDI that is plugged into it becomes a loop
# device that looks like /dev/xvdX, in the folders of HELPER_ROOT that stand for /dev and /sys there.
#
# Usage: HELPER_ROOT=FOLDER helper-hook.sh plug|unplug VM-UUID DEVICE XENSTORE-ID FILE
set -eu
helper=33333333-3333-3333-3333-333333333333
action=$1 vm=$2 device=$3 id=$4 file=$5
[ "$vm" = "$helper" ] || exit 0

case $action in
plug)
	loop=$(losetup --find --show "$file")
	mknod "$HELPER_ROOT/dev/$device" b 7 "${loop#/dev/loop}"
	mkdir -p "$HELPER_ROOT/sys/block/$device/device"
	echo "$loop" >"$HELPER_ROOT/sys/block/$device/loop"
	echo "device/vbd/$id" >"$HELPER_ROOT/sys/block/$device/device/nodename"
	;;
unplug)
	loop=$(cat "$HELPER_ROOT/sys/block/$device/loop")
	# As a guest's kernel: not while somebody has it open.
	python3 -c 'import os, sys; os.open(sys.argv[1], os.O_RDONLY | os.O_EXCL)' "$loop"
	losetup -d "$loop"
	rm -r "${HELPER_ROOT:?}/dev/$device" "$HELPER_ROOT/sys/block/$device"
	;;
esac
