#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The helpers that every other integration test trusts: skips, failures and cleaning up, tried on small
# scripts that source functions.sh as a test does.
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP losetup mkfs.ext4 fsfreeze jq

# run_script NAME EXPECTED_STATUS: runs standard input as a test; output in $T/NAME.out
run_script()
{
	local name=$1 expected=$2 got=0
	{
		echo "#!/bin/bash"
		echo ". '$TOP/tests/functions.sh'"
		cat
	} >"$T/$name.sh"
	KEEP_TEST_FILES='' TEST_DIR=$T bash "$T/$name.sh" >"$T/$name.out" 2>&1 || got=$?
	[ "$got" = "$expected" ] || { cat "$T/$name.out"; fail "$name: exit status $got, not $expected"; }
	! ls -d "$T/blkferry-$name"-* 2>/dev/null || fail "$name: its folder is still there"
}

say "a missing command is a skip with its reason as last line"
run_script skips 77 <<<'requires no-such-command-anywhere'
[ "$(tail -n 1 "$T/skips.out")" = "no-such-command-anywhere is not installed" ] || fail "wrong reason"

say "a command that fails ends the test"
run_script fails 1 <<<'false; echo "not reached"'
! grep -q "not reached" "$T/fails.out" || fail "it went on"

say "cleanups run last first, also after a failure, and one that fails does not stop the others"
run_script cleans 1 <<-'END'
	cleanup_fn echo "one  with spaces"
	cleanup_fn false
	cleanup_fn echo two
	fail "on purpose"
END
[ "$(grep -nE '^(one  with spaces|two)$' "$T/cleans.out" | cut -d : -f 2 | xargs)" = "two one with spaces" ] ||
	fail "order: $(cat "$T/cleans.out")"

say "wait_for fails at its deadline and names what it waited for"
run_script waits 1 <<<'wait_for 1 "[ -e $T/never ]" "the thing that never comes"'
grep -q "still waiting for the thing that never comes" "$T/waits.out" || fail "not named"

say "wait_until returns as soon as the condition holds"
(wait_until 30 "[ -e '$T/flag' ]" && touch "$T/seen") &
touch "$T/flag"
wait $!
[ -e "$T/seen" ] || fail "not seen"

say "processes, mounts (frozen ones too) and loop devices are gone after a failure"
run_script leaves 1 <<-'END'
	requires ROOT LOOP
	make_disk 64M
	echo "type=83" | partition_disk "$LOOP"
	make_filesystem ext4 "${LOOP}p1" "$T/mount"
	start_process "$T/sleeper.log" sleep 1000
	fsfreeze -f "$T/mount"
	start_process "$T/stuck.log" touch "$T/mount/file"
	echo "FACTS $LOOP $STARTED_PID $T/mount"
	false
END
read -r _ loop pid folder < <(grep ^FACTS "$T/leaves.out")
! losetup "$loop" 2>/dev/null | grep -qF "$T/" || fail "$loop is still attached"
! process_lives "$pid" || fail "process $pid still runs"
! mountpoint -q "$folder" || fail "$folder is still mounted"

say "an interrupted test cleans up as well"
cat >"$T/interrupted.sh" <<-END
	. '$TOP/tests/functions.sh'
	cleanup_fn touch '$T/was-cleaned'
	touch '$T/is-ready'
	wait_for 60 false "the signal"
END
TEST_DIR=$T bash "$T/interrupted.sh" >"$T/interrupted.out" 2>&1 &
wait_for 20 "[ -e '$T/is-ready' ]" "the script"
result=0
end_process $! TERM || result=$?
[ "$result" = 143 ] || fail "exit status $result"
[ -e "$T/was-cleaned" ] || fail "not cleaned up"

say "a kernel warning fails a root test, one from before it does not"
run_script warns 1 <<-'END'
	requires ROOT
	dmesg()
	{
		printf '%s\n' "$KERNEL_LOG_MARK" "[ 1.0] WARNING: CPU: 1 PID: 2 at block/blk-core.c:3"
	}
END
grep -q "the kernel complained" "$T/warns.out" || fail "not said"
run_script quiet 0 <<-'END'
	requires ROOT
	dmesg()
	{
		printf '%s\n' "[ 1.0] WARNING: CPU: 1 PID: 2 at block/blk-core.c:3" "$KERNEL_LOG_MARK" "[ 2.0] fine"
	}
END
