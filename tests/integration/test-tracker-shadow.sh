#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# I1 and I2 under load: bits are taken and their blocks are read, over and over, while both cores write
# in all ways at once. When all is still, a copy kept up with nothing but the tracker's bits must be
# byte-identical to the disk. A bit set too early, taken too late, or not at all makes it differ.
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF sfdisk partx jq mkfs.ext4 fio fstrim

PINS=/sys/fs/bpf/$(basename "$T")
cleanup_fn remove_pins "$PINS"
LOAD_S=8

# A loop device has a worker of its own for each block cgroup. Without this the shadow's reads would
# wait behind the writes, and a bit set at issue, before its write has landed, would never be caught.
CGROUP=
for root in /sys/fs/cgroup/blkio /sys/fs/cgroup; do
	if [ -e "$root/blkio.reset_stats" ] || grep -qw io "$root/cgroup.subtree_control" 2>/dev/null; then
		CGROUP=$root/$(basename "$T")
		mkdir "$CGROUP"
		cleanup_fn rmdir "$CGROUP"
		break
	fi
done
[ -n "$CGROUP" ] || say "no block cgroups here: a bit that is set too early may go unnoticed"

# load_runs: until LOAD_S are over, or a writer has died
load_runs()
{
	local pid
	for pid in "${WRITERS[@]}"; do
		process_lives "$pid" || fail "a writer ended: see the logs"
	done
	wait_until "$LOAD_S" false || true
	for pid in "${WRITERS[@]}"; do
		process_lives "$pid" || fail "a writer ended: see the logs"
	done
}

start_writer()
{
	start_process "$T/writers.log" "$@"
	WRITERS+=("$STARTED_PID")
}

stop_writers()
{
	local pid
	for pid in "${WRITERS[@]}"; do
		end_process "$pid" || true
	done
	WRITERS=()
}

# finish_shadow: its exit status is the proof
finish_shadow()
{
	local result=0
	end_process "$SHADOW" || result=$?
	say "$(tail -n 1 "$T/shadow.log")"
	[ "$result" = 0 ] || fail "the shadow differs from the disk (exit status $result)"
}

start_shadow()
{
	: >"$T/shadow.log"
	start_process "$T/shadow.log" tracker_shadow "$PINS" "$@"
	SHADOW=$STARTED_PID
	[ -z "$CGROUP" ] || echo "$SHADOW" >"$CGROUP/cgroup.procs"
	wait_for 120 "grep -q shadowing '$T/shadow.log' || ! process_lives $SHADOW" "the first copy"
	process_lives "$SHADOW" || fail "$(cat "$T/shadow.log")"
}

WRITERS=()
make_disk 192M
A=$LOOP
make_disk 128M --direct-io=on
B=$LOOP

say "raw disks: direct, buffered, merged, split, discarded and zeroed"
start_shadow "$A" "$B"
# Each in its own half: a direct write over a page that another process has dirty is an error to it.
start_writer tracker_writer "$A" /dev/null 1 direct,sector,merged 0 0 $((96 << 20))
start_writer tracker_writer "$A" /dev/null 2 buffered,discard,zeroout,split 0 $((96 << 20)) $((96 << 20))
start_writer tracker_writer "$B" /dev/null 3 direct,sector,merged,buffered,split,discard,zeroout 0
load_runs
stop_writers
sync
finish_shadow
grep -q " [1-9][0-9]* passes" <<<" $(tail -n 1 "$T/shadow.log")" || fail "no pass was made"

say "one small hot area: the same blocks are taken, read and written all the time"
start_shadow "$A"
start_writer tracker_writer "$A" /dev/null 4 sector 0 0 65536
start_writer tracker_writer "$A" /dev/null 5 sector,direct 0 0 65536
load_runs
stop_writers
sync
finish_shadow

say "a file system on a partition: fio, files that come and go, fstrim"
partition_disk "$A" <<<$'label: gpt\nstart=20480, size=360000' >"$T/sfdisk.log"
mkfs.ext4 -q "${A}p1"
mount_folder "${A}p1" "$T/mnt"
start_shadow "$A" "$B"
start_writer fio --name=rewrite --directory="$T/mnt" --size=40M --rw=randwrite --bsrange=512-64k \
	--direct=0 --fsync=32 --time_based --runtime=600
start_writer bash -c 'while :; do cp -r /usr/share/doc/bash /usr/include/linux "$1/copy"; sync -f "$1"; \
	rm -rf "$1/copy"; fstrim "$1"; done' - "$T/mnt"
load_runs
stop_writers
unmount_folder "$T/mnt"
sync
finish_shadow
say "passed"
