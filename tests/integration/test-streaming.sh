#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Streaming, end to end: a disk under writes is copied, capture takes over, checkpoints are made; then the agent and
# the receiver are killed while it streams, and each time it goes on where it was, without a gap. Verify finds nothing
# in between, and after a cutover from streaming every byte is the same.
#
#   writer -> ext4 -> loopX -> agent ==TLS, STREAM==> receiver -> journal -> nbdkit -> file

. "$(dirname "$0")/../functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

make_disk 256M
make_filesystem ext4 "$LOOP" "$T/source"

start_process "$T/writer.log" writer run "$T/source" --progress "$T/progress" --rewrite-mib 48 \
	--rewrite-mib-per-s 10
writer=$STARTED_PID
wait_for 60 "[ -s '$T/progress' ]" "the writer's first records"

start_receiver
start_agent web1 "$LOOP" "checkpoint-interval = 200ms"

# goes_on WHAT: it streams, and the writer writes
goes_on()
{
	local from
	from=$(acknowledged_records)
	wait_streaming web1 "$1"
	wait_for 60 "[ \$(acknowledged_records) -gt $((from + 20)) ]" "more records after: $1"
}

goes_on "streaming"
say "streaming: $(status web1 .captured_bytes) bytes captured"
ferry verify web1
[ "$(status web1 .phase)" = streaming ] || fail "verify ended streaming: $(status web1 .phase)"

# A stream that goes on where it was says so; one that had a gap catches up.
check_no_gap()
{
	[ "$(grep -c 'catching up' "$T/agent-web1.log")" = 1 ] || fail "a gap after $1"
}

for round in 1 2 3; do
	stop_agent KILL
	start_agent web1 "$LOOP" "checkpoint-interval = 200ms"
	goes_on "streaming after the agent was killed ($round)"
	check_no_gap "the agent was killed"
	stop_receiver
	start_receiver
	goes_on "streaming after the receiver was restarted ($round)"
	check_no_gap "the receiver was restarted"
done
ferry verify web1

# Killed, it may want to compare; then it goes on all the same.
for round in 1 2; do
	stop_receiver KILL
	start_receiver
	goes_on "streaming after the receiver was killed ($round)"
done
ferry verify web1

ferry cutover web1 --fence hold --timeout 30 --json | tee "$T/cutover.json"
tail -n 1 "$T/cutover.json" | jq -e '.data_downtime_ms > 0 and .certified_bytes > 0' >/dev/null ||
	fail "the result of the cutover says neither downtime nor certification"
target=$(status web1 '.disks[0].path')
compare "$LOOP" "$target" || fail "source and target differ"
promised=$(acknowledged_records)
cp --sparse=always "$target" "$T/target.img"
target_loop=$(losetup --find --show --read-only "$T/target.img")
cleanup_fn losetup -d "$target_loop"
e2fsck -fn "$target_loop" || fail "the target's file system is damaged"
mount_folder "$target_loop" "$T/target" -o ro,noload
writer check "$T/target" --at-least "$promised" || fail "an acknowledged record is missing"
process_lives "$writer" || fail "the writer ended"
