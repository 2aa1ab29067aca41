#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Completions that interrupt the handling of other completions: the kernel then skips the program that was
# interrupted, for the one that interrupts. Another of the three must have marked it: a shadow copy kept up
# with the bits alone stays identical, although runs were skipped.
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF fio taskset bpftool jq

PINS=/sys/fs/bpf/$(basename "$T")
cleanup_fn remove_pins "$PINS"
MISSES=300
DEADLINE_S=60

[ "$(nproc)" -ge 2 ] || skip "needs two processors"
make_disk 16M
NESTER=$LOOP
make_disk 256M
DISK=$LOOP
# Completions go to the processor that asked, by an interrupt: there the nester is at work.
echo 2 >"/sys/block/${DISK#/dev/}/queue/rq_affinity"

missed()
{
	local program total=0
	for program in "$PINS"/live/program_complete_*; do
		total=$((total + $(bpftool --json prog show pinned "$program" | jq '.recursion_misses // 0')))
	done
	echo "$total"
}

# Elsewhere, so that it is not the completions of its reads that are counted.
start_process "$T/shadow.log" taskset -c 1 tracker_shadow "$PINS" "$DISK"
SHADOW=$STARTED_PID
wait_for 120 "grep -q shadowing '$T/shadow.log' || ! process_lives $SHADOW" "the first copy"
start_process "$T/nester.log" taskset -c 0 tracker_nester "$NESTER"
NESTER_PID=$STARTED_PID
wait_for 10 "grep -q failing '$T/nester.log' || ! process_lives $NESTER_PID" "the nester"
process_lives "$NESTER_PID" || skip "cannot nest completions here: $(tail -n 1 "$T/nester.log")"
start_process "$T/fio.log" fio --name=writes --filename="$DISK" --cpus_allowed=0 --rw=randwrite --bs=4k \
	--direct=1 --ioengine=io_uring --iodepth=32 --time_based --runtime=600 --norandommap
WRITER=$STARTED_PID
wait_until "$DEADLINE_S" "[ \$(missed) -ge $MISSES ]" || say "only $(missed) runs were skipped in $DEADLINE_S s"
process_lives "$WRITER" || fail "fio ended"
end_process "$WRITER" || true
end_process "$NESTER_PID" || true
count=$(missed)
result=0
end_process "$SHADOW" || result=$?
say "$(tail -n 1 "$T/shadow.log"); $count of them of completion programs"
[ "$result" = 0 ] || fail "a write was lost: the shadow differs from the disk"
[ "$count" != 0 ] || skip "no completion interrupted another one in $DEADLINE_S s: nothing was tested"
say "passed"
