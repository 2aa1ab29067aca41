#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every checkpoint is a state that a power cut could have left (I4, I5). Beside fio a program fsyncs record N to a
# log on one disk, then to a log on another; each of many checkpoints, opened as a view, must mount (its journal is
# replayed), pass the file system's check, and hold as many records in the first log as in the second or one
# more, all whole, and all those that were said before the checkpoint's time. Agent and receiver are killed in between.
#
# CHECKPOINTS=6       how many are looked at, a kill after each third
# FILE_SYSTEMS="ext4 xfs"   of the first disk and of the second
#
#   counters, fio --> 2 file systems on 2 loop disks --> agent ==TLS==> receiver --> view --> mount, check
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF nbdkit nbdfuse fusermount3 fio jq

CHECKPOINTS=${CHECKPOINTS:-6}
read -r FIRST_FS SECOND_FS <<<"${FILE_SYSTEMS:-ext4 xfs}"
requires "mkfs.$FIRST_FS" "mkfs.$SECOND_FS"

say "two disks ($FIRST_FS, $SECOND_FS), a program that relies on its order, and fio"
make_disk 512M
A=$LOOP
make_filesystem "$FIRST_FS" "$A" "$T/first"
make_disk 512M
B=$LOOP
make_filesystem "$SECOND_FS" "$B" "$T/second"
# said: each number with the time at which both of its records were durable
: >"$T/said"
start_process "$T/said" counters run "$T/first/a" "$T/second/b"
for folder in first second; do
	start_process "$T/fio.log" fio --directory="$T/$folder" --size=48M --time_based --runtime=3600 --randrepeat=0 \
		--minimal --name=direct --rw=randwrite --bs=4k --direct=1 --ioengine=libaio --iodepth=4 --rate_iops=300 \
		--name=buffered --rw=randwrite --bsrange=512-64k --ioengine=psync --fdatasync=50 --rate=2m
done

start_receiver "retention = 10m:100ms"
start_agent web1 "$A,$B"
wait_for 120 '[ "$(status web1 .phase)" = streaming ]' "streaming"

# newest_point: number and time (ns) of the newest checkpoint
newest_point()
{
	ferry points web1 --json | jq -r 'if length > 0 then .[-1] | "\(.number) \(.time_ns)" else "0 0" end'
}

# next_point: waits for a checkpoint that is newer than the last that was looked at. Sets NUMBER and TIME.
NUMBER=0
next_point()
{
	local last=$NUMBER
	wait_for 60 "[ \"\$(newest_point | cut -d ' ' -f 1)\" -gt $last ]" "a checkpoint after #$last"
	read -r NUMBER TIME < <(newest_point)
}

# said_before TIME: the last number that was said before
said_before()
{
	awk -v time="$1" '$2 < time { last = $1 } END { print last + 0 }' "$T/said"
}

check_filesystem()
{
	local type=$1 device=$2
	case $type in
	ext4) e2fsck -fn "$device" >"$T/fsck.log" 2>&1 ;;
	xfs) xfs_repair -n "$device" >"$T/fsck.log" 2>&1 ;;
	esac
}

unmount_view()
{
	local folder
	for folder in "$T"/view/mnt?; do
		mountpoint -q "$folder" && umount "$folder"
	done
	for folder in "$T"/view/disk?; do
		losetup -j "$folder/nbd" 2>/dev/null | cut -d : -f 1 | xargs -r losetup -d
		mountpoint -q "$folder" && fusermount3 -u "$folder"
	done
	return 0
}
cleanup_fn unmount_view

# look_at NUMBER AT_LEAST: opens the checkpoint as a view, as a machine that starts after a power cut would
look_at()
{
	local number=$1 at_least=$2 view disk type device devices=() options
	view=$(ferry view web1 --at "#$number" --json)
	for disk in 0 1; do
		mkdir -p "$T/view/disk$disk" "$T/view/mnt$disk"
		start_process "$T/nbdfuse.log" nbdfuse "$T/view/disk$disk" "$(jq -r ".disks[$disk].uri" <<<"$view")"
		wait_for 20 "[ -e '$T/view/disk$disk/nbd' ]" "nbdfuse"
		device=$(losetup --find --show "$T/view/disk$disk/nbd")
		devices+=("$device")
		type=$FIRST_FS
		[ "$disk" = 0 ] || type=$SECOND_FS
		options=()
		[ "$type" != xfs ] || options=(-o nouuid) # the source has the same one
		mount -t "$type" "${options[@]}" "$device" "$T/view/mnt$disk" ||
			fail "checkpoint #$number: disk $disk ($type) does not mount"
	done
	counters check "$T/view/mnt0/a" "$T/view/mnt1/b" "$at_least" >"$T/check.log" ||
		fail "checkpoint #$number: $(tr '\n' ' ' <"$T/check.log")"
	for disk in 0 1; do
		umount "$T/view/mnt$disk"
		type=$FIRST_FS
		[ "$disk" = 0 ] || type=$SECOND_FS
		check_filesystem "$type" "${devices[disk]}" ||
			fail "checkpoint #$number: disk $disk ($type) is damaged: $(tail -n 3 "$T/fsck.log")"
	done
	unmount_view
	ferry view web1 --stop "$(jq -r .id <<<"$view")" >/dev/null
	say "checkpoint #$number: $(tr '\n' ' ' <"$T/check.log"), at least $at_least; both file systems clean"
}

OLD=()
for ((i = 1; i <= CHECKPOINTS; i++)); do
	next_point
	look_at "$NUMBER" "$(said_before "$TIME")"
	OLD+=("$NUMBER $(said_before "$TIME")")
	[ $((i % 3)) = 0 ] || continue
	if [ $((i % 2)) = 0 ]; then
		say "the receiver is killed"
		stop_receiver KILL
		start_receiver "retention = 10m:100ms"
	else
		say "the agent is killed"
		stop_agent KILL
		start_agent web1 "$A,$B"
	fi
	wait_for 120 '[ "$(status web1 .phase)" = streaming ]' "streaming again"
done

say "the first ones again: nothing that came later has changed them"
for point in "${OLD[0]}" "${OLD[CHECKPOINTS / 2]}"; do
	look_at "${point% *}" "${point#* }"
done
say "gaps: $(status web1 '.gaps | "\(.count), the last: \(.reason)"')"
