#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What must not come between: a second rollback, its undo, a resume or a start while a replica is taken back; an agent
# that said HELLO before its machine was started; a disk that the last session did not have.

. "$(dirname "$0")/../script-functions.sh"
requires nbdkit jq

SIZE=$((16 * 1024 * 1024))
truncate -s "$SIZE" "$T/disk0.img"
mkfifo "$T/end"
start_process "$T/nbdkit.log" nbdkit -f -U "$T/nbd.sock" --filter=delay file "$T/disk0.img" delay-write=20ms
wait_for 20 "[ -S '$T/nbd.sock' ]" "nbdkit"
start_receiver "retention = 1h:1ms" "[machine web1]" "disk0 = nbd+unix:///?socket=$T/nbd.sock" "disk1 = auto" \
	"start-command = touch $T/started; timeout 60 cat $T/end"
enroll_agent web1

# refused WHY COMMAND...
refused()
{
	local why=$1
	shift
	if ferry "$@" 2>"$T/refused.log"; then fail "'$*' came between"; fi
	grep -q "$why" "$T/refused.log" || fail "'$*' was refused for another reason: $(cat "$T/refused.log")"
}
is_under_way='jq -e ".state == \"rolled-back\" and (.rollback_done | not)" "$T/receiver/machines/web1/machine.json" >/dev/null'

for i in 1 2; do
	stream 2 <<-END
		random 0 400 4096 ?
		random 1 20 4096 ?
		mark $i
		confirm $i
		applied
	END
	keep "point$i"
done
stream 2 <<-END
	random 0 400 4096 ?
	random 1 20 4096 ?
	applied
END
keep now

say "nothing comes between a rollback's beginning and its end"
ferry rollback web1 --at "#1" &
rollback=$!
wait_for 20 "$is_under_way" "the rollback's begin"
refused "under way" rollback web1 --at "#2"
refused "under way" rollback web1 --undo
refused "not finished" cutover web1 --source-is-dead --at "#2"
wait "$rollback" || fail "the rollback failed"
expect point1

say "nor of its undo"
ferry rollback web1 --undo &
rollback=$!
wait_for 20 "$is_under_way" "the undo's begin"
refused "under way" rollback web1 --at "#2"
refused "under way" resume web1
refused "not finished" cutover web1 --source-is-dead --at "#2"
wait "$rollback" || fail "the undo failed"
expect now

say "a disk that the last session did not have is taken back as well"
stream 1 <<-END
	random 0 10 4096 ?
	applied
END
wait_for 20 "[ \"\$(status web1 .connected)\" = false ]" "the end of the session"
ferry rollback web1 --at "#2"
expect point2
ferry resume web1

say "an agent that said HELLO before its machine was started comes too late"
STREAMER_WAIT=$T/go start_process "$T/late.log" streamer "$RECEIVER_PORT" "$T/agent-web1" 2 "$SIZE"
late=$STARTED_PID
wait_for 20 "grep -q waiting '$T/late.log'" "the HELLO"
wait_for 20 "ss -Htn state established 'sport = :$RECEIVER_PORT' | grep -q '^0 '" "the receiver to read it"
ferry cutover web1 --source-is-dead --at "#1" &
cutover=$!
wait_for 20 "[ -e '$T/started' ]" "the start"
touch "$T/go"
wait_for 20 "grep -qE '^(ready|error)' '$T/late.log'" "what the agent is told"
grep -q '^error .*cut over' "$T/late.log" || fail "an agent was let in to a running machine's disks"
echo end >"$T/end"
wait "$cutover" || fail "the machine was not started"
wait "$late" || true
expect point1
