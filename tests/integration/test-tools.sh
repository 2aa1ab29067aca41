#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The two programs whose word is the proof in the demo and in many tests: compare must see one changed
# byte anywhere, writer check must see a lost, torn or stale record or block.
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP mkfs.ext4 fsfreeze jq
ulimit -c 0

# poke FILE OFFSET: changes one byte
poke()
{
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	printf '%b' "\\x$(printf %x $(((byte + 1) % 256)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# expect STATUS COMMAND...
expect()
{
	local expected=$1 got=0
	shift
	"$@" >"$T/out" 2>&1 || got=$?
	[ "$got" = "$expected" ] || { cat "$T/out"; fail "$*: exit status $got, not $expected"; }
}

say "compare: the same, also where the size is no multiple of a block"
head -c 3333333 /dev/urandom >"$T/a"
cp "$T/a" "$T/b"
expect 0 compare "$T/a" "$T/b"
for offset in 0 4095 4096 1048575 1048576 3333332; do
	say "compare: one byte at $offset"
	poke "$T/b" "$offset"
	expect 1 compare "$T/a" "$T/b"
	grep -q "offset $((offset / 4096 * 4096)) " "$T/out" || fail "said: $(cat "$T/out")"
	cp "$T/a" "$T/b"
done
say "compare: ranges are joined and told"
dd if=/dev/zero of="$T/b" bs=4096 seek=10 count=3 conv=notrunc status=none
expect 1 compare "$T/a" "$T/b"
grep -qx "differs: offset 40960 length 12288" "$T/out" || fail "said: $(cat "$T/out")"
say "compare: sizes"
cp "$T/a" "$T/b"
echo >>"$T/b"
expect 1 compare "$T/a" "$T/b"
expect 0 compare --larger "$T/a" "$T/b"
expect 1 compare --larger "$T/b" "$T/a"
expect 2 compare "$T/a" "$T/none"

say "writer: what it acknowledged is on the frozen disk"
make_disk 128M
make_filesystem ext4 "$LOOP" "$T/mount"
start_process "$T/writer.log" writer run "$T/mount" --progress "$T/progress" --rewrite-mib 16 \
	--rewrite-mib-per-s 50
writer=$STARTED_PID
wait_for 60 '[ "$(cat "$T/progress" 2>/dev/null || echo 0)" -gt 100 ]' "100 records"
fsfreeze -f "$T/mount"
acknowledged=$((10#$(cat "$T/progress")))
cp --sparse=always "$LOOP_FILE" "$T/copy.img"
fsfreeze -u "$T/mount"
wait_for 60 '[ "$((10#$(cat "$T/progress")))" -gt $((acknowledged + 50)) ]' "more records after the thaw"
end_process "$writer" || fail "writer: exit status $?"
expect 0 writer check "$T/mount" --at-least "$((10#$(cat "$T/progress")))"

mkdir "$T/replica"
mount -o loop,ro "$T/copy.img" "$T/replica"
cleanup_fn umount "$T/replica"
expect 0 writer check "$T/replica" --at-least "$acknowledged"
grep -q "blocks=4096" "$T/out" || fail "said: $(cat "$T/out")"
say "writer: a replica that is too old"
expect 1 writer check "$T/replica" --at-least "$((acknowledged + 10))"

mkdir "$T/damaged"
reset()
{
	cp "$T/replica/records" "$T/replica/rewrites" "$T/damaged"
}
for damage in "records 0" "records 511" "records 20000" "rewrites 4096" "rewrites 16777215"; do
	say "writer: a changed byte in $damage"
	reset
	# shellcheck disable=SC2086  # two words on purpose
	poke "$T/damaged/"$damage
	expect 1 writer check "$T/damaged"
done
say "writer: a block in another's place, a lost record"
reset
dd if="$T/replica/rewrites" of="$T/damaged/rewrites" bs=4096 count=1 seek=7 conv=notrunc status=none
expect 1 writer check "$T/damaged"
reset
dd if=/dev/zero of="$T/damaged/records" bs=512 count=1 seek=40 conv=notrunc status=none
expect 1 writer check "$T/damaged"
say "writer: the record that was being written may be torn"
reset
head -c 100 "$T/replica/records" >>"$T/damaged/records"
expect 0 writer check "$T/damaged" --at-least "$acknowledged"
