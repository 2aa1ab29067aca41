# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the tests of crash consistency share, on top of functions.sh: two file systems that are written by a program
# that relies on the order of its writes, beside fio; checkpoints of the machine web1, opened as views and looked
# at as a machine that starts after a power cut would; and whole comparisons with a copy of the frozen disks.

# shellcheck source=tests/functions.sh
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

# make_two_sources FS FS: loop disks A and B, mounted at $T/first and $T/second.
make_two_sources()
{
	local type folder=first
	SOURCES=() SOURCE_FS=() SOURCE_FOLDERS=()
	for type in "$1" "$2"; do
		requires_filesystem "$type"
		# btrfs keeps an extent until the last of its blocks is overwritten: rewrites take several times their size.
		make_disk "$([ "$type" = btrfs ] && echo 2G || echo 512M)"
		make_filesystem "$type" "$LOOP" "$T/$folder"
		SOURCES+=("$LOOP")
		SOURCE_FS+=("$type")
		SOURCE_FOLDERS+=("$T/$folder")
		folder=second
	done
}

FIO=()
# start_fio: random writes beside all else, until the end of the test
start_fio()
{
	local folder
	for folder in "${SOURCE_FOLDERS[@]}"; do
		start_process "$T/fio.log" fio --directory="$folder" --size=48M --time_based --runtime=86400 --randrepeat=0 \
			--minimal --name=direct --rw=randwrite --bs=4k --direct=1 --ioengine=libaio --iodepth=4 --rate_iops=300 \
			--name=buffered --rw=randwrite --bsrange=512-64k --ioengine=psync --fdatasync=50 --rate=2m
		FIO+=("$STARTED_PID")
	done
}

# start_counters: record N into a log on the first disk, then into one on the second, then N is said, with the time, in
# $T/said. The logs grow: a long test begins new ones now and then, and gives the space of the old ones back.
LOGS=0
start_counters()
{
	local old=$LOGS
	LOGS=$((LOGS + 1))
	: >"$T/said"
	start_process "$T/said" counters run "$T/first/a$LOGS" "$T/second/b$LOGS"
	COUNTERS=$STARTED_PID
	wait_for 60 "[ -s '$T/said' ]" "the first records"
	rm -f "$T/first/a$old" "$T/second/b$old"
}

stop_counters()
{
	end_process "$COUNTERS" || fail "counters: $(tail -n 1 "$T/said")"
}

# A program that has ended promises nothing any more: nothing would be tested.
expect_writers()
{
	local pid
	process_lives "$COUNTERS" || fail "counters ended: $(tail -n 1 "$T/said")"
	for pid in "${FIO[@]}"; do
		process_lives "$pid" || fail "fio ended: $(tail -n 1 "$T/fio.log")"
	done
}

stop_writers()
{
	local pid
	expect_writers
	stop_counters
	for pid in "${FIO[@]}"; do
		end_process "$pid" || true # fio says that it was interrupted
	done
}

# newest_point: number and time (ns) of the newest checkpoint
newest_point()
{
	ferry points web1 --json | jq -r 'if length > 0 then .[-1] | "\(.number) \(.time_ns)" else "0 0" end'
}

# said_before TIME [FILE]: the last number that was said before (lines of number and time in ns)
said_before()
{
	awk -v time="$1" '$1 + 0 > 0 && $2 + 0 < time + 0 { last = $1 } END { print last + 0 }' "${2:-$T/said}"
}

# next_point [FILE]: waits for a checkpoint that is newer than the last that was looked at, and than the first number that
# was said. Sets NUMBER, TIME, and AT_LEAST: what was said before.
# shellcheck disable=SC2034  # the last two are for the caller
NUMBER=0 TIME=0 AT_LEAST=0
next_point()
{
	local last=$NUMBER
	wait_for 60 "read -r NUMBER TIME < <(newest_point) && [ \"\$NUMBER\" -gt $last ] &&
		AT_LEAST=\$(said_before \"\$TIME\" ${1:-$T/said}) && [ \"\$AT_LEAST\" -gt 0 ]" "a checkpoint after #$last"
}

# check_filesystem TYPE DEVICE: it is not mounted; what is found is in $T/fsck.log
check_filesystem()
{
	local type=$1 device=$2
	case $type in
	ext4) e2fsck -fn "$device" >"$T/fsck.log" 2>&1 ;;
	xfs) xfs_repair -n "$device" >"$T/fsck.log" 2>&1 ;;
	btrfs) btrfs check --readonly --check-data-csum "$device" >"$T/fsck.log" 2>&1 ;;
	*) fail "no check for $type" ;;
	esac
}

# mount_view_disk TYPE DEVICE FOLDER: read-write, so that the file system replays its journal; beside the source, which
# has the same identity.
mount_view_disk()
{
	local type=$1 device=$2 folder=$3 source
	case $type in
	xfs) mount -t xfs -o nouuid "$device" "$folder" ;;
	btrfs)
		# Linux 6.7 and newer give the second of two a temporary identity, if they do not remember another file system
		# of this device. Older ones refuse, or mount the source a second time.
		btrfs device scan --forget "$device" 2>/dev/null || true
		mount -t btrfs "$device" "$folder" || return 1
		source=$(findmnt -n -o SOURCE "$folder")
		[ "$source" = "$device" ] || skip "this kernel mounts $source in place of a btrfs with the same identity"
		;;
	*) mount -t "$type" "$device" "$folder" ;;
	esac
}

# unmount_disk TYPE DEVICE FOLDER: whoever made a mount namespace meanwhile has the file system mounted, too: until that
# ends, its journal is in use.
unmount_disk()
{
	umount "$3"
	wait_for 120 "[ ! -e '/sys/fs/$1/$(basename "$2")' ]" "another mount namespace that has $2 mounted"
}

# unmount_view: what open_view has mounted and attached
unmount_view()
{
	local folder
	for folder in "$T"/view/mnt?; do
		mountpoint -q "$folder" && umount "$folder"
	done
	for folder in "$T"/view/disk?; do
		losetup -j "$folder/nbd" 2>/dev/null | cut -d : -f 1 | xargs -r losetup -d
		# Whoever looks at all block devices of the machine may hold the loop device for a moment longer.
		! mountpoint -q "$folder" || wait_until 20 "fusermount3 -u '$folder'" ||
			say "$folder cannot be unmounted"
	done
	return 0
}
cleanup_fn unmount_view

# open_view NUMBER: the checkpoint's disks, each mounted at $T/view/mntN. Sets VIEW and VIEW_DEVICES.
open_view()
{
	local number=$1 view disk
	VIEW_DEVICES=()
	view=$(ferry view web1 --at "#$number" --json)
	VIEW=$(jq -r .id <<<"$view")
	for disk in "${!SOURCES[@]}"; do
		mkdir -p "$T/view/disk$disk" "$T/view/mnt$disk"
		start_process "$T/nbdfuse.log" nbdfuse "$T/view/disk$disk" "$(jq -r ".disks[$disk].uri" <<<"$view")"
		wait_for 20 "[ -e '$T/view/disk$disk/nbd' ]" "nbdfuse"
		VIEW_DEVICES+=("$(losetup --find --show "$T/view/disk$disk/nbd")")
		mount_view_disk "${SOURCE_FS[disk]}" "${VIEW_DEVICES[disk]}" "$T/view/mnt$disk" ||
			fail "checkpoint #$number: disk $disk (${SOURCE_FS[disk]}) does not mount"
		# What is looked at must not be the source.
		touch "$T/view/mnt$disk/view-only"
		[ ! -e "${SOURCE_FOLDERS[disk]}/view-only" ] || fail "the source was mounted in place of the view"
	done
}

# close_view NUMBER: unmounts it; the file systems must be clean
close_view()
{
	local number=$1 disk
	for disk in "${!SOURCES[@]}"; do
		unmount_disk "${SOURCE_FS[disk]}" "${VIEW_DEVICES[disk]}" "$T/view/mnt$disk"
		check_filesystem "${SOURCE_FS[disk]}" "${VIEW_DEVICES[disk]}" ||
			fail "checkpoint #$number: disk $disk (${SOURCE_FS[disk]}) is damaged: $(tail -n 3 "$T/fsck.log")"
	done
	unmount_view
	ferry view web1 --stop "$VIEW" >/dev/null
}

# look_at NUMBER AT_LEAST: the checkpoint mounts, holds both logs in order and all records up to AT_LEAST, is clean
look_at()
{
	local number=$1 at_least=$2
	expect_writers
	open_view "$number"
	counters check "$T/view/mnt0/a$LOGS" "$T/view/mnt1/b$LOGS" "$at_least" >"$T/check.log" ||
		fail "checkpoint #$number: $(tr '\n' ' ' <"$T/check.log")"
	close_view "$number"
	say "checkpoint #$number: $(tr '\n' ' ' <"$T/check.log"), at least $at_least; file systems clean"
}

# compare_frozen LABEL: a checkpoint of the frozen disks has the bytes that dd reads from them
compare_frozen()
{
	local label=$1 disk view folder
	for folder in "${SOURCE_FOLDERS[@]}"; do
		sync -f "$folder"
	done
	for folder in "${SOURCE_FOLDERS[@]}"; do
		fsfreeze -f "$folder"
	done
	wait_for 120 "ferry checkpoint web1 --label $label" "the checkpoint $label"
	for disk in "${!SOURCES[@]}"; do
		dd if="${SOURCES[disk]}" of="$T/frozen$disk" bs=1M iflag=direct conv=sparse status=none
	done
	for folder in "${SOURCE_FOLDERS[@]}"; do
		fsfreeze -u "$folder"
	done
	view=$(ferry view web1 --at "$label" --json)
	for disk in "${!SOURCES[@]}"; do
		nbdcopy "$(jq -r ".disks[$disk].uri" <<<"$view")" "$T/from-view"
		cmp "$T/from-view" "$T/frozen$disk" || fail "checkpoint $label: disk $disk has other bytes than the frozen source"
		rm "$T/from-view" "$T/frozen$disk"
	done
	ferry view web1 --stop "$(jq -r .id <<<"$view")" >/dev/null
	say "checkpoint $label: ${#SOURCES[@]} disks, byte for byte what the frozen source had"
}
