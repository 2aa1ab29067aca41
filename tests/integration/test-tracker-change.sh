#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Disks that change under the tracker: they grow, shrink, are replaced, are many. And what the tracker refuses.
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF jq sfdisk partx mkfs.ext4 python3

PINS=/sys/fs/bpf/$(basename "$T")
cleanup_fn remove_pins "$PINS"
make_disk 64M
A=$LOOP
A_FILE=$LOOP_FILE

ctl()
{
	tracker_ctl -p "$PINS" -s "${STATE:-/nonexistent}" ${BITMAP:+-b "$BITMAP"} "$A" -- "$@" 2>>"$T/ctl.log"
}

state()
{
	ctl state >"$T/state"
	cat "$T/state" >>"$T/ctl.log"
}

expect()
{
	grep -q "\b$1=$2 " "$T/state" || fail "$1 is not $2: $(cat "$T/state")"
}

write_at()
{
	dd if=/dev/urandom of="$A" bs=1M seek="$1" count=1 oflag=direct conv=notrunc status=none
}

say "what is written past the end, after the disk has grown, makes it suspect"
ctl take forget adopt
: >"$T/hold.log"
start_process "$T/hold.log" tracker_ctl -p "$PINS" "$A" -- hold
HOLDER=$STARTED_PID
wait_for 20 "grep -q holding '$T/hold.log'" "the holder"
write_at 2
truncate -s 80M "$A_FILE"
losetup --set-capacity "$A"
write_at 70
end_process "$HOLDER" KILL || true
truncate -s 64M "$A_FILE"
losetup --set-capacity "$A"
state
expect suspect 1
expect continuous 1
grep -q "grown" "$T/state" || fail "why: $(cat "$T/state")"
ctl clear-suspect
state
expect suspect 0

say "grown: not continuous, old bits are kept, the new area is listed"
truncate -s 96M "$A_FILE"
losetup --set-capacity "$A"
state
expect continuous 0
expect suspect 0
expect epoch 7
grep -q "size changed" "$T/state" || fail "why: $(cat "$T/state")"
[ "$(ctl list 0)" = $'2097152 1048576\n67108864 33554432' ] || fail "marked: $(ctl list 0)"

say "shrunk: not continuous"
ctl forget adopt
write_at 5
truncate -s 48M "$A_FILE"
losetup --set-capacity "$A"
state
expect continuous 0
[ "$(ctl list 0)" = "5242880 1048576" ] || fail "marked: $(ctl list 0)"

say "replaced by another disk of the same number and size: not continuous"
# A number that nobody is given who asks for a free one, as long as it has never been used.
A=/dev/loop$((1000 + $$))
losetup "$A" "$T/disk1.img"
# losetup cannot take a number back: LOOP_CTL_REMOVE.
cleanup_fn python3 -c "import fcntl; fcntl.ioctl(open('/dev/loop-control'), 0x4C81, ${A#/dev/loop})"
cleanup_fn detach_loop "$A"
ctl take forget adopt
state
expect continuous 1
detach_loop "$A"
truncate -s 48M "$T/other.img"
losetup "$A" "$T/other.img"
state
expect continuous 0
grep -q "attached again" "$T/state" || fail "why: $(cat "$T/state")"

say "less memory: coarser bits, nothing lost; more memory: finer again"
ctl take forget adopt
write_at 7
BITMAP=512
state
expect continuous 1
expect block 16384
[ "$(ctl list 0)" = "7340032 1048576" ] || fail "marked: $(ctl list 0)"
dd if=/dev/zero of="$A" bs=512 seek=2 count=1 oflag=direct conv=notrunc status=none
[ "$(ctl list 0)" = $'0 16384\n7340032 1048576' ] || fail "marked: $(ctl list 0)"
BITMAP=
state
expect continuous 1
expect block 4096
[ "$(ctl list 0)" = $'0 16384\n7340032 1048576' ] || fail "marked: $(ctl list 0)"
ctl remove

make_disk 64M
A=$LOOP
say "the canary: written and found where the state folder is on a tracked disk"
partition_disk "$A" <<<$'label: gpt\nstart=4096, size=80000' >"$T/sfdisk.log"
mkfs.ext4 -q "${A}p1"
mount_folder "${A}p1" "$T/mnt"
STATE=$T/mnt
: >"$T/ctl.log"
ctl state >/dev/null
[ "$(stat -c %s "$T/mnt/canary")" = 4096 ] || fail "no canary was written"
! grep 'no canary' "$T/ctl.log" || fail "the canary was left out"
# A set whose bits go nowhere: the second canary has to notice.
tracker_break "$PINS/live" lookup
if ctl state >/dev/null; then
	fail "a tracker that marks nothing passed its self-test"
fi
grep -q "self-test" <<<"$(tail -n 1 "$T/ctl.log")" || fail "said: $(tail -n 1 "$T/ctl.log")"
STATE=
unmount_folder "$T/mnt"
rm -rf "$PINS"

say "refused, with a reason: not request-based, no bpffs, the same disk twice, a dot in the name"
refused()
{
	local reason=$1 status=0
	shift
	"$@" -- state >"$T/out" 2>&1 || status=$?
	[ "$status" = 3 ] || fail "exit status $status: $(cat "$T/out")"
	grep -q "$reason" "$T/out" || fail "said: $(cat "$T/out")"
}
refused "not request-based" tracker_ctl -n -p "$PINS" "$A"
refused "bpffs" tracker_ctl -p "$T/pins" "$A"
refused "twice" tracker_ctl -p "$PINS" "$A" "$A"
refused "dots" tracker_ctl -p "$PINS.x" "$A"
[ -z "$(find "$PINS" -mindepth 1 2>/dev/null)" ] || fail "left behind: $(find "$PINS")"

say "scan: everything is listed, nothing is continuous, nothing is pinned"
tracker_ctl -k scan -p "$PINS" "$A" -- adopt take state >"$T/state"
expect continuous 0
expect todo 16384
say "passed"
