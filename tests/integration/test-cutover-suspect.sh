#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A command that may have written anywhere (SG_IO and its like) has no address, and sets no bit. It comes after SEAL, while
# the receiver still waits for its target's flush: the cutover is given up, and the source goes on.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

make_source 32M 4M
truncate -s 32M "$T/target.img"
# A target whose flush takes long once the source is frozen.
make_slow_flush "$T/flush" "$T/target.img" "$T/slow"
start_process "$T/nbdkit.log" nbdkit -f --unix "$T/nbd.sock" eval get_size="echo 32M" can_write=true can_flush=true \
	pread="dd if=$T/target.img iflag=skip_bytes,count_bytes skip=\$4 count=\$3 bs=1M status=none" \
	pwrite="dd of=$T/target.img oflag=seek_bytes seek=\$4 conv=notrunc bs=1M iflag=fullblock status=none" flush="$T/flush"
wait_for 10 "[ -S '$T/nbd.sock' ]" "nbdkit's socket"
start_receiver "[machine web1]" "disk0 = nbd+unix:///?socket=$T/nbd.sock"
start_writer 0.1
start_agent web1 "$SOURCE" "checkpoint-interval = 10s"
wait_streaming web1

say "a command between SEAL and COMMIT"
touch "$T/slow"
ferry cutover web1 --fence hold --timeout 30 --no-certify --json >"$T/cutover.out" 2>"$T/cutover.err" &
CUTOVER=$!
wait_for 60 "grep -q '\"drain\"' '$T/cutover.out' || [ -s '$T/cutover.err' ]" "the drain"
# Who has read SEAL waits for the flush: what the agent says next stays unread.
wait_for 20 "ss -Htn 'sport = :$RECEIVER_PORT' | awk '\$2 > 0 { found = 1 } END { exit !found }'" "SEAL"
tracker_break "$AGENT_PINS/live" suspect
result=0
wait "$CUTOVER" || result=$?
[ "$result" != 0 ] || fail "cut over although a write may have been missed"
cat "$T/cutover.out" "$T/cutover.err" | grep -q "may have been missed\|may have written" || fail "$(cat "$T/cutover.out" "$T/cutover.err")"

say "the source goes on, and is compared"
rm "$T/slow"
writer_moves || fail "the source is still frozen"
wait_message "$T/agent-web1.log" "whole disk by digest"
wait_streaming web1
ferry cutover web1 --fence hold --timeout 30
compare "$SOURCE" "$T/target.img" || fail "source and target differ"
