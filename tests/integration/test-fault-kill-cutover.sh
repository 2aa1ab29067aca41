#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Agent or receiver killed with SIGKILL at each step of a cutover, and at random moments. After each round:
#
#   - the target was started once if the source is fenced, and else never (I9)
#   - a source that is not fenced is thawed at once and goes on, and its replica becomes identical
#   - a fenced source stays frozen, and its replica is identical
#
# While the target's server is stopped (SIGSTOP) the cutover cannot leave the step that it is in.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

make_source 64M 4M
TARGET=$T/storage/web1-disk0.raw
cat >"$T/start" <<EOS
echo started >>'$T/started'
EOS

run_receiver()
{
	start_receiver "[machine web1]" "start-command = sh $T/start"
}
run_agent()
{
	start_agent web1 "$SOURCE" "pass-interval = 100ms" \
		"pre-freeze-command = echo hooked >>$T/hooked" "post-thaw-command = echo thawed >>$T/hooked"
}

kill_agent()
{
	end_process "$AGENT_PID" KILL || true
	KILLED=agent
}
kill_receiver()
{
	end_process "$RECEIVER_PID" KILL || true
	KILLED=receiver
}
hold_target()
{
	[ -z "$SERVER" ] || return 0
	SERVER=$(cat "$T/storage/web1-disk0.pid")
	kill -STOP "$SERVER"
}
release_target()
{
	[ -z "$SERVER" ] || kill -CONT "$SERVER"
	SERVER=
}

# run_cutover STEP COMMAND: runs COMMAND as soon as STEP is told to be done. With "freeze" everything is frozen
# when COMMAND runs, and stays so. Sets RESULT to the exit status.
run_cutover()
{
	local step=$1 command=$2 line
	SERVER=
	RESULT=
	while IFS= read -r line; do
		[ "$step" != freeze ] || [[ $line != *'"step":"converge"'* ]] || hold_target
		case $line in
		*"\"step\":\"$step\""*)
			[ -n "$step" ] && "$command"
			release_target # or the session could not end
			step=
			;;
		"exit "*) RESULT=${line#exit } ;;
		esac
	done < <(
		status=0
		ferry cutover web1 --fence hold --timeout 20 --json 2>"$T/cutover.err" || status=$?
		echo "exit $status"
	)
}

source_is_frozen()
{
	! writer_moves 3
}

# What has to hold after a round, whatever happened in it.
check_round()
{
	local what=$1 phase
	release_target
	# A thaw that is due comes at once: within a second, but this machine may be busy.
	if [ "$KILLED" = agent ] && [ ! -e "$T/started" ] && writer_moves 20; then
		say "$what: thawed (exit status $RESULT: $(tail -n 1 "$T/cutover.err"))"
	fi
	process_lives "$RECEIVER_PID" || run_receiver
	phase=$(status web1 .phase)
	if [ "$phase" != completed ] && process_lives "$AGENT_PID"; then
		wait_until 25 "[ \"\$(status web1 .ready)\" = true ] || [ \"\$(status web1 .phase)\" = completed ]"
		phase=$(status web1 .phase)
	fi
	if [ "$phase" = completed ]; then
		source_is_frozen || fail "$what: completed, and the source is not frozen"
		# A receiver that died in between cannot know whether it ran: that is for a person to say.
		if ! wait_until 3 "[ -e '$T/started' ]"; then
			[ "$(status web1 .started)" = false ] || fail "$what: it says started, and nothing was"
			expect_exit 0 "cut over" ferry cutover web1 --source-is-dead
		fi
		[ "$(wc -l <"$T/started")" = 1 ] || fail "$what: the target was started $(wc -l <"$T/started") times"
		compare "$SOURCE" "$TARGET" || fail "$what: fenced, and the replica differs"
		say "$what: fenced and started once, identical (exit status $RESULT)"
		begin_anew
		return
	fi
	[ ! -e "$T/started" ] || fail "$what: the target was started, but the source is not fenced (phase $phase)"
	process_lives "$AGENT_PID" || run_agent
	# Between the agent's commit and its FENCED lies a moment in which its death leaves the disks frozen: nobody
	# can tell whether the target may start. Both ways are safe; a person ends it.
	if [ "$phase" = committed ] && ! writer_moves 3; then
		say "$what: committed, FENCED not said, frozen: thawed by hand"
		fsfreeze -u "$T/source"
	fi
	writer_moves 20 || fail "$what: the source is not fenced, and stays frozen (phase $phase)"
	wait_ready web1
	[ ! -e "$T/started" ] || fail "$what: the target was started later"
}

# The next replica of the same source, after one was fenced.
begin_anew()
{
	end_process "$AGENT_PID" KILL || true
	fsfreeze -u "$T/source"
	ferry remove web1 --yes >/dev/null
	rm -rf "$T/agent-web1" "$T/started"
	run_agent
	wait_ready web1
}

run_receiver
start_writer 1
run_agent
wait_ready web1

say "agent killed after each step"
for step in checks verify hook converge freeze drain certify; do
	KILLED=
	run_cutover $step kill_agent
	[ "$KILLED" = agent ] || fail "the cutover had no step $step: $(cat "$T/cutover.err")"
	[ "$RESULT" != 0 ] || [ -e "$T/started" ] || fail "a broken cutover ended with 0"
	[ "$RESULT" = 0 ] || grep -qE "was cut before COMMIT; the source thaws by itself|has not said that it is fenced" "$T/cutover.err" ||
		fail "it did not say what holds now: $(cat "$T/cutover.err")"
	check_round "agent killed after $step"
done

say "receiver killed after each step"
for step in checks verify converge freeze certify seal commit; do
	KILLED=
	run_cutover $step kill_receiver
	[ "$KILLED" = receiver ] || [ "$RESULT" = 0 ] || fail "the cutover ended with $RESULT: $(cat "$T/cutover.err")"
	check_round "receiver killed after $step"
done

say "killed at random moments"
seed_random
for round in 1 2 3 4; do
	KILLED=
	run_cutover "" true &
	cutover=$!
	random_moment 1200
	if [ $((RANDOM % 2)) = 0 ]; then kill_agent; else kill_receiver; fi
	wait "$cutover" || true
	RESULT="not looked at"
	check_round "round $round, $KILLED killed"
done
become_identical web1 "$TARGET"
