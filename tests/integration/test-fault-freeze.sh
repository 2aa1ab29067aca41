#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Cutovers that cannot be, or go wrong: each ends with a sentence and its exit status, the source is thawed and
# goes on, nothing was started, and the next cutover can do its work.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq fsfreeze

make_source 128M 16M
start_receiver "[machine web1]" "start-command = sh $T/start" "start-timeout = 20s"
echo "echo started >>'$T/started'" >"$T/start"
start_writer 2

run_agent()
{
	start_agent web1 "$SOURCE" "pass-interval = 100ms" "hook-timeout = 1s" \
		"pre-freeze-command = sh $T/pre-freeze" "post-thaw-command = echo thawed >>$T/thawed"
}
echo true >"$T/pre-freeze"

cutover()
{
	ferry cutover web1 --fence hold "$@"
}
# given_up EXIT TEXT WHAT...: this cutover ends so, and everything goes on.
given_up()
{
	local code=$1 text=$2
	shift 2
	expect_exit "$code" "$text" cutover "$@"
	writer_moves 20 || fail "the source stays frozen after: $text"
	[ ! -e "$T/started" ] || fail "the target was started after: $text"
}

say "not connected, not ready, paused"
enroll_agent web1
expect_exit 4 "there is no machine 'web2'" ferry cutover web2
given_up 5 "web1 is not connected: is blkferry-agent running there?"
ferry limit web1 4MiB/s >/dev/null
run_agent
wait_phase web1 full
given_up 5 "web1 is not ready: 'blkferry status web1' shows how far it is"
ferry limit web1 none >/dev/null
wait_ready web1
ferry pause web1 >/dev/null
wait_phase web1 paused
given_up 5 "web1 is paused: 'blkferry resume web1' first"
ferry resume web1 >/dev/null
wait_ready web1

say "a dry run changes nothing"
rm -f "$T/thawed"
expect_exit 0 "all checks passed; nothing was changed" cutover --dry-run
[ ! -e "$T/thawed" ] || fail "the dry run ran hooks"
[ "$(status web1 .connected)" = true ] || fail "the dry run cut the connection"
given_up 0 "all checks passed" --dry-run

say "hooks that fail or hang"
echo "echo cannot stop the database >&2; exit 3" >"$T/pre-freeze"
rm -f "$T/thawed"
given_up 1 "cannot stop the database"
wait_for 10 "[ -e '$T/thawed' ]" "post-thaw-command after a failed pre-freeze-command"
wait_ready web1
echo "exec sleep 100" >"$T/pre-freeze"
rm -f "$T/thawed"
given_up 1 "pre-freeze-command"
wait_for 10 "[ -e '$T/thawed' ]" "post-thaw-command after a pre-freeze-command that hung"
wait_ready web1

say "a file system that something else has frozen"
echo "fsfreeze -f '$T/source'" >"$T/pre-freeze"
rm -f "$T/thawed"
expect_exit 5 "is frozen already, by something else (a backup?)" cutover
wait_for 10 "[ -e '$T/thawed' ]" "post-thaw-command after a freeze that failed"
! writer_moves 1 || fail "it thawed what somebody else had frozen"
fsfreeze -u "$T/source"
echo true >"$T/pre-freeze"
wait_ready web1

say "not done within the timeout"
stop_writer
start_writer 0
wait_ready web1
ferry limit web1 2MiB/s >/dev/null
echo "touch '$T/hooked'; head -c 4M /dev/urandom >'$T/source/heavy'" >"$T/pre-freeze"
rm -f "$T/thawed" "$T/hooked"
write_heavily "[ ! -e '$T/thawed' ]" >"$T/dd.out" 2>&1 &
heavy=$!
given_up 1 "100 ms of freeze" --timeout 100ms
wait_for 10 "[ -e '$T/thawed' ]" "post-thaw-command after the timeout"
wait "$heavy"
ferry limit web1 none >/dev/null
echo true >"$T/pre-freeze"
wait_ready web1

say "^C"
rm -f "$T/thawed" "$T/hooked"
echo "echo hooked >'$T/hooked'; exec sleep 0.8" >"$T/pre-freeze"
# Not by the function, whose pid is a shell's. A job in the background does not hear SIGINT: TERM is the same here.
blkferry --socket "$T/control.sock" cutover web1 --fence hold >"$T/cutover.out" 2>&1 &
cli=$!
wait_for 30 "[ -e '$T/hooked' ]" "the cutover to come to its hook"
kill "$cli"
wait "$cli" || true
wait_message "$T/agent-web1.log" "cutover given up: cancelled"
writer_moves 20 || fail "the source stays frozen after ^C"
[ ! -e "$T/started" ] || fail "the target was started after ^C"
wait_ready web1

say "two cutovers at once"
rm -f "$T/hooked"
cutover --dry-run >"$T/cutover.out" 2>&1 || true
mkfifo "$T/gate"
echo "echo hooked >'$T/hooked'; read -r go <'$T/gate'; exit 1" >"$T/pre-freeze"
cutover >"$T/cutover.out" 2>&1 &
cli=$!
wait_for 30 "[ -e '$T/hooked' ]" "the cutover to come to its hook"
expect_exit 5 "a cutover of web1 is under way" cutover
echo go >"$T/gate"
wait "$cli" || true
echo true >"$T/pre-freeze"
wait_ready web1

say "a start-command that fails, and runs again"
expect_exit 5 "was never sealed" ferry cutover web1 --source-is-dead
echo "echo started >>'$T/started'; echo the hypervisor says no; exit 1" >"$T/start"
expect_exit 1 "the hypervisor says no" cutover
[ "$(status web1 .phase)" = completed ] || fail "phase is $(status web1 .phase)"
! writer_moves 1 || fail "the fenced source goes on"
compare "$SOURCE" "$T/storage/web1-disk0.raw" || fail "source and target differ"
expect_exit 1 "web1 was cut over, but its start-command did not succeed" cutover
expect_exit 1 "the hypervisor says no" ferry cutover web1 --source-is-dead
echo "echo started >>'$T/started'; env >'$T/environment'" >"$T/start"
expect_exit 0 "cut over" ferry cutover web1 --source-is-dead
[ "$(wc -l <"$T/started")" = 3 ] || fail "the start-command ran $(wc -l <"$T/started") times"
grep -qx BLKFERRY_MACHINE=web1 "$T/environment" || fail "the start-command was not told the machine"
grep -qx "BLKFERRY_DISK0_PATH=$T/storage/web1-disk0.raw" "$T/environment" || fail "... nor the disk"
expect_exit 1 "web1 was cut over and started already" ferry cutover web1 --source-is-dead

say "an agent that comes back after that"
end_process "$AGENT_PID" KILL || true
mark_log "$T/agent-web1.log"
run_agent
wait_message "$T/agent-web1.log" "web1 was cut over: its replica is live now and must not be written"
compare "$SOURCE" "$T/storage/web1-disk0.raw" || fail "the live replica was written"
