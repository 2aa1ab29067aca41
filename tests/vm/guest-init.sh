#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=dash
# /init of a test guest: loads the modules of /modules/list, mounts the disk's file system on /data, starts
# the writer and the agent there, and tells on the console what goes on, and on the second serial port which
# record is on disk. It never ends by itself: the guest's end is a fence, or a power cut. What differs from boot
# to boot comes by the kernel's command line:
#
#   ferry.receiver=10.0.2.2:PORT  ferry.folder=first  ferry.rewrite-mib=16
#   ferry.marks=yes     before all else, the tracker's capture and its marks are tried on the blank disk
#
# The disks are known by their serial numbers: ferry-disk, and ferry-blank.
# /etc/token holds the enrolment token, /etc/agent.ini the configuration without `receiver`.

/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin

tell()
{
	echo "GUEST: $*"
}

die()
{
	tell "failed: $*"
	poweroff -f
}

# option NAME: its value on the kernel's command line, where the last one counts
option()
{
	tr ' ' '\n' </proc/cmdline | sed -n "s/^ferry\.$1=//p" | tail -n 1
}

# wait_until SECONDS COMMAND...
wait_until()
{
	local left=$(($1 * 10))
	shift
	until "$@"; do
		left=$((left - 1))
		[ $left -gt 0 ] || return 1
		sleep 0.1
	done
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t bpf bpf /sys/fs/bpf
while read -r module; do
	insmod "/modules/$module" || tell "module $module could not be loaded"
done </modules/list
tell "kernel $(uname -r) up=$(cut -d ' ' -f 1 /proc/uptime)"

ip link set lo up
wait_until 60 test -e /sys/class/net/eth0 || die "no network device"
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0

# disk SERIAL: prints its name
disk()
{
	local path
	for path in /sys/block/*; do
		if cat "$path/serial" "$path/device/serial" "$path/device/vpd_pg80" 2>/dev/null | grep -q "$1"; then
			echo "${path##*/}"
			return 0
		fi
	done
	return 1
}

marks()
{
	local disk=$1
	shift
	tracker_ctl -p /sys/fs/bpf/marks "/dev/$disk" -- "$@"
}

# try_marks DISK: is every way of writing marked, and nothing where nobody wrote?
try_marks()
{
	local kind
	for kind in direct sector split merged buffered discard zeroout; do
		marks "$1" take forget && tracker_writer "/dev/$1" "/tmp/log.$kind" 1 $kind 60 &&
			marks "$1" take covers 0 "/tmp/log.$kind" only 0 "/tmp/log.$kind" ||
			die "marks of $kind on $1"
	done
	marks "$1" state remove
	tell "marks are right on $1"
}

capture()
{
	local disk=$1
	shift
	capture_ctl -p /sys/fs/bpf/capture -r 67108864 "/dev/$disk" -- "$@"
}

# try_capture DISK: written in every way, and an image that began as blank as it is kept up by the ring alone.
# Only completions that no program saw may have been left out; those are copied.
try_capture()
{
	local follower
	truncate -s 256M /tmp/image.0
	capture "$1" start settle || die "capture on $1"
	# Not by the function: its pid would be that of a shell.
	capture_ctl -p /sys/fs/bpf/capture -r 67108864 "/dev/$1" -- follow /tmp/image >/tmp/follow &
	follower=$!
	wait_until 60 grep -q following /tmp/follow || die "capture has no reader"
	# What is written while the reader gets no time has to fit in the ring.
	for kind in direct sector split merged buffered zeroout direct,sector,merged,buffered,zeroout; do
		tracker_writer "/dev/$1" /tmp/log.capture 1 $kind 8 0 50331648 || die "writing $kind to $1"
	done
	capture "$1" settle || die "requests on $1 do not settle"
	kill $follower
	wait $follower || die "the reader of capture"
	cat /tmp/follow
	capture "$1" status >/tmp/status
	cat /tmp/status
	grep -qE '^mode=on .*last_hole=(none|unseen completion)$' /tmp/status || die "capture has holes"
	capture "$1" reread /tmp/image stop remove
	echo 3 >/proc/sys/vm/drop_caches
	cmp -n 50331648 "/dev/$1" /tmp/image.0 || die "what was captured on $1 is not what was written"
	rm /tmp/image.0 /tmp/log.capture
	tell "capture is right on $1"
}
if [ "$(option marks)" = yes ]; then
	wait_until 60 disk ferry-blank >/dev/null || die "no blank disk"
	try_capture "$(disk ferry-blank)"
	try_marks "$(disk ferry-blank)"
fi

wait_until 60 disk ferry-disk >/dev/null || die "no disk"
disk=$(disk ferry-disk)
case $disk in
*[0-9]) partition=${disk}p1 ;;
*) partition=${disk}1 ;;
esac
wait_until 60 test -b "/dev/$partition" || die "no /dev/$partition"
mount -t ext4 "/dev/$partition" /data || die "/dev/$partition cannot be mounted"
receiver=$(option receiver)
if [ ! -e /data/state/machine.pem ]; then
	blkferry-agent enroll "$receiver" - --state /data/state </etc/token || die "no enrolment"
fi

folder=/data/$(option folder)
mkdir -p "$folder"
writer run "$folder" --progress /run/progress --rewrite-mib "$(option rewrite-mib)" --rewrite-mib-per-s 4 &
wait_until 60 test -s /run/progress || die "the writer does not write"
(
	blkferry-agent run --config /etc/agent.ini
	tell "the agent ended with exit status $?"
) &
while :; do
	cat /run/progress
	sleep 0.2
done >/dev/ttyS1
