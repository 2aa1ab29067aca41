#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs tests one after another and sums them up. A test passes with exit 0, is skipped with exit 77
# (its last line says why) and fails with anything else; its output is shown when it fails.
#
# Usage: tests/run.sh KIND TEST...     KEEP=1 keeps the logs of tests that passed
set -u

kind=$1
shift
build=${BUILD:-build}
logs=$build/test-logs/$kind
mkdir -p "$logs"
passed=0 failed=0 skipped=0
: >"$logs/skips"
for test in "$@"; do
	name=$(basename "$test" .sh)
	log=$logs/$name.log
	start=$(date +%s)
	timeout -k 20 "${TEST_TIMEOUT:-600}" "$test" >"$log" 2>&1
	status=$?
	took=$(($(date +%s) - start))
	case $status in
	0)
		passed=$((passed + 1))
		printf '  %-7s %-40s %4d s\n' ok "$name" "$took"
		;;
	77)
		skipped=$((skipped + 1))
		printf '  %-7s %-40s %s\n' SKIP "$name" "$(tail -n 1 "$log")"
		printf '%s: %s\n' "$name" "$(tail -n 1 "$log")" >>"$logs/skips"
		;;
	*)
		failed=$((failed + 1))
		printf '  %-7s %-40s %4d s, exit status %d; %s:\n' FAILED "$name" "$took" "$status" "$log"
		tail -n 60 "$log" | sed 's/^/    | /'
		;;
	esac
done
echo "$kind: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
