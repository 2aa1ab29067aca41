#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Without a tracker (tracker = scan): every pass compares digests. It follows a writer, survives its own death,
# verifies, and a cutover seals an identical replica.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT LOOP mkfs.ext4 nbdkit jq

make_source 64M 8M
start_receiver
start_writer 1
run_agent()
{
	start_agent web1 "$SOURCE" "tracker = scan" "pass-interval = 100ms"
}
run_agent
wait_ready web1
[ "$(status web1 .agent.tracker)" = scan ] || fail "the tracker is $(status web1 .agent.tracker)"
[ ! -d "$AGENT_PINS" ] || [ -z "$(ls "$AGENT_PINS")" ] || fail "the scan tracker left something in bpffs"

say "killed and started again"
end_process "$AGENT_PID" KILL || true
writer_moves
mark_log "$T/agent-web1.log"
run_agent
wait_message "$T/agent-web1.log" "comparing digests, only differences are sent"
wait_ready web1
[ "$(status web1 .sent_bytes)" -lt 16000000 ] || fail "a comparison ended in a full copy"
ferry verify web1 >"$T/verify.out" || fail "verify: $(cat "$T/verify.out")"

say "cutover"
ferry cutover web1 --fence hold --timeout 60 || fail "exit status $?"
promised=$(acknowledged_records)
compare "$SOURCE" "$T/storage/web1-disk0.raw" || fail "source and target differ"
target_loop=$(losetup --find --show --read-only "$T/storage/web1-disk0.raw")
cleanup_fn losetup -d "$target_loop"
mount_folder "$target_loop" "$T/target" -o ro,noload
writer check "$T/target" --at-least "$promised" || fail "an acknowledged record is missing"
