#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Completions that interrupt the handling of other completions, while capture is on: the kernel skips programs, and
# one of the three must have captured each write, or a hole must have been counted. An image that is kept up by
# the ring and the holes alone is identical in the end.
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF fio taskset bpftool jq cmp

PINS=/sys/fs/bpf/$(basename "$T")
cleanup_fn remove_pins "$PINS"
MISSES=100
DEADLINE_S=40

[ "$(nproc)" -ge 2 ] || skip "needs two processors"
make_disk 16M
NESTER=$LOOP
make_disk 128M
DISK=$LOOP DISK_FILE=$LOOP_FILE
# Completions go to the processor that asked, by an interrupt: there the nester is at work.
echo 2 >"/sys/block/${DISK#/dev/}/queue/rq_affinity"

ctl()
{
	capture_ctl -p "$PINS" -r $((128 << 20)) "$DISK" -- "$@" 2>>"$T/ctl.log"
}

missed()
{
	local program total=0
	for program in "$PINS"/live/program_complete_*; do
		total=$((total + $(bpftool --json prog show pinned "$program" | jq '.recursion_misses // 0')))
	done
	echo "$total"
}

ctl start settle || skip "capture: $(tail -n 1 "$T/ctl.log")"
cp --sparse=always "$DISK_FILE" "$T/image.0"
start_process "$T/follow.log" taskset -c 1 capture_ctl -p "$PINS" -r $((128 << 20)) "$DISK" -- follow "$T/image"
FOLLOWER=$STARTED_PID
wait_for 60 "grep -q following '$T/follow.log'" "the reader of the ring"
start_process "$T/nester.log" taskset -c 0 tracker_nester "$NESTER"
NESTER_PID=$STARTED_PID
wait_for 10 "grep -q failing '$T/nester.log' || ! process_lives $NESTER_PID" "the nester"
process_lives "$NESTER_PID" || skip "cannot nest completions here: $(tail -n 1 "$T/nester.log")"
# No two writes to the same place at a time: they may reach the disk in one order and complete in the other.
start_process "$T/fio.log" fio --name=writes --filename="$DISK" --cpus_allowed=0 --rw=randwrite --bs=4k \
	--direct=1 --ioengine=io_uring --iodepth=32 --serialize_overlap=1 --rate_iops=6000 --time_based --runtime=600
WRITER=$STARTED_PID
wait_until "$DEADLINE_S" "[ \$(missed) -ge $MISSES ]" || say "only $(missed) runs were skipped in $DEADLINE_S s"
process_lives "$WRITER" || fail "fio ended"
end_process "$WRITER" || true
end_process "$NESTER_PID" || true
count=$(missed)
ctl settle
end_process "$FOLLOWER"
ctl status
say "$(tail -n 1 "$T/follow.log"); $count runs of completion programs were skipped"
ctl reread "$T/image"
cmp "$DISK_FILE" "$T/image.0" || fail "a write was lost: the image differs from the disk"
[ "$count" != 0 ] || skip "no completion interrupted another one in $DEADLINE_S s: nothing was tested"
say "passed"
