#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Capture: the bytes of every write, in the order of their completion. Images that began as copies of two disks
# are kept up by the ring alone, and are byte-identical in the end, whatever way the disks were written;
# what the ring has no room for is in the bitmap; a reader that is killed goes on where it had released.
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF fio xfs_io mkfs.ext4 cmp

PINS=/sys/fs/bpf/$(basename "$T")
cleanup_fn remove_pins "$PINS"
RING=$((128 << 20)) # the disks are in memory, and bursts are faster than any reader

make_disk 384M
A=$LOOP A_FILE=$LOOP_FILE
make_disk 256M
B=$LOOP B_FILE=$LOOP_FILE

STATE=/nonexistent # a canary would wait for a frozen file system

ctl()
{
	capture_ctl -p "$PINS" -s "$STATE" -r "$RING" "$A" "$B" -- "$@" 2>>"$T/ctl.log"
}

# value KEY: out of the status
value()
{
	ctl status | sed "s/.* $1=\([^ ]*\).*/\1/; s/^$1=\([^ ]*\).*/\1/"
}

# copy_disks: images that are what the disks are now
copy_disks()
{
	sync -f "$T/mnt"
	sync
	cp --sparse=always "$A_FILE" "$T/image.0"
	cp --sparse=always "$B_FILE" "$T/image.1"
}

# follow_stream: a reader in the background
follow_stream()
{
	: >"$T/follow.out"
	start_process "$T/follow.out" capture_ctl -p "$PINS" -s "$STATE" -r "$RING" "$A" "$B" -- follow "$T/image"
	FOLLOWER=$STARTED_PID
	wait_for 60 "grep -q following '$T/follow.out'" "the reader of the ring"
}

# compare_images: nothing writes, the reader takes the rest, the bits are copied: then they are the same
compare_images()
{
	sync
	fsfreeze -f "$T/mnt"
	ctl settle >>"$T/ctl.log"
	process_lives "${FOLLOWER:-0}" || follow_stream
	end_process "$FOLLOWER"
	cat "$T/follow.out"
	ctl status
	ctl reread "$T/image"
	cmp "$A_FILE" "$T/image.0" || fail "the first disk's image differs"
	cmp "$B_FILE" "$T/image.1" || fail "the second disk's image differs"
	fsfreeze -u "$T/mnt"
}

# only_expected: where the kernel runs no program for some completions (agent/bpf/README.md), these are holes, and
# found; the first write-zeroes fails where the file under the loop device cannot have it. Nothing else is one.
only_expected()
{
	ctl status | grep -qE 'last_hole=(none|unseen completion|failed write)$' || fail "there was a hole: $(ctl status)"
}

# write_all_ways FOLDER DEVICE SECONDS: to a file system, and to a bare disk
write_all_ways()
{
	local folder=$1 device=$2 seconds=$3
	fio --directory="$folder" --size=24M --time_based --runtime="$seconds" --randrepeat=0 --minimal \
		--name=direct4k --rw=randwrite --bs=4k --direct=1 --ioengine=libaio --iodepth=16 --rate_iops=3000 \
		--name=buffered --rw=randwrite --bsrange=512-64k --ioengine=psync --fdatasync=20 --rate=8m \
		--name=large --rw=write --bs=2m --direct=1 --ioengine=libaio --iodepth=2 --rate=40m \
		--name=mapped --rw=randwrite --bs=4k --ioengine=mmap --fsync=64 --rate=8m >"$T/fio.log" 2>&1 &
	local fio=$!
	tracker_writer "$device" "$T/log.bare" $RANDOM direct,sector,split,merged,buffered,zeroout 60 0 $((200 << 20))
	for i in {1..40}; do
		xfs_io -f -c "pwrite -S $i 0 1m" -c fsync -c "fzero 64k 128k" -c "fpunch 256k 64k" \
			-c "pwrite -S 7 300k 3k" -c fsync "$folder/ranges$((i % 7))" >>"$T/xfs_io.log"
	done
	wait "$fio"
}

say "a file system on one disk, nothing on the other"
make_filesystem ext4 "$A" "$T/mnt" -E lazy_itable_init=0,lazy_journal_init=0
mkdir "$T/mnt/work"
STATE=$T/mnt ctl status >"$T/status.log" || skip "capture: $(tail -n 1 "$T/ctl.log")"
! grep -q 'no canary was written' "$T/ctl.log" || fail "the self-test left out the canary"
ctl start settle
copy_disks
[ "$(value mode)" = on ] || fail "the mode is $(value mode)"

say "written in every way while a reader follows"
follow_stream
write_all_ways "$T/mnt/work" "$B" 6
sync -f "$T/mnt"
ctl settle >>"$T/ctl.log"
end_process "$FOLLOWER"
cat "$T/follow.out"
ctl status
[ "$(value mode)" = on ] || fail "the mode is $(value mode)"
only_expected
compare_images

say "discards are in the bitmap, and no holes"
blkdiscard --offset $((220 << 20)) --length $((8 << 20)) "$B"
fstrim "$T/mnt"
only_expected
[ "$(value dirty)" -ge 2048 ] || fail "$(value dirty) bits for a discard of 8 MiB"
compare_images

say "a reader that is killed: the next goes on where it had released"
follow_stream
write_all_ways "$T/mnt/work" "$B" 6 &
WRITER=$!
wait_for 60 "[ \$(value released) -gt 0 ] && [ \$(value produced) -gt $(($(value produced) + (4 << 20))) ]" "records"
end_process "$FOLLOWER" KILL || true
[ "$(value released)" -gt 0 ] || fail "what was released is forgotten"
follow_stream
wait "$WRITER"
compare_images

say "a ring of 256 KiB: another set takes over, and what the old ring held becomes bits"
write_all_ways "$T/mnt/work" "$B" 1
sync -f "$T/mnt"
STREAM=$(value stream)
[ "$(value produced)" -gt "$(value released)" ] || fail "nothing is left in the ring: this tests nothing"
RING=$((256 << 10))
[ "$(value stream)" != "$STREAM" ] || fail "the new ring has the old one's name"
compare_images

say "too much for it: the ring is full, and the bitmap has the rest"
ctl start settle
write_all_ways "$T/mnt/work" "$B" 2
sync -f "$T/mnt"
[ "$(value mode)" = full ] || fail "the mode is $(value mode)"
[ "$(value holes)" -gt 0 ] || fail "no holes were counted"
ctl status | grep -q 'last_hole=ring full' || fail "the reason is $(ctl status)"
[ "$(value released)" = 0 ] || fail "somebody has read the ring"
compare_images
[ "$(value released)" -gt 0 ] || fail "nothing was in the ring"

say "spilled: all of it is in the bitmap"
ctl start settle
dd if=/dev/urandom of="$B" bs=4k count=20 oflag=direct status=none
ctl stop
[ "$(value produced)" -gt "$(value released)" ] || fail "nothing was captured"
ctl spill
[ "$(value produced)" = "$(value released)" ] || fail "the ring is not empty"
compare_images
say "a write that fails is a hole, and in the bitmap"
mkdir "$T/small"
mount -t tmpfs -o size=4m tmpfs "$T/small"
cleanup_fn umount -l "$T/small"
truncate -s 64M "$T/small/disk"
BAD=$(losetup --find --show "$T/small/disk")
cleanup_fn losetup -d "$BAD"
cleanup_fn remove_pins "$PINS-bad"
bad()
{
	capture_ctl -p "$PINS-bad" "$BAD" -- "$@" 2>>"$T/ctl.log"
}
bad start settle
dd if=/dev/zero of="$BAD" bs=1M count=16 oflag=direct status=none 2>>"$T/dd.log" && fail "16 MiB fit in 4"
bad status | tee "$T/status.log"
grep -q 'mode=on .*last_hole=failed write$' "$T/status.log" || fail "a failed write is no hole"
grep -qE ' dirty=([1-9][0-9]{2,}) ' "$T/status.log" || fail "a failed write set no bits"
bad remove
say "passed"
