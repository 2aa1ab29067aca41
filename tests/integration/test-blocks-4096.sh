#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Blocks of 4096 bytes: a source whose sectors are so large, and targets that take nothing smaller, also for a source of
# 512-byte sectors that writes single ones and whose size is no multiple of 4096. They stream like others.
#
#   loop, sectors of 4096 --\
#   loop, sectors of 512  ---+--> agent ==STREAM==> receiver --> nbdkit that refuses less than 4096

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit nbdcopy jq

make_disk 96M --sector-size 4096
LARGE=$LOOP LARGE_FILE=$LOOP_FILE
[ "$(blockdev --getss "$LARGE")" = 4096 ] || fail "its sectors are of $(blockdev --getss "$LARGE") bytes"
make_disk $((64 * 1024 * 1024 + 3 * 512))
SMALL=$LOOP SMALL_FILE=$LOOP_FILE
make_filesystem ext4 "$LARGE" "$T/source" -b 4096
make_filesystem ext4 "$SMALL" "$T/small" -b 1024

serve()
{
	truncate -s "$2" "$T/$1.target"
	start_process "$T/nbdkit.log" nbdkit -f --unix "$T/$1.sock" --filter=blocksize-policy file "$T/$1.target" \
		blocksize-minimum=4096 blocksize-preferred=4096 blocksize-maximum=32M blocksize-error-policy=error
	wait_for 10 "[ -S '$T/$1.sock' ]" "nbdkit's socket"
}
serve large 96M
serve small 65M

start_receiver "[machine web1]" "disk0 = nbd+unix:///?socket=$T/large.sock" "disk1 = nbd+unix:///?socket=$T/small.sock"
start_writer 2
start_process "$T/small.log" bash -c 'i=0; while :; do echo "line $((i++))" >>"$1/lines"; sync -d "$1/lines"
	dd if=/dev/urandom of="$1/sectors" bs=512 count=7 seek=$((i % 500)) conv=notrunc,fdatasync status=none
	done' writer "$T/small"
SMALL_WRITER=$STARTED_PID
start_agent web1 "$LARGE,$SMALL" "checkpoint-interval = 200ms"

say "streaming"
wait_streaming web1
writer_moves
# The last sectors, which are no whole block at the target; they belong to no file.
dd if=/dev/urandom of="$SMALL" bs=512 seek=$((64 * 2048)) count=3 oflag=direct conv=notrunc status=none
ferry verify web1

say "a checkpoint of the frozen disks, looked at while they are written"
fsfreeze -f "$T/small"
fsfreeze -f "$T/source"
wait_for 60 'ferry checkpoint web1 --label frozen' "the checkpoint"
cp --sparse=always "$LARGE_FILE" "$T/copy.0"
cp --sparse=always "$SMALL_FILE" "$T/copy.1"
fsfreeze -u "$T/source"
fsfreeze -u "$T/small"
writer_moves
ferry view web1 --at frozen --json >"$T/view.json"
for disk in 0 1; do
	nbdcopy "$(jq -r ".disks[$disk].uri" "$T/view.json")" "$T/read"
	cmp "$T/read" "$T/copy.$disk" || fail "disk $disk of the checkpoint differs"
done
ferry view web1 --stop >/dev/null

say "the cutover"
stop_writer
end_process "$SMALL_WRITER" || true
ferry cutover web1 --fence hold --timeout 30
compare "$LARGE" "$T/large.target" || fail "the first target differs"
truncate -s "$(blockdev --getsize64 "$SMALL")" "$T/small.target"
compare "$SMALL" "$T/small.target" || fail "the second target differs"
