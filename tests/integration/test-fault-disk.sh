#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Disks of the source that change under the agent: larger, smaller, gone, another one under the same path. Where it can go on it does; else it says what is wrong, and goes on when it is put
# right.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

make_source 64M 8M
file=$LOOP_FILE
start_receiver
start_writer 1
run_agent()
{
	start_agent web1 "$SOURCE" "pass-interval = 100ms" "$@"
}
run_agent
wait_ready web1

say "larger, while it runs"
truncate -s 96M "$file"
losetup -c "$SOURCE"
wait_message "$T/agent-web1.log" "changed its size from 67108864 to 100663296 bytes"
wait_for 60 "[ \"\$(status web1 '.disks[0].size')\" = 100663296 ]" "the new size at the receiver"
[ "$(stat -c %s "$T/storage/web1-disk0.raw")" = 100663296 ] || fail "the target did not grow"
wait_ready web1
head -c 1M /dev/urandom | dd of="$SOURCE" bs=1M seek=90 oflag=direct iflag=fullblock 2>"$T/dd.err"
become_identical web1

say "smaller"
stop_agent
umount "$T/source"
truncate -s 48M "$file"
losetup -c "$SOURCE"
before=$(sha256sum <"$T/storage/web1-disk0.raw")
mark_log "$T/agent-web1.log"
run_agent
wait_message "$T/agent-web1.log" "has shrunk from 100663296 to 50331648 bytes; if that is meant, 'blkferry remove web1'"
wait_last_error web1 "has shrunk from"
stop_agent
[ "$before" = "$(sha256sum <"$T/storage/web1-disk0.raw")" ] || fail "the replica was touched"
truncate -s 96M "$file"
losetup -c "$SOURCE"
mark_log "$T/agent-web1.log"
run_agent
wait_ready web1
ferry verify web1 >"$T/verify.out" || [ $? = 6 ] || fail "verify: $(cat "$T/verify.out")"
ferry verify web1 --repair >"$T/verify.out" || true
wait_for 30 "compare '$SOURCE' '$T/storage/web1-disk0.raw'" "source and target to be the same"

say "gone"
stop_agent
ln -s "$SOURCE" "$T/disk"
start_agent web1 "$T/disk" "pass-interval = 100ms"
wait_ready web1
stop_agent
rm "$T/disk"
start_agent web1 "$T/disk"
result=0
wait_for 30 "! process_lives $AGENT_PID" "the agent to end without its disk"
end_process "$AGENT_PID" || result=$?
[ "$result" = 1 ] || fail "exit status $result"
tail -n 3 "$T/agent-web1.log" | grep -F "$T/disk" || fail "it did not name the disk: $(tail -n 3 "$T/agent-web1.log")"

say "another disk under the same path"
make_disk 96M
SOURCE=$LOOP
head -c 96M /dev/urandom >"$LOOP_FILE"
ln -s "$SOURCE" "$T/disk"
before=$(sha256sum <"$T/storage/web1-disk0.raw")
start_agent web1 "$T/disk" "pass-interval = 100ms"
wait_ready web1
[ "$before" = "$(sha256sum <"$T/storage/web1-disk0.raw")" ] || fail "the other disk went over the replica of the first"
wait_for 60 "compare '$SOURCE' '$T/storage/web1-disk1.raw'" "its replica to be identical"
expect_exit 5 "is not there at the source any more: its replica is out of date" ferry cutover web1 --fence hold
