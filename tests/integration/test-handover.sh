#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A restart of the system, acted out on a loop disk: the pins go, as they do with the kernel, and what blkferry-early
# does at a stop and at a start has to bring all bits over, once, or say why there has to be a comparison.

# Mounts of its own: a mount namespace that somebody else makes meanwhile would keep this one's file system in use.
[ -n "${OWN_MOUNTS:-}" ] || OWN_MOUNTS=1 exec unshare --mount "$0"
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF mkfs.ext4 sfdisk partx jq nbdcopy

make_disk 96M
DISK=$LOOP
partition_disk "$DISK" <<<$'label: gpt\nsize=48M\nsize=4M\nsize=36M'
mkfs.ext4 -q -F "${DISK}p1"
# A FAT, as far as anybody looks: boot loaders may write there unseen, so it is sent again each time.
printf '%054dFAT16   %0448d\x55\xaa' 0 0 | dd of="${DISK}p2" conv=notrunc status=none
mount_folder "${DISK}p1" "$T/fs"
LINES=("handover-file = $T/fs/handover" "allocated-only = no")

start_receiver
start_agent web1 "$DISK" "${LINES[@]}"
RUN=/run/$(basename "$AGENT_PINS")-agent
cleanup_fn rm -rf "$RUN"
PLAN=$T/agent-web1/handover.plan
blkferry-agent initramfs --config "$T/agent-web1.ini" --no-build
[ "$(blkferry-agent initramfs --config "$T/agent-web1.ini" --plan)" = "$PLAN" ] || fail "--plan"

write_file()
{
	dd if=/dev/urandom of="$T/fs/$1" bs=64k count="$2" conv=fsync status=none
}

wait_ready()
{
	wait_for 60 "[ \"\$(status web1 '.ready and .phase == \"streaming\"')\" = true ]" "the replica to be ready"
}

# The last start, as status tells it
start_text()
{
	status web1 '"\(.last_start.orderly) \(.last_start.text)"'
}

# stop_system [OPTION...]: as systemd-shutdown does it; its exit status
stop_system()
{
	local status=0
	mount -o remount,ro "$T/fs"
	blkferry-early stop --run "$RUN" "$@" 2>>"$T/early.log" || status=$?
	umount "$T/fs"
	return "$status"
}

# power_on: the kernel's memory is gone, RUN with it; then the initramfs, the mounts, the agent
power_on()
{
	remove_pins "$AGENT_PINS"
	rm -rf "$RUN"
	blkferry-early start --plan "$PLAN" 2>>"$T/early.log" || true
	mount "${DISK}p1" "$T/fs"
	write_file early 8 # before the agent
	start_agent web1 "$DISK" "${LINES[@]}"
	wait_for 60 "[ \"\$(status web1 .connected)\" = true ]" "the agent"
	wait_ready
}

# expect_start ORDERLY REGEX
expect_start()
{
	start_text | grep -qE "^$1 .*$2" || fail "the last start: $(start_text); wanted $1 $2"
	say "status: $(start_text)"
	ferry verify web1 >"$T/verify.out" || fail "the replica differs: $(cat "$T/verify.out")"
}

write_file one 64
wait_ready
sum=$(sha256sum <"$T/fs/one")
wait_for 60 "ferry checkpoint web1 --label before" "a checkpoint"
expect_start false "blkferry-agent initramfs"

say "a stop and a start in order: nothing is compared, little is sent, nothing is lost"
stop_agent
write_file one 64
write_file two 64 # tracked, though there is no agent
stop_system --no-guard || fail "no clean stop: $(cat "$T/early.log")"
power_on
expect_start true "restarted in order"
sent=$(status web1 .sent_bytes)
[ "$sent" -lt $((40 << 20)) ] || fail "$sent bytes were sent: that is no delta"

say "a record is believed once"
! blkferry-early start --plan "$PLAN" 2>"$T/twice" || fail "believed twice"
grep -q "no clean stop was recorded" "$T/twice" || fail "$(cat "$T/twice")"

say "a crash: no record, a comparison; an agent that was killed cannot have said what has to be watched"
stop_agent KILL
! stop_system --no-guard || fail "a stop without an agent's end was called clean"
grep -q "had not ended in order" "$T/early.log" || fail "$(cat "$T/early.log")"
power_on
expect_start false "no clean stop was recorded"

say "somebody else mounts the file system while this one is off"
stop_agent
stop_system --no-guard || fail "no clean stop"
mount "${DISK}p1" "$T/fs"
write_file other 4
umount "$T/fs"
power_on
expect_start false "changed while this system was off"

# refuses REGEX: a stop now is not called clean, and that is why
refuses()
{
	! blkferry-early stop --run "$RUN" --no-guard 2>"$T/refused" || fail "called clean"
	grep -qE "$1" "$T/refused" || fail "$(cat "$T/refused")"
}

say "a file system still mounted read-write, a disk open for writing, a file that has moved: no clean stop"
stop_agent
refuses "$T/fs was still mounted read-write"
mount -o remount,ro "$T/fs"
exec 7<>"$DISK"
refuses "open for writing"
exec 7>&-
mount -o remount,rw "$T/fs"
cp "$T/fs/handover" "$T/fs/copy"
mv "$T/fs/handover" "$T/fs/original"
mv "$T/fs/copy" "$T/fs/handover"
mount -o remount,ro "$T/fs"
refuses "has moved"
mount -o remount,rw "$T/fs"
mv "$T/fs/original" "$T/fs/handover"

say "something in which changes leave no trace: no clean stop, and the next start says why"
start_agent web1 "$DISK" "${LINES[@]}"
wait_for 60 "[ \"\$(status web1 .connected)\" = true ]" "the agent"
dd if=/dev/urandom of="${DISK}p3" bs=1M count=1 oflag=direct status=none
stop_agent
! stop_system --no-guard || fail "called clean"
dd if=/dev/zero of="${DISK}p3" bs=1M count=1 oflag=direct status=none
power_on
expect_start false "the last stop was not clean: loop[0-9]*p3 holds something"

say "a write after the record: it is withdrawn"
stop_agent
stop_system || fail "no clean stop: $(tail -n 1 "$T/early.log")"
dd if=/dev/urandom of="$DISK" bs=4k seek=20000 count=1 oflag=direct conv=notrunc status=none
wait_for 20 "! grep -qs \"blkferry-early.*$RUN\" /proc/[0-9]*/cmdline" "the guard to end"
power_on
expect_start false "something wrote to a disk after the stop"


say "the checkpoint of before all that is still what it was"
uri=$(ferry view web1 --at before --json | jq -r '.disks[0].uri')
nbdcopy "$uri" "$T/before.img"
old=$(losetup --find --show --offset 1048576 --sizelimit $((48 << 20)) "$T/before.img")
cleanup_fn losetup -d "$old"
mount_folder "$old" "$T/old"
[ "$(sha256sum <"$T/old/one")" = "$sum" ] || fail "a file of it is another"
stop_agent
