#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What was captured beside what the disk saw, by a record that none of our code feeds (tests/oracle): every
# sector had the same contents in the same order. Many small writes to few sectors from several CPUs, so that
# each sector is written again and again.
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF fio nbdkit nbdfuse

[ -c /dev/fuse ] || skip "no /dev/fuse"
PINS=/sys/fs/bpf/$(basename "$T")
cleanup_fn remove_pins "$PINS"
PLUGIN=$BUILD/tests/oracle/nbdkit-oracle-plugin.so

unmount_fuse()
{
	mountpoint -q "$T/fuse" && fusermount3 -u "$T/fuse"
}

say "a loop disk over a file that keeps a record of its writes"
truncate -s 64M "$T/image"
start_process "$T/nbdkit.log" nbdkit --foreground --unix "$T/oracle.sock" "$PLUGIN" \
	file="$T/image" log="$T/oracle.bin"
wait_for 20 "[ -S '$T/oracle.sock' ]" "nbdkit"
mkdir "$T/fuse"
start_process "$T/nbdfuse.log" nbdfuse "$T/fuse/disk" "nbd+unix:///?socket=$T/oracle.sock"
cleanup_fn unmount_fuse
wait_for 20 "[ -e '$T/fuse/disk' ]" "nbdfuse"
DISK=$(losetup --find --show "$T/fuse/disk")
cleanup_fn detach_loop "$DISK"

ctl()
{
	capture_ctl -p "$PINS" -r $((128 << 20)) "$DISK" -- "$@" 2>>"$T/ctl.log"
}

# write_disk SECONDS: contents that never repeat; writes that overlap wait for each other, for else no order is
# the right one
write_disk()
{
	fio --filename="$DISK" --direct=1 --ioengine=libaio --time_based --runtime="$1" --refill_buffers \
		--randrepeat=0 --minimal --serialize_overlap=1 \
		--name=small --size=2M --rw=randwrite --bsrange=512-4k --blockalign=512 --iodepth=16 --rate_iops=3000 \
		--name=medium --offset=8M --size=4M --rw=randwrite --bsrange=4k-256k --blockalign=4k --iodepth=8 --rate=20m \
		--name=large --offset=32M --size=16M --rw=write --bs=1m --iodepth=2 --rate=20m >"$T/fio.log" 2>&1 || {
		cat "$T/fio.log"
		fail "fio failed"
	}
}

entries()
{
	echo $(($(stat -c %s "$T/oracle.bin") / 16))
}

ctl status >"$T/status.txt" || skip "capture: $(tail -n 1 "$T/ctl.log")"
write_disk 1
sync "$DISK"
ctl start settle
FIRST=$(entries)
: >"$T/follow.out"
start_process "$T/follow.out" capture_ctl -p "$PINS" -r $((128 << 20)) "$DISK" -- log "$T/capture.bin"
FOLLOWER=$STARTED_PID
wait_for 60 "grep -q following '$T/follow.out'" "the reader of the ring"

say "written for some seconds"
write_disk 5
sync "$DISK"
ctl settle >>"$T/ctl.log"
end_process "$FOLLOWER"
ctl status | tee "$T/status.txt"
HOLES=$(sed -n 's/.* holes=\([0-9]*\) .*/\1/p' "$T/status.txt")

say "compared"
oracle_compare "$T/oracle.bin" "$FIRST" "$T/capture.bin" 0 | tee "$T/compare.out"
of()
{
	sed -n "s/.* $1=\([0-9]*\).*/\1/p" "$T/compare.out"
}
[ "$(of rewritten)" -gt 1000 ] || fail "only $(of rewritten) sectors were written more than once: too few to tell an order"
# A hole is one request that nothing saw complete; the largest has 1 MiB.
[ "$(of missing)" -le $((HOLES * 2048)) ] || fail "$(of missing) contents are missing, and only $HOLES holes were counted"

say "and it can tell: one write that the disk never saw"
ENTRY=$((FIRST + $(entries))) && ENTRY=$((ENTRY / 2))
{
	head -c $((ENTRY * 16)) "$T/oracle.bin"
	tail -c +$((ENTRY * 16 + 17)) "$T/oracle.bin"
} >"$T/less.bin"
if oracle_compare "$T/less.bin" "$FIRST" "$T/capture.bin" 0 >"$T/compare.out"; then
	fail "a write that is not in the disk's record went unnoticed"
fi
