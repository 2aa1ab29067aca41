#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The file systems of a receiver's journal and history are full. The guest writes on, status says what is wrong, the
# stream goes on by itself when there is room, and no checkpoint goes without a word.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit nbdcopy jq

MACHINE=$T/receiver/machines/web1
make_source 64M 8M
start_receiver
mkdir -p "$MACHINE"
mkdir -m 700 "$MACHINE/journal" "$MACHINE/history"
mount_folder none "$MACHINE/journal" -t tmpfs -o size=20M # less than a segment of it may have
mount_folder none "$MACHINE/history" -t tmpfs -o size=96M
# fill_until PART CONDITION: to the last byte, and again what the part gives back by itself
fill_until()
{
	wait_for 60 "dd if=/dev/zero of='$MACHINE/$1/ballast' bs=64k oflag=append conv=notrunc status=none 2>/dev/null
		$2" "$1 to be full"
}
empty()
{
	rm "$MACHINE/$1/ballast"
}
# expect_kept: the labelled checkpoint is what the disk was
expect_kept()
{
	ferry view web1 --at kept --json >"$T/view.json"
	nbdcopy "$(jq -r '.disks[0].uri' "$T/view.json")" "$T/read"
	cmp "$T/read" "$T/copy" || fail "the checkpoint differs: $1"
	ferry view web1 --stop >/dev/null
}

start_writer 2
start_agent web1 "$SOURCE" "checkpoint-interval = 200ms" "ring = 16MiB"
wait_streaming web1
fsfreeze -f "$T/source"
wait_for 60 'ferry checkpoint web1 --label kept' "the checkpoint"
cp --sparse=always "$LOOP_FILE" "$T/copy"
fsfreeze -u "$T/source"

say "more goes through the journal than its file system holds"
for i in {1..6}; do
	dd if=/dev/urandom of="$T/source/more" bs=1M count=6 conv=notrunc,fsync status=none
	wait_streaming web1 "streaming after another 6 MiB"
done
[ "$(status web1 .dropped.count)" = 0 ] || fail "checkpoints were dropped for the journal"

say "the journal's file system is full"
gaps=$(status web1 .gaps.count)
fill_until journal "status web1 .last_error | grep -q 'no space for the journal'"
writer_moves || fail "the guest waits for the receiver"
wait_for 60 "dd if=/dev/urandom of='$T/source/more' bs=1M count=6 conv=notrunc,fsync status=none
	[ \$(status web1 .gaps.count) -gt $gaps ]" "a gap instead"
writer_moves || fail "the guest waits for the receiver"
expect_kept "while the journal is full"
[ "$(status web1 .dropped.count)" = 0 ] || fail "checkpoints were dropped for a journal that is elsewhere"
empty journal
# A status that is a moment old says streaming of before.
wait_for 60 '[ "$(status web1 .last_error)" = "" ]' "a status without that error"
wait_streaming web1 "streaming after the journal had room again"
expect_kept "after the journal had room again"
# A session that waited ten seconds for room ends, and the next goes on.
wait_for 120 "ferry verify web1" "a verify that finds no difference"

say "the history's file system is full: checkpoints go, with a word"
fill_until history "grep -q 'checkpoint #[0-9]* \"kept\" is dropped' '$T/receiver.log'"
writer_moves || fail "the guest waits for the receiver"
wait_streaming web1 "streaming without room for checkpoints"
[ "$(status web1 .dropped.count)" -gt 0 ] || fail "status does not say that checkpoints were dropped"
ferry status web1 | grep -q DROPPED || fail "status does not show it"
empty history
newest=$(ferry points web1 --json | jq 'map(.number) | max // 0')
wait_for 60 "[ \$(ferry points web1 --json | jq 'map(.number) | max // 0') -gt $((newest + 3)) ]" "checkpoints again"
wait_for 60 "[ \$(ferry points web1 --json | jq length) -ge 3 ]" "several of them kept"
# A session that waited ten seconds for room ends, and the next goes on.
wait_for 120 "ferry verify web1" "a verify that finds no difference"

ferry cutover web1 --fence hold --timeout 30
compare "$SOURCE" "$(status web1 '.disks[0].path')" || fail "source and target differ"
