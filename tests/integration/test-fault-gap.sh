#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A capture ring that is far too small for a flood of writes: the stream has gaps, delta passes take over, and streaming
# begins again by itself when the flood has ended. Not one write is lost, and the guest never waited for us.

. "$(dirname "$0")/../functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

make_disk 256M
make_filesystem ext4 "$LOOP" "$T/source"
start_receiver
start_agent web1 "$LOOP" "checkpoint-interval = 200ms" "ring = 256KiB"

gaps()
{
	grep -c 'the stream has a gap' "$T/agent-web1.log" || true
}

wait_streaming web1
for round in 1 2; do
	before=$(gaps)
	# Status may say streaming for a moment after the gap before: a flood that ended then would meet no ring at all.
	for i in $(seq 400); do
		dd if=/dev/urandom of="$T/source/flood$((i % 40))" bs=1M count=2 oflag=direct status=none
		[ "$(gaps)" = "$before" ] || break
	done
	[ "$(gaps)" -gt "$before" ] || fail "800 MiB went through a ring of 256 KiB without a gap ($round)"
	wait_streaming web1 "streaming after the flood ($round)"
	say "streaming again after a gap"
done
ferry verify web1
sync -f "$T/source"
ferry cutover web1 --fence hold --timeout 30
compare "$LOOP" "$(status web1 '.disks[0].path')" || fail "source and target differ"
