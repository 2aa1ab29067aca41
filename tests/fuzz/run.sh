#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs each fuzzer over its corpus and then for FUZZ_SECONDS on inputs of its own. What it finds on the way
# is kept in the build folder and tried again next time; an input that breaks something is shown.
#
# Usage: FUZZ_SECONDS=5 tests/fuzz/run.sh FUZZER...
set -u

build=${BUILD:-build-fuzz}
seconds=${FUZZ_SECONDS:-5}
logs=$build/test-logs/fuzz
mkdir -p "$logs"
passed=0 failed=0
for fuzzer in "$@"; do
	name=$(basename "$fuzzer")
	corpus=tests/fuzz/corpus/${name#fuzz_}
	found=$build/corpus/${name#fuzz_}
	log=$logs/$name.log
	mkdir -p "$found"
	# shellcheck disable=SC2046  # no corpus, no argument
	if ASAN_OPTIONS=detect_leaks=1 "$fuzzer" -max_total_time="$seconds" -timeout=20 \
		-rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 -artifact_prefix="$logs/$name-" \
		"$found" $([ -d "$corpus" ] && echo "$corpus") >"$log" 2>&1; then
		passed=$((passed + 1))
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
		printf '  %-7s %-40s %s inputs\n' ok "$name" "${runs:-?}"
	else
		failed=$((failed + 1))
		printf '  %-7s %-40s %s:\n' FAILED "$name" "$log"
		grep -v '^#' "$log" | tail -n 40 | sed 's/^/    | /'
	fi
done
echo "fuzz: $passed passed, $failed failed"
[ "$failed" = 0 ]
