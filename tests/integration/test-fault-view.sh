#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Views and questions must not stand in the way: of a stream whose target failed while a view is open, and of a machine
# that is being started from the targets.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit nbdcopy jq

make_source 64M 8M
truncate -s 64M "$T/target.img"
start_process "$T/nbdkit.log" nbdkit -f --unix "$T/nbd.sock" --filter=error file "$T/target.img" \
	error-pwrite=EIO error-pwrite-rate=100% error-zero=EIO error-zero-rate=100% error-file="$T/fail"
wait_for 10 "[ -S '$T/nbd.sock' ]" "nbdkit's socket"

# What starts the machine asks about it, as an impatient person would, and looks who has its disk.
cat >"$T/start" <<END
#!/bin/sh
if blkferry --socket "$T/control.sock" points web1 >"$T/points.out" 2>&1; then
	echo "points were listed from the disks of a machine that is being started" >&2
	exit 1
fi
blkferry --socket "$T/control.sock" view web1 >"$T/view.out" 2>&1 && exit 1
nbdcopy "\$BLKFERRY_DISK0_TARGET" "$T/started.img"
END
chmod +x "$T/start"
start_receiver "" "[machine web1]" "disk0 = nbd+unix:///?socket=$T/nbd.sock" "start-command = $T/start"
start_writer 1
start_agent web1 "$SOURCE" "checkpoint-interval = 200ms"
wait_streaming web1

say "labels that are blkferry's own"
for label in cutover before-rollback; do
	! ferry checkpoint web1 --label "$label" 2>"$T/refused" || fail "the label $label was taken"
	grep -q "choose another" "$T/refused" || fail "$(cat "$T/refused")"
done

say "the target fails while a view is open"
ferry checkpoint web1 --label kept >/dev/null
ferry view web1 --at kept --json >"$T/view.json"
touch "$T/fail"
wait_message "$T/receiver.log" "cannot be applied"
rm "$T/fail"
wait_message "$T/receiver.log" "so that replication goes on"
wait_streaming web1 "streaming again, with nobody's help"
writer_moves || fail "the source stands still"
[ "$(ferry view web1 --list --json | jq length)" = 0 ] || fail "the view is still listed"
ferry points web1 --json | jq -e 'any(.[]; .label == "kept")' >/dev/null || fail "the checkpoint is gone"
ferry view web1 --at kept --json >/dev/null
ferry verify web1

say "nobody opens the disks of a machine that is being started"
ferry view web1 --stop >/dev/null
ferry cutover web1 --fence hold --timeout 30
grep -q "was cut over" "$T/points.out" || fail "points said: $(cat "$T/points.out")"
grep -q "was cut over" "$T/view.out" || fail "view said: $(cat "$T/view.out")"
compare "$SOURCE" "$T/started.img" || fail "what was started differs from the source"
