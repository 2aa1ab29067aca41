#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Blocks of the source that cannot be read: the status says so, nothing calls the replica ready, and when they
# can be read again it becomes identical.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq
make_disk 96M
SOURCE=$LOOP
head -c 96M /dev/urandom >"$LOOP_FILE"
start_receiver
run_agent()
{
	start_agent web1 "$SOURCE" "pass-interval = 100ms" "$@"
}
say "blocks that cannot be read"
start_agent web1 "$SOURCE" "allocated-only = no" "pass-interval = 100ms"
wait_ready web1
stop_agent
blkferry-agent forget --config "$T/agent-web1.ini" >/dev/null
truncate -s $((96 * 1048576 - 65536)) "$LOOP_FILE" # reads past this fail
run_agent "allocated-only = no"
wait_for 60 "[ \"\$(status web1 .agent.read_errors)\" -gt 0 ]" "read errors in the status"
wait_last_error web1 "bytes of the source cannot be read" 60
say "last error: $(status web1 .last_error)"
[ "$(status web1 .ready)" = false ] || fail "it says ready with blocks that were never read"
expect_exit 5 "not ready" ferry cutover web1 --fence hold
truncate -s 96M "$LOOP_FILE"
wait_ready web1
wait_for 60 "compare '$SOURCE' '$T/storage/web1-disk0.raw'" "source and target to be the same"
