#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A link of 1 MB/s and a capture ring of 256 KiB under a program that writes several MB/s: gap after gap. The program
# never waits, nothing that it wrote is lost, checkpoints of before the gaps stay what they were, and when it ends
# streaming begins again by itself, over the slow link.
#
#   this namespace: receiver, writer      $HERE ─── tbf 1 MB/s ─── $THERE      namespace $NS: agent

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit nbdcopy jq ip tc
make_network

gaps()
{
	status web1 .gaps.count
}

# frozen_point LABEL: a checkpoint, and a copy by dd of the frozen disk
frozen_point()
{
	sync -f "$T/source"
	fsfreeze -f "$T/source"
	wait_for 60 "ferry checkpoint web1 --label $1" "the checkpoint $1"
	dd if="$SOURCE" of="$T/copy-$1" bs=1M iflag=direct status=none
	fsfreeze -u "$T/source"
}

# expect_point LABEL: a view of that checkpoint has the bytes of the copy
expect_point()
{
	local view
	view=$(ferry view web1 --at "$1" --json)
	nbdcopy "$(jq -r '.disks[0].uri' <<<"$view")" "$T/read"
	cmp "$T/read" "$T/copy-$1" || fail "checkpoint $1 is not what it was"
	ferry view web1 --stop "$(jq -r .id <<<"$view")" >/dev/null
}

make_source 64M 8M
start_network_receiver
start_network_agent web1 "$SOURCE" "checkpoint-interval = 200ms" "ring = 256KiB"
wait_streaming web1
frozen_point before

tc -n "$NS" qdisc add dev "$THERE" root tbf rate 8mbit burst 16kb latency 200ms 2>"$T/tc.err" ||
	skip "this kernel has no tbf: $(cat "$T/tc.err")"
before=$(gaps)
say "writing faster than the link; $before gaps until now"
start_writer 6
wait_for 60 "[ \"\$(gaps)\" -gt $before ]" "a gap"
# Some seconds more: delta passes that end, and what is written meanwhile.
target=$(($(acknowledged_records) + 600))
wait_for 60 "[ \$(acknowledged_records) -ge $target ]" "the program's further records: it waits for us"
stop_writer
records=$(acknowledged_records)
say "written: $records records, $(gaps) gaps, the last: $(status web1 .gaps.reason)"
wait_streaming web1 "streaming after the writes"
overlimits=$(tc -n "$NS" -s -j qdisc show dev "$THERE" | jq '.[0].overlimits')
[ "$overlimits" -gt 0 ] || fail "the link was never full: nothing was tested"

say "streaming again; the checkpoint of before, and one of now"
frozen_point after
expect_point before
expect_point after
! cmp -s "$T/copy-before" "$T/copy-after" || fail "both checkpoints are the same"
become_identical web1

ferry cutover web1 --fence hold --timeout 30 >"$T/cutover.out" || fail "cutover: $(cat "$T/cutover.out")"
replica=$(status web1 '.disks[0].path')
compare "$SOURCE" "$replica" || fail "source and target differ"
mount_folder "$replica" "$T/replica" -o loop
writer check "$T/replica" --at-least "$records" >"$T/check.txt" || fail "$(cat "$T/check.txt")"
say "$(cat "$T/check.txt")"
