#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A target whose server takes one connection at a time, like a qemu-nbd as it comes: one data connection is
# used, whatever the agent asks for, and the replica is the same in the end.

. "$(dirname "$0")/../functions.sh"
requires ROOT BPF LOOP qemu-nbd mkfs.ext4 jq

make_disk 96M
make_filesystem ext4 "$LOOP" "$T/source"
dd if=/dev/urandom of="$T/source/data" bs=1M count=30 conv=fsync status=none
truncate -s 96M "$T/target.img"
start_process "$T/qemu-nbd.log" qemu-nbd --persistent --format raw --socket "$T/target.sock" "$T/target.img"
wait_for 20 "[ -S '$T/target.sock' ]" "qemu-nbd"

start_receiver "[machine web1]" "disk0 = nbd+unix:///?socket=$T/target.sock"
start_agent web1 "$LOOP" "connections = 4"
wait_for 60 "[ \"\$(status web1 .ready)\" = true ]" "the first copy"
grep -q ' 1 data connections' "$T/agent-web1.log" || fail "more than one data connection"
ferry cutover web1 --fence hold --timeout 30
compare "$LOOP" "$T/target.img"
