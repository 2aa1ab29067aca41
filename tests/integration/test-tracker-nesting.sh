#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Completions that interrupt the handling of other completions: the kernel then skips the program that was
# interrupted, for the one that interrupts. Another of the three must have marked it: a shadow copy kept up
# with the bits alone stays identical, although runs were skipped.
. "$(dirname "$0")/../nesting-functions.sh"

make_nested_disk 256M
# Elsewhere, so that it is not the completions of its reads that are counted.
start_process "$T/shadow.log" taskset -c 1 tracker_shadow "$PINS" "$DISK"
SHADOW=$STARTED_PID
wait_for 120 "grep -q shadowing '$T/shadow.log' || ! process_lives $SHADOW" "the first copy"
nest_completions 300 60 --norandommap
result=0
end_process "$SHADOW" || result=$?
say "$(tail -n 1 "$T/shadow.log"); $MISSED of them of completion programs"
[ "$result" = 0 ] || fail "a write was lost: the shadow differs from the disk"
expect_nesting
say "passed"
