#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# blkferry-agent disks, on the disks of this machine and on loop disks.

. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP mkfs.ext4 sfdisk partx jq

# show DISKS FILTER: a value of the JSON
show()
{
	blkferry-agent disks --json --disks "$1" | jq -r "$2"
}

# refused DISKS TEXT: status 1, and the message says TEXT.
refused()
{
	local status=0
	blkferry-agent disks --disks "$1" >"$T/out" 2>"$T/err" || status=$?
	[ "$status" = 1 ] || fail "exit status $status with disks = $1"
	grep -qF -- "$2" "$T/err" || fail "the message does not say '$2': $(cat "$T/err")"
}

make_disk 64M
partition_disk "$LOOP" <<-END
	label: gpt
	start=2048
END
make_filesystem ext4 "${LOOP}p1" "$T/mnt"

say "a disk by path, by a link, by the file behind a loop disk"
ln -s "$LOOP" "$T/link"
for name in "$LOOP" "$T/link" "$LOOP_FILE" "$(basename "$LOOP")"; do
	[ "$(show "$name" '[.[] | select(.chosen) | .path] | join(" ")')" = "$LOOP" ] ||
		fail "$name does not lead to $LOOP"
done
[ "$(show "$LOOP" '.[] | select(.chosen) | .size_bytes')" = $((64 * 1024 * 1024)) ] || fail "wrong size"
[ "$(show "$LOOP" '.[] | select(.chosen) | .identity')" = "$LOOP_FILE" ] || fail "wrong identity"
[ "$(show "$LOOP" '.[] | select(.chosen) | .request_based')" = true ] || fail "not request based?"
[ "$(show "$LOOP" '.[] | select(.chosen) | .why')" = "in the list; holds $T/mnt (ext4 on $(basename "$LOOP")p1)" ] ||
	fail "why: $(show "$LOOP" '.[] | select(.chosen) | .why')"

say "the disk in the configuration"
printf '[agent]\ndisks = %s\n' "$LOOP" >"$T/agent.ini"
blkferry-agent disks --config "$T/agent.ini" | grep -q "^$LOOP .* yes .*in the list" ||
	fail "the table does not show it"

say "auto leaves a loop disk alone"
if blkferry-agent disks --disks auto --json >"$T/auto.json" 2>"$T/auto.err"; then
	[ "$(jq -r ".[] | select(.path == \"$LOOP\") | .chosen" "$T/auto.json")" = false ] ||
		fail "auto chose a loop disk"
else
	grep -q "nothing to replicate" "$T/auto.err" || fail "$(cat "$T/auto.err")"
fi

say "entries that cannot be right"
refused "nonsense" "no disk is nonsense"
refused "nonsense" "this machine has /dev/"
refused "$LOOP,/dev/nonsense" "no disk is /dev/nonsense"
refused "${LOOP}p1" "write $LOOP"
status=0
blkferry-agent disks --nonsense 2>/dev/null || status=$?
[ "$status" = 2 ] || fail "exit status $status with a wrong option"
