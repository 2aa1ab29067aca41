#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The stream's order is that of the completions (I4): a counter is written and fsynced to A, then to B, on another
# disk and on the same, beside other writes. At whichever of its marks the stream is cut, what a power cut there
# would have left has whole file systems, and A = B or A = B + 1.
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF fio mkfs.ext4 e2fsck debugfs

PINS=/sys/fs/bpf/$(basename "$T")
cleanup_fn remove_pins "$PINS"
POSITIONS=12

make_disk 96M
A=$LOOP A_FILE=$LOOP_FILE
make_disk 64M
B=$LOOP B_FILE=$LOOP_FILE

ctl()
{
	capture_ctl -p "$PINS" -r $((128 << 20)) "$A" "$B" -- "$@" 2>>"$T/ctl.log"
}

# count UNTIL: the program whose order is looked at
count()
{
	local i
	for ((i = 1; i <= $1; i++)); do
		printf '%08d\n' "$i" | dd of="$T/a/A" conv=notrunc,fsync status=none
		printf '%08d\n' "$i" | dd of="$T/b/B" conv=notrunc,fsync status=none
		printf '%08d\n' "$i" | dd of="$T/a/B" conv=notrunc,fsync status=none
	done
}

# number IMAGE FILE: the counter in it
number()
{
	local text
	text=$(debugfs -R "cat /$2" "$1" 2>/dev/null)
	echo "$((10#$text))"
}

# repair IMAGE: what a mount after the power cut would do (the journal), and then nothing may be wrong
repair()
{
	e2fsck -fy "$1" >>"$T/e2fsck.log" 2>&1 || [ $? = 1 ] || fail "the file system of $1 is damaged"
	e2fsck -fn "$1" >>"$T/e2fsck.log" 2>&1 || fail "the file system of $1 is damaged"
}

make_filesystem ext4 "$A" "$T/a" -E lazy_itable_init=0,lazy_journal_init=0
make_filesystem ext4 "$B" "$T/b" -E lazy_itable_init=0,lazy_journal_init=0
count 1
sync
ctl status >"$T/status.log" || skip "capture: $(tail -n 1 "$T/ctl.log")"
ctl start settle
cp --sparse=always "$A_FILE" "$T/before.0"
cp --sparse=always "$B_FILE" "$T/before.1"

say "a counter beside other writes"
start_process "$T/log.out" capture_ctl -p "$PINS" -r $((128 << 20)) "$A" "$B" -- stream "$T/stream"
READER=$STARTED_PID
wait_for 60 "grep -q following '$T/log.out'" "the reader of the ring"
fio --directory="$T/a" --size=8M --time_based --runtime=4 --minimal --randrepeat=0 --rate_iops=1500 \
	--name=direct --rw=randwrite --bs=4k --direct=1 --ioengine=libaio --iodepth=8 \
	--name=buffered --rw=randwrite --bs=4k --fsync=8 >"$T/fio.log" &
FIO=$!
count 400
wait "$FIO"
ctl status
[ "$(ctl status | sed 's/ .*//')" = mode=on ] || fail "capture is not on any more"
end_process "$READER"
cat "$T/log.out"
# Where the kernel runs no program for some completions, the next mark comes after their blocks were read.
MARKS=$(wc -l <"$T/stream.marks")
[ "$MARKS" -ge 50 ] || fail "there are $MARKS marks only"

say "cut at $POSITIONS of $MARKS marks"
last=0
for at in $(shuf -n "$POSITIONS" "$T/stream.marks"); do
	cp --sparse=always "$T/before.0" "$T/cut.0"
	cp --sparse=always "$T/before.1" "$T/cut.1"
	capture_ctl apply "$T/stream" "$at" "$T/cut.0" "$T/cut.1" >"$T/apply.out"
	repair "$T/cut.0"
	repair "$T/cut.1"
	a=$(number "$T/cut.0" A) b=$(number "$T/cut.1" B) c=$(number "$T/cut.0" B)
	say "record $at: A=$a, B=$b on the other disk, $c on the same"
	[ "$a" = "$b" ] || [ "$a" = $((b + 1)) ] || fail "A=$a, B=$b"
	[ "$b" = "$c" ] || [ "$b" = $((c + 1)) ] || fail "B=$b, and $c after it"
	[ "$a" -le "$last" ] || last=$a
done
[ "$last" -gt 1 ] || fail "the counter never moved: this tests nothing"
say "passed"
