#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Checkpoints on command: while streaming at once; frozen, with capture and without. Without capture a checkpoint that is
# not frozen is refused, and the refusal says what helps. What a frozen one holds is what was written before it.

. "$(dirname "$0")/../functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

make_disk 64M
make_filesystem ext4 "$LOOP" "$T/source"
echo "written first" >"$T/source/file"
start_receiver
start_agent web1 "$LOOP"
wait_streaming web1

# has_point LABEL KIND: is it listed?
has_point()
{
	ferry points web1 --json | jq -e --arg want "$1" --argjson is_frozen "$2" \
		'[.[] | select(.label == $want and .frozen == $is_frozen)] | length == 1' >/dev/null
}

say "while streaming"
ferry checkpoint web1 --label plain
has_point plain false || fail "not listed: $(ferry points web1 --json)"
ferry checkpoint web1 --label frozen --freeze
has_point frozen true || fail "not listed: $(ferry points web1 --json)"
echo "written later" >"$T/source/file"
sync -f "$T/source"

say "without capture"
stop_agent
start_agent web1 "$LOOP" "capture = off"
wait_for 180 '[ "$(status web1 .phase)" = delta ] && [ "$(status web1 .ready)" = true ]' "delta passes"
if ferry checkpoint web1 >"$T/refused.txt" 2>&1; then fail "a checkpoint was made although nothing is consistent"; fi
grep -q -- "--freeze" "$T/refused.txt" || fail "it does not say what helps: $(cat "$T/refused.txt")"
ferry checkpoint web1 --label stopped --freeze
has_point stopped true || fail "not listed: $(ferry points web1 --json)"
echo "written last" >"$T/source/file"
sync -f "$T/source"
ferry verify web1
stop_agent

say "what they hold"
target=$(status web1 '.disks[0].path')
for want in "frozen:written first" "stopped:written later"; do
	ferry rollback web1 --at "${want%%:*}" >/dev/null
	cp --sparse=always "$target" "$T/point.img"
	e2fsck -fy "$T/point.img" >"$T/fsck.txt" || [ $? = 1 ] || fail "${want%%:*}: $(cat "$T/fsck.txt")"
	[ "$(debugfs -R 'cat /file' "$T/point.img" 2>/dev/null)" = "${want#*:}" ] ||
		fail "${want%%:*} holds: $(debugfs -R 'cat /file' "$T/point.img" 2>/dev/null)"
done
