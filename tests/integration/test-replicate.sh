#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The main job, end to end: a disk with a partition and ext4 is copied while a program writes to it,
# delta passes follow, a cutover seals it, and then every byte is the same, for independent clients too.
#
#   writer -> ext4 -> loopXp1 -> loopX -> agent ==TLS==> receiver -> nbdkit -> file

. "$(dirname "$0")/../functions.sh"
requires ROOT BPF LOOP sfdisk mkfs.ext4 nbdkit nbdcopy qemu-img jq

make_disk 512M
partition_disk "$LOOP" <<<'label: gpt
start=2048, type=linux'
make_filesystem ext4 "${LOOP}p1" "$T/source"

start_process "$T/writer.log" writer run "$T/source" --progress "$T/progress" --rewrite-mib 64 \
	--rewrite-mib-per-s 20
writer=$STARTED_PID
wait_for 60 "[ -s '$T/progress' ]" "the writer's first records"

start_receiver
start_agent web1 "$LOOP"
wait_ready web1 120
say "ready: $(status web1 .sent_bytes) bytes sent"

seen=$(acknowledged_records)
wait_for 60 "[ \$(acknowledged_records) -gt $((seen + 50)) ]" "more records while replicating"

ferry verify web1
ferry cutover web1 --fence hold --timeout 30 --json | tee "$T/cutover.json"
tail -n 1 "$T/cutover.json" | jq -e '.data_downtime_ms > 0 and .certified_bytes > 0' >/dev/null ||
	fail "the result of the cutover says neither downtime nor certification"
[ "$(status web1 .phase)" = completed ] || fail "phase is $(status web1 .phase)"

say "comparing every byte while the source is frozen"
target=$(status web1 '.disks[0].path')
uri=$(status web1 '.disks[0].target')
compare "$LOOP" "$target" || fail "source and target differ"
nbdcopy "$uri" "$T/readback.img"
cmp "$T/readback.img" "$T/disk1.img" || fail "nbdcopy reads something else"
qemu-img compare -f raw -F raw "$uri" "$T/disk1.img" || fail "qemu-img reads something else"
promised=$(acknowledged_records)

say "the target's file system and records"
target_loop=$(losetup --find --show --read-only --offset 1048576 "$T/readback.img")
cleanup_fn losetup -d "$target_loop"
e2fsck -fn "$target_loop" || fail "the target's file system is damaged"
mount_folder "$target_loop" "$T/target" -o ro
writer check "$T/target" --at-least "$promised" || fail "an acknowledged record is missing"
process_lives "$writer" || fail "the writer ended"
