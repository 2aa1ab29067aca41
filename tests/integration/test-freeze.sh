#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Freezing real file systems, and every way in which a freeze ends:
#
#   disk 1: GPT, p2 = outer (ext4) --- inner.img --- loop: inner (ext4)
#   disk 2 and 3: one btrfs; disk 2 alone is named
#   disk 4: XFS

. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP mkfs.ext4 fsfreeze sfdisk partx jq unshare pgrep

# start_freezer DISKS TIMEOUT_MS: sets FREEZER_PID; its words go to $T/freezer.out, it obeys `tell`.
start_freezer()
{
	rm -f "$T/freezer.in"
	mkfifo "$T/freezer.in"
	rm -f "$T/fenced"
	: >"$T/freezer.out"
	FENCED=$T/fenced platform freeze "$1" "$2" <"$T/freezer.in" >"$T/freezer.out" 2>&1 &
	FREEZER_PID=$!
	cleanup_fn end_process "$FREEZER_PID" KILL
	exec 9>"$T/freezer.in"
}

heard()
{
	wait_for 30 "grep -q '$1' '$T/freezer.out'" "'$1' from the freezer: $(cat "$T/freezer.out")"
}

tell()
{
	echo "$1" >&9
}

frozen_by()
{
	start_freezer "$@"
	heard "^frozen: "
	tail -n 1 "$T/freezer.out"
	WATCHDOG_PID=$(sed -n 's/^frozen: watchdog \([0-9]*\),.*/\1/p' "$T/freezer.out")
}

# write_stuck FOLDER: a writer that has to wait for the thaw. Sets WRITER_PID.
write_stuck()
{
	dd if=/dev/zero of="$1/written" bs=4096 count=1 conv=fsync status=none &
	WRITER_PID=$!
	wait_for 30 "grep -q '^State:.D' /proc/$WRITER_PID/status" "the writer to be stuck"
}

is_thawed()
{
	fsfreeze -f "$1" 2>/dev/null && fsfreeze -u "$1"
}

ends_thawed()
{
	wait_for 30 "! process_lives $WRITER_PID" "the writer, who waits for the thaw"
	wait "$WRITER_PID" || fail "the writer failed"
	is_thawed "$1" || fail "$1 is still frozen"
}

quit_freezer()
{
	exec 9>&-
	end_process "$FREEZER_PID" KILL || true
}

make_disk 128M
disk=$LOOP
partition_disk "$disk" <<-END
	label: gpt
	start=2048, size=20000
	start=32768
END
outer=$T/outer inner=$T/inner
make_filesystem ext4 "${disk}p2" "$outer"

say "a freeze stops writers, a thaw lets them go on"
frozen_by "$disk" 60000
heard "^check: 1: $outer (ext4)"
write_stuck "$outer"
tell thaw
ends_thawed "$outer"
wait_for 30 "! process_lives $WATCHDOG_PID" "the end of the watchdog"
quit_freezer

say "the death of the agent thaws at once"
frozen_by "$disk" 600000
write_stuck "$outer"
kill -KILL "$FREEZER_PID"
ends_thawed "$outer"
wait_for 30 "! process_lives $WATCHDOG_PID" "the end of the watchdog"
quit_freezer

say "the deadline thaws, and then there is no commit"
frozen_by "$disk" 1500
write_stuck "$outer"
ends_thawed "$outer"
tell state
heard "^is not frozen"
tell "commit poweroff"
heard "^too late"
quit_freezer
[ ! -e "$T/fenced" ] || fail "it was fenced without a commit"

# An agent that is killed after COMMIT leaves nobody else who could end the machine.
for fence in poweroff halt; do
	say "the death of the agent after the commit: the watchdog fences ($fence)"
	frozen_by "$disk" 600000
	tell "commit $fence"
	heard "^committed"
	process_lives "$WATCHDOG_PID" || fail "the watchdog left before the fence"
	[ ! -e "$T/fenced" ] || fail "it was fenced while the agent lives"
	kill -KILL "$FREEZER_PID"
	wait_for 30 "[ \"\$(cat '$T/fenced')\" = $fence ]" "the fence"
	is_thawed "$outer" && fail "it was thawed after the commit"
	fsfreeze -u "$outer"
	quit_freezer
done

say "the death of the agent after a commit with hold: frozen until a person acts"
frozen_by "$disk" 1500
tell "commit hold"
heard "^committed"
kill -KILL "$FREEZER_PID"
wait_for 30 "! process_lives $WATCHDOG_PID && ! process_lives $FREEZER_PID" "the end of both"
is_thawed "$outer" && fail "it was thawed after the commit"
[ ! -e "$T/fenced" ] || fail "hold was fenced"
fsfreeze -u "$outer"
quit_freezer

say "a commit that is taken back thaws"
frozen_by "$disk" 600000
write_stuck "$outer"
tell "commit poweroff"
heard "^committed"
tell uncommit
heard "^taken back"
ends_thawed "$outer"
quit_freezer
[ ! -e "$T/fenced" ] || fail "it was fenced although it was taken back"

say "what is frozen already is a failure, and stays as it is"
fsfreeze -f "$outer"
start_freezer "$disk" 60000
heard "^failed: .*$outer (ext4) is frozen already"
is_thawed "$outer" && fail "somebody else's freeze was thawed"
fsfreeze -u "$outer"
quit_freezer

say "a file system in a loop file goes first, with what it has in memory"
truncate -s 48M "$outer/inner.img"
inner_loop=$(losetup --find --show "$outer/inner.img")
cleanup_fn detach_loop "$inner_loop"
# Zeroing its inode tables would go on behind our back, and past the freeze of what holds it: a loop
# device takes no notice of that when it discards or zeroes (fallocate without sb_start_write).
make_filesystem ext4 "$inner_loop" "$inner" -E lazy_itable_init=0,nodiscard
dd if=/dev/zero of="$inner/dirty" bs=1M count=8 status=none
frozen_by "$disk" 60000
heard "^check: 2: $outer (ext4), $inner (ext4)"
is_thawed "$inner" && fail "the inner file system was not frozen"
write_stuck "$inner"
tell thaw
ends_thawed "$inner"
ends_thawed "$outer"
quit_freezer

say "a freeze that hangs is given up at the deadline, and thawed when it succeeds late"
dd if=/dev/zero of="$inner/dirty" bs=1M count=4 status=none
fsfreeze -f "$outer" # now nothing of the inner one can be written back
start_freezer "$inner_loop" 1000
heard "^failed: $inner (ext4) did not freeze in time"
watchdog=$(pgrep -P "$FREEZER_PID")
process_lives "$watchdog" || fail "the watchdog left a freeze that is under way"
tell state
heard "^is not frozen"
fsfreeze -u "$outer"
wait_for 30 "! process_lives $watchdog && is_thawed '$inner'" "the late freeze to be thawed"
dd if=/dev/zero of="$inner/dirty" bs=1M count=1 conv=fsync status=none
quit_freezer

say "... and when the agent died meanwhile"
dd if=/dev/zero of="$inner/dirty" bs=1M count=4 status=none
fsfreeze -f "$outer"
start_freezer "$inner_loop" 600000
heard "^check: 1: $inner"
wait_for 30 "grep -q '^State:.D' /proc/$FREEZER_PID/task/*/status" "the freeze to hang"
watchdog=$(pgrep -P "$FREEZER_PID")
kill -KILL "$FREEZER_PID"
exec 9>&-
fsfreeze -u "$outer"
wait_for 30 "! process_lives $FREEZER_PID && ! process_lives $watchdog" "the end of both"
is_thawed "$inner" || fail "the inner file system is still frozen"
[ "$(cat /sys/kernel/rcu_expedited 2>/dev/null || echo 0)" = 0 ] || fail "RCU is still expedited"
unmount_folder "$inner"
detach_loop "$inner_loop"
rm "$outer/inner.img"

say "what only another mount namespace has mounted is frozen too"
unmount_folder "$outer"
mkfifo "$T/namespace"
start_process "$T/namespace.log" unshare -m --propagation private \
	sh -c "mount ${disk}p2 $outer && echo mounted && read _ <$T/namespace"
wait_for 30 "grep -q mounted '$T/namespace.log'" "the mount in the namespace"
mountpoint -q "$outer" && fail "the mount is seen here"
frozen_by "$disk" 60000
heard "^check: 1: $outer (ext4)"
fsfreeze -f "/proc/$STARTED_PID/root$outer" 2>/dev/null && fail "it was not frozen"
tell thaw
quit_freezer
is_thawed "/proc/$STARTED_PID/root$outer" || fail "it is still frozen"
echo >"$T/namespace"
wait_for 30 "! process_lives $STARTED_PID" "the namespace's end"

if grep -qw btrfs /proc/filesystems && command -v mkfs.btrfs >/dev/null; then
	say "btrfs on two disks, one of them named"
	make_disk 256M
	first=$LOOP
	make_disk 256M
	make_filesystem btrfs "$first" "$T/btrfs" "$LOOP"
	frozen_by "$first" 60000
	heard "^check: 1: $T/btrfs (btrfs)"
	write_stuck "$T/btrfs"
	tell thaw
	ends_thawed "$T/btrfs"
	quit_freezer
	frozen_by "$LOOP" 60000
	heard "^check: 1: $T/btrfs (btrfs)"
	quit_freezer
	is_thawed "$T/btrfs" || fail "btrfs is still frozen"
fi

if grep -qw xfs /proc/filesystems && command -v mkfs.xfs >/dev/null; then
	say "XFS"
	make_disk 320M
	make_filesystem xfs "$LOOP" "$T/xfs"
	frozen_by "$LOOP" 60000
	write_stuck "$T/xfs"
	kill -KILL "$FREEZER_PID"
	ends_thawed "$T/xfs"
	quit_freezer
fi
