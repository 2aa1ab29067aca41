#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Completions that interrupt the handling of other completions, while capture is on: the kernel skips programs, and
# one of the three must have captured each write, or a hole must have been counted. An image that is kept up by
# the ring and the holes alone is identical in the end.
. "$(dirname "$0")/../nesting-functions.sh"
requires cmp

make_nested_disk 128M

ctl()
{
	capture_ctl -p "$PINS" -r $((128 << 20)) "$DISK" -- "$@" 2>>"$T/ctl.log"
}

ctl start settle || skip "capture: $(tail -n 1 "$T/ctl.log")"
cp --sparse=always "$DISK_FILE" "$T/image.0"
start_process "$T/follow.log" taskset -c 1 capture_ctl -p "$PINS" -r $((128 << 20)) "$DISK" -- follow "$T/image"
FOLLOWER=$STARTED_PID
wait_for 60 "grep -q following '$T/follow.log'" "the reader of the ring"
# No two writes to the same place at a time: they may reach the disk in one order and complete in the other.
nest_completions 100 40 --serialize_overlap=1 --rate_iops=6000
ctl settle
end_process "$FOLLOWER"
ctl status
say "$(tail -n 1 "$T/follow.log"); $MISSED runs of completion programs were skipped"
ctl reread "$T/image"
cmp "$DISK_FILE" "$T/image.0" || fail "a write was lost: the image differs from the disk"
expect_nesting
say "passed"
