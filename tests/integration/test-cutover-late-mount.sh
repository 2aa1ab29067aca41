#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A file system that is mounted during a cutover, here by the pre-freeze-command, is frozen with the others:
# nothing that a program was told is safe may be missing on the target.

. "$(dirname "$0")/../functions.sh"
requires ROOT BPF LOOP nbdkit sfdisk mkfs.ext4 jq

make_disk 128M
partition_disk "$LOOP" <<'END'
label: gpt
start=2048, size=100000, type=linux
start=110000, type=linux
END
make_filesystem ext4 "${LOOP}p2" "$T/late"
umount "$T/late"
make_filesystem ext4 "${LOOP}p1" "$T/source"
cat >"$T/hook" <<END
#!/bin/sh
mount ${LOOP}p2 $T/late && dd if=/dev/urandom of=$T/late/data bs=1M count=4 status=none
END
chmod +x "$T/hook"

start_receiver
start_agent web1 "$LOOP" "pre-freeze-command = $T/hook"
wait_for 60 "[ \"\$(status web1 .ready)\" = true ]" "the first copy"
ferry cutover web1 --fence hold --timeout 30 --json >"$T/cutover.json"
frozen=$(jq -r 'select(.step == "freeze") | .text' "$T/cutover.json")
[ "$frozen" = "2 file systems frozen" ] || fail "the cutover says: $frozen"

# It must block: a write that succeeded here would be lost. The writer ends when the disk is thawed.
start_process "$T/late-write.log" dd if=/dev/zero of="$T/late/after" bs=64k count=1 conv=fsync
late=$STARTED_PID
wait_for 10 "grep -q '^State:.*D' /proc/$late/status" "the late write to block"
compare "$LOOP" "$(status web1 '.disks[0].path')"
