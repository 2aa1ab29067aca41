#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Checkpoints at the receiver, driven by a script instead of an agent: listed, labelled, gone back to, and that undone;
# a receiver killed in a rollback; a machine whose source is lost becomes what it was at a checkpoint.

. "$(dirname "$0")/../script-functions.sh"
requires nbdkit jq

SIZE=$((64 * 1024 * 1024))
RETENTION="retention = 1h:1ms"
restart_receiver()
{
	start_receiver "$RETENTION" "[machine web1]" "disk0 = file:$T/disk0.img" "disk1 = auto" \
		"start-command = cp $T/disk0.img $T/started0"
}
restart_receiver
enroll_agent web1

say "five checkpoints, each with random writes behind it"
for i in 1 2 3 4 5; do
	stream <<-END
		random 0 300 4096 ?
		random 1 100 12288 ?
		zero 0 $((i * 1048576)) 524288
		mark $i
		confirm $i
		applied
	END
	keep "point$i"
done
stream <<-END
	random 0 500 4096 ?
	random 1 500 4096 ?
	applied
END
keep now
ferry points web1
[ "$(ferry points web1 --json | jq -r '[.[].number] | join(" ")')" = "1 2 3 4 5" ] || fail "other checkpoints are listed"

say "rolled back, again, and undone"
ferry rollback web1 --at "#3"
expect point3
[ "$(status web1 .phase)" = rolled-back ] || fail "status does not say that it is rolled back"
: >"$T/streamer.log"
if stream </dev/null; then fail "an agent was let in"; fi
grep -q '^error .*rolled back' "$T/streamer.log" || fail "the agent was not told why"
ferry rollback web1 --at "#1"
expect point1
ferry rollback web1 --at "#5"
expect point5
ferry rollback web1 --at "#2"
ferry rollback web1 --at latest
expect point5
if ferry cutover web1 --source-is-dead --at before-rollback 2>"$T/mixed.log"; then fail "a mix of moments was started"; fi
grep -q "a mix of moments" "$T/mixed.log" || fail "it was refused for another reason"
end_process "$RECEIVER_PID" KILL || true
restart_receiver
[ "$(status web1 .phase)" = rolled-back ] || fail "forgotten after a kill"
ferry rollback web1 --undo
expect now
[ "$(status web1 .phase)" = disconnected ] || fail "still rolled back"
[ "$(ferry points web1 --json | jq -r '[.[].number] | join(" ")')" = "1 2 3 4 5" ] ||
	fail "what was no checkpoint is listed"

say "the stream goes on after that"
: >"$T/streamer.log"
stream <<-END
	random 0 100 4096 ?
	mark 20
	confirm 20
	applied
END
grep -q '^ready 5712ea3 [1-9][0-9]* 6$' "$T/streamer.log" || fail "the stream's place was lost"
keep point20

say "a rollback that is killed is done again"
for i in 2 4 1; do
	ferry rollback web1 --at "#$i" >>"$T/rollback.log" 2>&1 &
	rollback=$!
	wait_for 20 "[ \"\$(jq -r .state '$T/receiver/machines/web1/machine.json')\" = rolled-back ]" "the rollback's begin"
	end_process "$RECEIVER_PID" KILL || true
	wait "$rollback" || true
	restart_receiver
	ferry rollback web1 --at "#$i"
	expect "point$i"
done
ferry rollback web1 --undo
expect point20

say "a rollback is given up: the source is followed again, from a comparison"
ferry rollback web1 --at "#2"
ferry resume web1
: >"$T/streamer.log"
stream </dev/null
grep -q '^ready 0 0 ' "$T/streamer.log" || fail "the agent may believe that its stream goes on"

say "labels, and a cutover without a source"
start_process "$T/served.log" bash -c "streamer $RECEIVER_PORT $T/agent-web1 2 $SIZE <<<\$'serve\\napplied'"
wait_for 20 "[ \"\$(status web1 .connected)\" = true ]" "the session"
ferry checkpoint web1 --label before-upgrade --freeze
[ "$(ferry points web1 --json | jq -r '.[] | select(.label == "before-upgrade") | .frozen')" = true ] ||
	fail "the labelled checkpoint is not there, or not frozen"
wait_for 20 "[ \"\$(status web1 .connected)\" = false ]" "the end of the session"
keep labelled
stream <<-END
	random 0 200 4096 ?
	applied
END
wait_for 20 "[ \"\$(status web1 .connected)\" = false ]" "the end of the session"
if ferry cutover web1 --source-is-dead 2>/dev/null; then fail "what was never sealed was started"; fi
ferry cutover web1 --source-is-dead --at before-upgrade
expect labelled
cmp "$T/started0" "$T/labelled.0" || fail "another state was started"
