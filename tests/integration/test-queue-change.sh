#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What an administrator may turn while a disk is replicated: its scheduler, how many requests it takes, and whether the
# kernel counts them (iostats). Checkpoints go on being confirmed, nothing is lost, and what was switched on is put back.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

make_source 96M 8M
QUEUE=/sys/block/${SOURCE#/dev/}/queue
[ -w "$QUEUE/iostats" ] || skip "$QUEUE/iostats cannot be written"
set_queue()
{
	echo "$2" >"$QUEUE/$1"
}
unmask()
{
	umount "$(readlink -f "$QUEUE")/iostats" 2>/dev/null || true
}
cleanup_fn unmask

newest_point()
{
	ferry points web1 --json | jq 'map(.number) | max // 0'
}
# wait_points WHAT: checkpoints that are newer than now
wait_points()
{
	local from
	from=$(newest_point)
	wait_for 60 "[ \$(newest_point) -gt $((from + 3)) ]" "checkpoints: $1"
}

set_queue iostats 0
start_writer 4
start_receiver
start_agent web1 "$SOURCE" "checkpoint-interval = 200ms"

say "requests that are not counted: they are, while the disk is tracked"
wait_streaming web1 "streaming with iostats off at first"
[ "$(cat "$QUEUE/iostats")" = 1 ] || fail "iostats is $(cat "$QUEUE/iostats")"
wait_message "$T/agent-web1.log" "iostats was off"
set_queue iostats 0
wait_for 30 "[ \"\$(cat '$QUEUE/iostats')\" = 1 ]" "iostats, switched off at run time"
wait_points "after that"

say "another scheduler, fewer and more requests"
for scheduler in mq-deadline none; do
	grep -q "$scheduler" "$QUEUE/scheduler" || continue
	set_queue scheduler "$scheduler"
	for requests in 8 256 64 1024; do
		set_queue nr_requests "$requests" 2>/dev/null || continue # not all can be had
		wait_for 10 "writer_moves 5" "writes with $requests requests"
	done
	wait_points "with the scheduler $scheduler"
done
# Where the kernel runs no program for some completions (agent/bpf/README.md) there are gaps, but no others.
! grep "gap in the stream" "$T/agent-web1.log" | grep -v "unseen completion" || fail "a gap"
! grep -q "whole disk by digest" "$T/agent-web1.log" || fail "the disk was suspected"
ferry verify web1

say "more tags than there were when tracking began: suspected once, then tracked with room for them"
mark_log "$T/agent-web1.log"
tracker_break "$AGENT_PINS/live" tags
wait_message "$T/agent-web1.log" "tracking gets more room"
wait_message "$T/agent-web1.log" "whole disk by digest"
wait_streaming web1 "streaming after the disk was compared"
wait_points "after the disk was compared"
[ "$(grep -c "whole disk by digest" "$T/agent-web1.log")" = 1 ] || fail "it was compared more than once"
ferry verify web1

say "iostats that cannot be switched on: said, and checkpoints all the same"
stop_agent
set_queue iostats 0
echo 0 >"$T/iostats"
mount --bind "$T/iostats" "$(readlink -f "$QUEUE")/iostats"
mount -o remount,bind,ro "$(readlink -f "$QUEUE")/iostats"
mark_log "$T/agent-web1.log"
start_agent web1 "$SOURCE" "checkpoint-interval = 200ms"
wait_message "$T/agent-web1.log" "cannot be switched on"
wait_streaming web1 "streaming without iostats"
wait_points "without iostats"
status web1 .last_error | grep -q iostats || fail "status does not say it: $(status web1 .last_error)"
ferry verify web1

say "put back when tracking ends"
unmask
wait_for 30 "[ \"\$(cat '$QUEUE/iostats')\" = 1 ]" "iostats, as it can be switched on now"
stop_agent
blkferry-agent forget --config "$T/agent-web1.ini"
[ "$(cat "$QUEUE/iostats")" = 0 ] || fail "iostats is left on"
