#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The agent may die at any point: what is pinned tracks on, and the next agent goes on with it. What is not
# whole, not for these disks or not of this layout is recognised, and bits that can be kept are kept.
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF bpftool jq

PINS=/sys/fs/bpf/$(basename "$T")
cleanup_fn remove_pins "$PINS"
make_disk 64M
A=$LOOP
make_disk 64M
B=$LOOP

# ctl COMMAND...: an agent that starts, does this and ends. With DISKS set, for those disks.
ctl()
{
	# shellcheck disable=SC2086  # a list of words on purpose
	tracker_ctl -p "$PINS" ${DISKS:-$A $B} -- "$@" 2>>"$T/ctl.log"
}

# value DISK KEY: of the state that was printed last
value()
{
	sed -n "s/^disk=$1 .*\b$2=\([^ ]*\) .*/\1/p" "$T/state"
}

why()
{
	sed -n "s/^disk=$1 .*why=//p" "$T/state"
}

state()
{
	ctl state >"$T/state"
	cat "$T/state" >>"$T/ctl.log"
}

# expect DISK KEY VALUE
expect()
{
	[ "$(value "$1" "$2")" = "$3" ] || fail "disk $1: $2 is $(value "$1" "$2"), not $3: $(cat "$T/state")"
}

# write_at DEVICE MIB: one MiB there
write_at()
{
	dd if=/dev/urandom of="$1" bs=1M seek="$2" count=1 oflag=direct conv=notrunc status=none
}

marked()
{
	ctl list "$1"
}

pin_names()
{
	find "$PINS" -mindepth 1 -printf '%P\n' 2>/dev/null | sort
}

say "a fresh start is not continuous, and says why"
state
expect 0 continuous 0
grep -q begun <<<"$(why 0)" || fail "why: $(why 0)"

say "killed while it holds the tracker: bits stay, writes go on to be seen, memory stays"
ctl adopt take forget
: >"$T/hold.log"
start_process "$T/hold.log" tracker_ctl -p "$PINS" "$A" "$B" -- hold
HOLDER=$STARTED_PID
wait_for 20 "grep -q holding '$T/hold.log'" "the holder"
write_at "$A" 3
end_process "$HOLDER" KILL || true
write_at "$A" 40
state
expect 0 continuous 1
expect 0 epoch 7
expect 0 dirty 512
[ "$(marked 0)" = $'3145728 1048576\n41943040 1048576' ] || fail "marked: $(marked 0)"
expect 1 dirty 0

say "bits in todo stay as well"
state
expect 0 dirty 0
expect 0 todo 512
expect 0 continuous 1

say "a third disk comes: the two go on, the third begins"
make_disk 32M
C=$LOOP
write_at "$B" 7
DISKS="$A $B $C"
state
expect 0 continuous 1
expect 1 continuous 1
expect 2 continuous 0
expect 0 todo 512
[ "$(marked 1)" = "7340032 1048576" ] || fail "marked: $(marked 1)"
[ "$(pin_names | grep -cv /)" = 1 ] || fail "left behind: $(pin_names)"

say "disks in another order, and one less"
DISKS="$C $A"
state
expect 1 continuous 1
expect 1 todo 512
expect 0 continuous 0
DISKS=

say "another build of the agent: attached beside the old set, which it replaces without a hole"
ctl forget take adopt
write_at "$A" 5
ctl take
write_at "$A" 6
before=$(bpftool --json prog show pinned "$PINS/live/program_complete_1" | jq .id)
tracker_break "$PINS/live" programs-hash
state
after=$(bpftool --json prog show pinned "$PINS/live/program_complete_1" | jq .id)
[ "$before" != "$after" ] || fail "the old programs were kept"
expect 0 continuous 1
[ "$(marked 0)" = "5242880 2097152" ] || fail "marked: $(marked 0)"

program_id()
{
	bpftool --json prog show pinned "$1/program_complete_1" | jq .id
}

# other_set FOLDER: puts another whole set there
other_set()
{
	cleanup_fn remove_pins "$PINS-other"
	tracker_ctl -p "$PINS-other" "$A" "$B" -- adopt 2>>"$T/ctl.log"
	mv "$PINS-other/live" "$1"
	rmdir "$PINS-other"
}

say "killed between the two renames: the new set is the one in force"
mv "$PINS/live" "$PINS/old"
other_set "$PINS/new"
id=$(program_id "$PINS/new")
state
[ "$(program_id "$PINS/live")" = "$id" ] || fail "not the new set is in force"
[ "$(pin_names | grep -v /)" = live ] || fail "left behind: $(pin_names)"

say "killed after the second rename: the old set is thrown away"
other_set "$PINS/old"
id=$(program_id "$PINS/live")
write_at "$A" 5
write_at "$A" 6
state
expect 0 continuous 1
[ "$(program_id "$PINS/live")" = "$id" ] || fail "the old set is in force"
[ "$(marked 0)" = "5242880 2097152" ] || fail "marked: $(marked 0)"
[ "$(pin_names | grep -v /)" = live ] || fail "left behind: $(pin_names)"

say "killed while it pinned a new set: that one is thrown away, the old one goes on"
mkdir "$PINS/new"
bpftool map pin pinned "$PINS/live/map_dirty" "$PINS/new/map_dirty"
bpftool map pin pinned "$PINS/live/map_state" "$PINS/new/map_state"
write_at "$A" 9
state
expect 0 continuous 1
[ "$(marked 0)" = $'5242880 2097152\n9437184 1048576' ] || fail "marked: $(marked 0)"
[ "$(pin_names | grep -v /)" = live ] || fail "left behind: $(pin_names)"

say "another layout: not continuous, and says why"
ctl adopt
tracker_break "$PINS/live" layout
state
expect 0 continuous 0
grep -q "another version" <<<"$(why 0)" || fail "why: $(why 0)"

for pin in link_complete_2 program_issue map_todo map_state map_percpu; do
	say "$pin is gone: not continuous, and says why"
	ctl adopt take forget
	state
	expect 0 continuous 1
	rm "$PINS/live/$pin"
	state
	expect 0 continuous 0
	grep -q "not whole" <<<"$(why 0)" || [ "$pin" = map_state ] || fail "why: $(why 0)"
	write_at "$A" 11
	[ "$(marked 0)" = "11534336 1048576" ] || fail "marked: $(marked 0)"
done

say "a map of something else under the right name is noticed"
ctl adopt
rm "$PINS/live/map_todo"
bpftool map pin pinned "$PINS/live/map_dirty" "$PINS/live/map_todo"
state
expect 0 continuous 0
grep -q "not whole" <<<"$(why 0)" || fail "why: $(why 0)"

say "from before a reboot: not continuous"
ctl adopt
tracker_break "$PINS/live" boot-id
state
expect 0 continuous 0

say "remove leaves nothing behind, and a second time is no error"
ctl remove
[ ! -e "$PINS" ] || fail "left behind: $(pin_names)"
say "passed"
