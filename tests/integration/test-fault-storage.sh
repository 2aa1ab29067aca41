#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The target is not what was copied to while the receiver still knows what it copied: a storage folder that was not
# mounted, a file put back from a backup. What was acknowledged is not trusted then, and the replica becomes identical.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

# restart_receiver COMMAND...: what happens while it, and its nbdkit, are away.
restart_receiver()
{
	local pid_file
	sync -f "$T/source"
	wait_ready web1
	stop_receiver
	for pid_file in "$T"/storage/*.pid; do
		[ ! -e "$pid_file" ] || end_process "$(cat "$pid_file")"
	done
	"$@"
	mark_log "$T/receiver.log"
	mark_log "$T/agent-web1.log"
	start_receiver "" "${SECTION[@]}"
	wait_message "$T/agent-web1.log" "connected to the receiver"
}

empty_storage()
{
	rm -r "$T/storage"
	mkdir "$T/storage"
}

put_back_old_file()
{
	cp --sparse=always "$T/backup.raw" "$T/new.raw"
	mv "$T/new.raw" "$1"
}

# expect_nothing: the receiver finds nothing odd, and the agent goes on from its bitmap.
expect_nothing()
{
	wait_ready web1
	! tail -n "+$((${LOG_MARKS[$T/agent-web1.log]} + 1))" "$T/agent-web1.log" |
		grep -q "copying it in full\|comparing digests" || fail "$1 made it copy or compare"
}

SECTION=()
make_source 64M 8M
start_receiver
start_agent web1 "$SOURCE" "pass-interval = 100ms"
wait_ready web1
target=$(status web1 '.disks[0].path')

say "nothing happened to the storage"
restart_receiver true
expect_nothing "a restart"

say "an empty storage folder"
restart_receiver empty_storage
wait_message "$T/receiver.log" "$target is empty, and"
become_identical web1

say "an older file put back"
cp --sparse=always "$target" "$T/backup.raw"
head -c 2M /dev/urandom >"$T/source/newer"
restart_receiver put_back_old_file "$target"
wait_message "$T/receiver.log" "$target is another file than"
become_identical web1
sent=$(status web1 .sent_bytes)
[ "$sent" -lt 8000000 ] || fail "a comparison ended in a full copy ($sent bytes)"

say "a file: target that was removed"
SECTION=("[machine web1]" "disk0 = file:$T/file.raw")
restart_receiver true
wait_message "$T/agent-web1.log" "copying it in full"
become_identical web1
restart_receiver true
expect_nothing "a restart"
restart_receiver rm "$T/file.raw"
wait_message "$T/receiver.log" "$T/file.raw is empty, and"
become_identical web1
