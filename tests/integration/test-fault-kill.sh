#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The agent, and then the receiver, killed with SIGKILL and started again while copying, comparing and following:
# what was acknowledged is not sent again, what was not is not forgotten, and the replica becomes identical.
# (test-fault-kill-cutover.sh does the same to cutovers.)

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

make_source 128M 48M
start_receiver

run_agent()
{
	start_agent web1 "$SOURCE" "pass-interval = 100ms" "$@"
}

# kill_agent, kill_receiver: with SIGKILL, and started again.
kill_agent()
{
	mark_log "$T/agent-web1.log"
	end_process "$AGENT_PID" KILL || true
	run_agent
	wait_message "$T/agent-web1.log" "connected to the receiver"
}
kill_receiver()
{
	mark_log "$T/agent-web1.log"
	end_process "$RECEIVER_PID" KILL || true
	start_receiver
	wait_message "$T/agent-web1.log" "connected to the receiver"
}

# break_copy WHAT KILL: in the middle of a full copy. Nobody writes, so what is sent afterwards can be told.
break_copy()
{
	local what=$1 left sent seen
	ferry limit web1 8MiB/s >/dev/null
	wait_for 60 "[ \"\$(status web1 '.pass_bytes > .todo_bytes + 12000000')\" = true ]" "a part of the copy"
	left=$(status web1 '.todo_bytes + .dirty_bytes')
	seen=$(status web1 .phase)
	"$2"
	ferry limit web1 none >/dev/null
	wait_ready web1
	sent=$(status web1 .sent_bytes)
	[ "$seen" = full ] || fail "the copy was over before the $what was killed (phase $seen)"
	say "full copy, $what killed with $left bytes left: $sent bytes sent since"
	[ "$sent" -le $((left + 4194304)) ] || fail "what was acknowledged was sent again"
	ferry verify web1 >/dev/null || fail "verify differs after the $what was killed in a full copy"
}

say "full copy"
run_agent "limit = 8MiB/s"
wait_phase web1 full
break_copy agent kill_agent
ferry remove web1 --yes >/dev/null
wait_for 30 "! process_lives $AGENT_PID" "the end of the removed machine's agent"
rm -rf "$T/agent-web1"
run_agent "limit = 8MiB/s"
wait_phase web1 full
break_copy receiver kill_receiver

say "comparing by digest"
start_writer 4
stop_agent
blkferry-agent forget --config "$T/agent-web1.ini" >/dev/null
mark_log "$T/agent-web1.log"
run_agent
wait_message "$T/agent-web1.log" "comparing digests, only differences are sent"
kill_agent
wait_ready web1
stop_agent
blkferry-agent forget --config "$T/agent-web1.ini" >/dev/null
mark_log "$T/agent-web1.log"
run_agent
wait_message "$T/agent-web1.log" "comparing digests, only differences are sent"
kill_receiver
wait_ready web1
sent=$(status web1 .sent_bytes)
[ "$sent" -lt 40000000 ] || fail "a comparison ended in a full copy ($sent bytes)"

say "following the writer, killed at random moments"
seed_random
for round in 1 2 3; do
	random_moment 1000
	kill_agent
	random_moment 1000
	kill_receiver
	# Both, the second while the first is away.
	[ $round != 3 ] || {
		end_process "$RECEIVER_PID" KILL || true
		end_process "$AGENT_PID" KILL || true
		writer_moves
		mark_log "$T/agent-web1.log"
		run_agent
		wait_message "$T/agent-web1.log" "trying again in"
		start_receiver
	}
	wait_ready web1
done
become_identical web1

say "verify"
start_writer 4
wait_ready web1
server=$(cat "$T/storage/web1-disk0.pid")
kill -STOP "$server" # the verify waits for the target now
ferry verify web1 >"$T/verify.out" 2>&1 &
verify=$!
wait_message "$T/agent-web1.log" "verify begins"
mark_log "$T/agent-web1.log"
end_process "$AGENT_PID" KILL || true
result=0
wait "$verify" || result=$?
[ "$result" = 1 ] || fail "verify ended with exit status $result instead of 1"
grep -qF "the connection to web1 was cut during the verify: run it again" "$T/verify.out" ||
	fail "verify said: $(cat "$T/verify.out")"
kill -CONT "$server"
run_agent
become_identical web1
