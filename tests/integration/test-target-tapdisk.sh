#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A whole replication into a server with the ways of tapdisk, XCP-ng's NBD server: while it stands still for
# the host's snapshot, and after its storage was full, and the replica is the same in the end.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP python3 mkfs.ext4 jq

make_source 64M 20M
truncate -s 64M "$T/target.img"
serve()
{
	rm -f "$T/nbd.sock"
	start_process "$T/tapdisk.log" "$TOP/tests/tools/tapdisk_server.py" "$T/nbd.sock" "$T/target.img" "$@"
	SERVER=$STARTED_PID
	wait_for 10 "[ -S '$T/nbd.sock' ]" "the server's socket"
}

say "full storage"
serve --full-at 33554432
start_receiver "[machine web1]" "disk0 = nbd+unix:///0c1d-vdi?socket=$T/nbd.sock"
start_writer 2
start_agent web1 "$SOURCE" "pass-interval = 100ms" "allocated-only = no" "connections = 4"
wait_last_error web1 "tapdisk says this for every error"
end_process "$SERVER" KILL || true
serve
wait_ready web1 180

say "a server that stands still"
kill -s USR1 "$SERVER"
wait_for 60 "grep -q 'waits for the end of a pause' '$T/tapdisk.log'" "a write to the server"
writer_moves || fail "the source stands still with its target"
kill -s USR2 "$SERVER"
wait_ready web1 180
become_identical web1 "$T/target.img"
