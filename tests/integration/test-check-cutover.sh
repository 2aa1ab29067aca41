#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What `blkferry-agent check` found reaches the receiver while the agent runs, is shown in status, and a cutover is
# refused as long as there are errors, unless it is told to ignore them.

. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP mkfs.ext4 jq

# verdict ERRORS: as if `check` had been run on this machine, whose own state is not this test's matter.
verdict()
{
	local text=""
	[ "$1" = 0 ] || text='error initramfs-driver (6.1.0): xen-blkfront is not in it\nwarning x (y): z\n'
	printf '{"target": "xen", "errors": %d, "warnings": 1, "checked": %d, "text": "%s"}\n' "$1" "$(date +%s)" \
		"$text" >"$T/verdict.new"
	mv "$T/verdict.new" "$T/agent-web1/check.json"
}

make_disk 64M
make_filesystem ext4 "$LOOP" "$T/mnt"
start_receiver
start_agent web1 "$LOOP" "tracker = scan"
wait_for 60 '[ "$(status web1 .ready)" = true ]' "ready"

say "never checked: nothing is shown, and nothing refused"
[ "$(status web1 .readiness)" = null ] || fail "readiness: $(status web1 .readiness)"
ferry cutover web1 --dry-run >"$T/out" 2>&1 || fail "refused: $(cat "$T/out")"

say "errors: shown while the agent runs, and the cutover is refused with the first of them"
verdict 2
wait_for 30 '[ "$(status web1 .readiness.errors)" = 2 ]' "the errors in status"
[ "$(status web1 '.readiness.findings[0]')" = "error initramfs-driver (6.1.0): xen-blkfront is not in it" ] ||
	fail "$(status web1 .readiness)"
ferry status web1 >"$T/out"
grep -q "NOT READY  would not start on xen.*2 errors" "$T/out" || fail "status: $(cat "$T/out")"
grep -q "xen-blkfront is not in it" "$T/out" || fail "status: $(cat "$T/out")"
for option in "" --dry-run; do
	exit_status=0
	# shellcheck disable=SC2086  # no word when it is empty
	ferry cutover web1 --fence hold $option >"$T/out" 2>&1 || exit_status=$?
	[ "$exit_status" != 0 ] || fail "not refused: $(cat "$T/out")"
	grep -q "xen-blkfront is not in it.*--ignore-checks" "$T/out" || fail "$(cat "$T/out")"
done
[ "$(status web1 .phase)" = delta ] || fail "the refused cutover left the phase $(status web1 .phase)"

say "told to ignore them, it goes on"
ferry cutover web1 --dry-run --ignore-checks >"$T/out" 2>&1 || fail "refused: $(cat "$T/out")"

say "known again after the receiver was started again"
stop_receiver
start_receiver
wait_for 60 '[ "$(status web1 .readiness.errors)" = 2 ] && [ "$(status web1 .ready)" = true ]' "the errors"

say "no errors any more: no refusal"
verdict 0
wait_for 30 '[ "$(status web1 .readiness.errors)" = 0 ]' "the new verdict"
ferry cutover web1 --dry-run >"$T/out" 2>&1 || fail "refused: $(cat "$T/out")"

say "a file that makes no sense is not told, and ends nothing"
echo '{' >"$T/agent-web1/check.json"
wait_for 30 '[ "$(status web1 .ready)" = true ]' "ready"
[ "$(status web1 .readiness.errors)" = 0 ] || fail "$(status web1 .readiness)"

say "check itself writes such a file"
exit_status=0
blkferry-agent check --config "$T/agent-web1.ini" --json >"$T/report.json" 2>"$T/check.log" || exit_status=$?
[ "$exit_status" = 0 ] || [ "$exit_status" = 3 ] || fail "exit status $exit_status: $(cat "$T/check.log")"
# shellcheck disable=SC2034  # wait_for reads it
errors=$(jq .counts.error "$T/report.json")
wait_for 30 '[ "$(status web1 .readiness.errors)" = "$errors" ]' "what check found on this machine"
