#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# xcp-snapshots: while a machine with two disks streams to a pool (the stub's), its VM gets snapshots that are, byte for
# byte, checkpoints, though the pool takes its time and the source is written to all the while. They are thinned out;
# one that fails is said and made later; one that a killed receiver was making goes; a cutover waits for one.

. "$(dirname "$0")/../xapi/helper.sh"
requires ROOT BPF LOOP mkfs.ext4 jq python3 openssl nsenter unshare nbdcopy fio

KEPT=3

# pool_snapshots: the UUIDs of those that the pool has of our VM, sorted
pool_snapshots()
{
	pool VM.get_all_records | jq -r '[.[] | select(.is_a_snapshot) | .uuid] | sort | join(" ")'
}

listed_snapshots()
{
	snapshots web1 'map(.uuid) | sort | join(" ")'
}

# Is the pool at work on one?
is_snapshotting()
{
	[ "$(pool_vm web1 '.current_operations | length')" = 1 ]
}

# slow_snapshot: the next one takes a while; returns when it is under way
slow_snapshot()
{
	order "{\"pause\": \"VM.snapshot\", \"seconds\": $1}" >/dev/null
	wait_for 60 is_snapshotting "a snapshot that is being made"
}

make_source 64M 16M
make_disk 40M
second=$LOOP
make_filesystem ext4 "$second" "$T/second" -b 4096
make_helper
start_pool
# Every checkpoint is kept: a snapshot is compared with its own.
RECEIVER_LINES=("retention = 1h:1ms" "${XCP_LINES[@]}" "[machine web1]" "xcp-snapshots = 3s:$KEPT")
start_receiver "${RECEIVER_LINES[@]}"
start_writer 2
start_process "$T/second.log" fio --directory="$T/second" --size=8M --time_based --runtime=3600 --minimal --name=second \
	--rw=randwrite --bs=4k --direct=1 --ioengine=psync --rate_iops=200
start_agent web1 "$SOURCE,$second"
wait_last_error web1 "blkferry xcp create"
ferry xcp create web1 --sr 'Local storage'
wait_phase web1 streaming 120

say "snapshots are checkpoints, and the guest does not wait for them"
wait_for 60 '[ "$(snapshots web1 length)" -ge 1 ]' "the first snapshot"
for _ in 1 2; do
	last=$(snapshots web1 '.[-1].number')
	slow_snapshot 1.5
	writer_moves 10 || fail "the source stands still"
	wait_for 60 "[ \"\$(snapshots web1 '.[-1].number')\" -gt $last ]" "the next snapshot"
	compare_newest_snapshot web1 2
done
! grep -q "ring full" "$T/agent-web1.log" || fail "the agent's ring was not read"
# One that is being made has none yet.
wait_for 30 "pool VM.get_all_records | jq -e '[.[] | select(.is_a_snapshot)] | length > 0 and
	all(.other_config | has(\"blkferry-checkpoint\"))'" "each to be labelled"

say "they are thinned out"
wait_for 60 "[ \"\$(snapshots web1 length)\" = $KEPT ] && [ \"\$(snapshots web1 '.[0].number')\" -gt $last ]" "thinning"
wait_for 30 '[ "$(pool_snapshots)" = "$(listed_snapshots)" ]' "the pool to have what is listed"
wait_for 30 '[ "$(pool_vdis length)" = $((2 + 2 * $(snapshots web1 length))) ]' "their disks to be gone"
ferry status web1 | grep -q 'snapshots  . in the pool' || fail "status does not show them"

say "one that fails is said, and made later"
order '{"fail": "VM.snapshot", "error": ["SR_BACKEND_FAILURE_44", "", "no space", ""]}' >/dev/null
wait_for 60 'status web1 .snapshots.error | grep -q "has no room"' "the error in status"
[ "$(status web1 .phase)" = streaming ] || fail "it ended the stream"
wait_for 60 '[ "$(status web1 .snapshots.error)" = "" ]' "the next attempt"

say "one that a killed receiver was making goes"
slow_snapshot 2
stop_receiver KILL
before=$(jq -r '[.[] | select(.going | not) | .uuid] | sort | join(" ")' "$T/receiver/machines/web1/xcp-snapshots.json")
wait_for 30 '! is_snapshotting' "the end of it in the pool"
[ "$(pool_snapshots)" != "$before" ] || fail "nothing was left to be cleaned"
start_receiver "${RECEIVER_LINES[@]}"
wait_for 60 '[ "$(pool_snapshots)" = "$(listed_snapshots)" ]' "the leftover to go"
wait_for 60 '[ "$(pool_vdis length)" = $((2 + 2 * $(snapshots web1 length))) ]' "its disks to go"

say "a cutover waits for one"
wait_phase web1 streaming
slow_snapshot 2
ferry cutover web1 --fence hold --timeout 30
[ "$(pool_vm web1 .power_state)" = Running ]
[ "$(pool_vm web1 '.snapshots | length')" -ge 1 ] || fail "its snapshots are gone"
[ "$(pool_vm web1 '.blocked_operations | length')" = 0 ]
for disk in 0 1; do
	vdi=$(pool_vdis "[.[] | select(.name_label == \"web1 disk $disk\" and (.is_a_snapshot | not))][0].uuid")
	compare "$(ferry status web1 --json | jq -r ".disks[$disk].source")" "$T/pool/$vdi"
done
check_pool
