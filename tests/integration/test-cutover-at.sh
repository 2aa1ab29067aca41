#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A cutover to an earlier second: the source is fenced, and the machine that starts is the one of then. The
# start-command sees targets that are byte-identical with a copy of the frozen disk, made at that moment.
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF mkfs.ext4 nbdkit nbdcopy jq cmp

make_disk 256M
make_filesystem ext4 "$LOOP" "$T/source"
dd if=/dev/urandom of="$T/source/ledger" bs=1M count=8 conv=fsync status=none

# What starts looks at its disk itself, through the URI that it is given.
cat >"$T/start" <<END
#!/bin/sh
nbdcopy "\$BLKFERRY_DISK0_TARGET" "$T/started.img"
END
chmod +x "$T/start"
start_receiver "retention = 10m:100ms" "[machine web1]" "start-command = $T/start"
start_agent web1 "$LOOP"
wait_phase web1 streaming 120

say "a checkpoint, with a copy of the disk at that moment"
sync -f "$T/source"
fsfreeze -f "$T/source"
wait_for 60 'ferry checkpoint web1 --label before' "the checkpoint"
cp --sparse=always "$LOOP_FILE" "$T/then.img"
fsfreeze -u "$T/source"

say "the mistake, and much that comes after it"
rm "$T/source/ledger"
for i in 1 2 3 4; do
	dd if=/dev/urandom of="$T/source/later$i" bs=1M count=16 conv=fsync status=none
done
wait_for 120 'ferry checkpoint web1 --label after' "a checkpoint after it"

say "a point that is not there: refused, and nothing has happened"
if ferry cutover web1 --fence hold --at nonesuch 2>"$T/refused.log"; then
	fail "a cutover to a checkpoint that does not exist"
fi
grep -q nonesuch "$T/refused.log" || fail "it does not say what is wrong: $(cat "$T/refused.log")"
touch "$T/source/alive" && sync -f "$T/source/alive"

say "the cutover to before it"
wait_for 120 '[ "$(status web1 .ready)" = true ]' "ready"
ferry cutover web1 --fence hold --timeout 30 --at before | tee "$T/cutover.log"
[ "$(status web1 .phase)" = completed ] || fail "phase is $(status web1 .phase)"
[ -s "$T/started.img" ] || fail "the start-command did not see its disk"
cmp "$T/started.img" "$T/then.img" || fail "what was started is not what the disk was then"
