#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Crash consistency, on real disks: while a program that relies on its disk writes and fsyncs, beside random rewrites,
# checkpoints are made. Then the agent is killed, and the target is rolled back to one checkpoint after the other: after
# the replay of its own journal the file system is clean, and every record up to some point is there and right.

. "$(dirname "$0")/../functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

make_disk 128M
make_filesystem ext4 "$LOOP" "$T/source"
start_receiver
start_agent web1 "$LOOP" "checkpoint-interval = 100ms"
wait_phase web1 streaming 120
start_process "$T/writer.log" writer run "$T/source" --progress "$T/progress" --rewrite-mib 24 \
	--rewrite-mib-per-s 20
# Older ones are thinned out to one a second.
newer()
{
	ferry points web1 --json | jq -r "[.[].number | select(. > ${first:-0})] | sort | .[]"
}
wait_for 60 "[ -s '$T/progress' ] && [ -n \"\$(newer)\" ]" "the first checkpoint"
first=$(newer | tail -n 1)
wait_for 120 '[ "$(newer | wc -l)" -ge 12 ]' "checkpoints"
stop_agent KILL
target=$(status web1 '.disks[0].path')
wait_for 30 '[ "$(status web1 .connected)" = false ]' "the end of the session"

checked=0
last=0
for number in $(newer); do
	newer | grep -qx "$number" || continue # thinned out meanwhile
	ferry rollback web1 --at "#$number" >/dev/null
	cp --sparse=always "$target" "$T/point.img"
	e2fsck -fy "$T/point.img" >"$T/fsck.txt" || [ $? = 1 ] || fail "checkpoint $number: $(cat "$T/fsck.txt")"
	e2fsck -fn "$T/point.img" >"$T/fsck.txt" || fail "checkpoint $number: $(cat "$T/fsck.txt")"
	mount_folder "$T/point.img" "$T/point" -o ro,loop
	writer check "$T/point" --at-least "$last" >"$T/check.txt" || fail "checkpoint $number: $(cat "$T/check.txt")"
	last=$(sed -n 's/.*last=\([0-9]*\).*/\1/p' "$T/check.txt")
	unmount_folder "$T/point"
	checked=$((checked + 1))
done
[ "$checked" -ge 8 ] || fail "only $checked checkpoints were looked at"
say "$checked checkpoints, each a state that a power cut could have left; records up to $last"
