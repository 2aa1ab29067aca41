#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make bench: what blkferry does in numbers, beside its peers, in one run on one machine. Source and target
# lie in memory (loop disk and nbdkit over tmpfs), so that the disk under the machine does not decide. The
# tools take turns, round by round; a value is the median of its rounds, a ratio is taken within each
# round. Ends with a table, and the same as JSON in $(BUILD)/bench.json. See README.md in this folder.
#
#   BENCH_RUNS=5         rounds (of streaming at most three)
#   BENCH_SIZE_MIB=1024  size of the disk of random bytes, and about that of the one with /usr; the empty one
#                        is eight times as large
#   BENCH_DIR=FOLDER     where source and target lie (default: memory, when there is enough)
#   BENCH_ONLY="copy tracker cutover view stream"
TEST_DIR=${BENCH_DIR:-}
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/copy.sh"
. "$(dirname "$0")/tracker.sh"
. "$(dirname "$0")/cutover.sh"
. "$(dirname "$0")/view.sh"
. "$(dirname "$0")/stream.sh"

export PATH="$BUILD/tests/bench:$TOP/tests/bench:$PATH"
RUNS=${BENCH_RUNS:-5}
# shellcheck disable=SC2034  # the parts use it
SIZE_MIB=${BENCH_SIZE_MIB:-1024}
VALUES=$T/values # lines: NAME ROUND VALUE

requires ROOT LOOP BPF mkfs.ext4 jq nbdkit nbdcopy qemu-img certtool fio bpftool python3
# shellcheck disable=SC2034  # functions.sh has it: what the kernel says is for the tests to judge
KERNEL_LOG_MARK=

now_ns()
{
	echo "${EPOCHREALTIME/[.,]/}000"
}

# record NAME ROUND VALUE
record()
{
	printf '%s %s %s\n' "$1" "$2" "$3" >>"$VALUES"
	say "  $1 = $3"
}

# calc EXPRESSION: of floating-point numbers
calc()
{
	awk "BEGIN { printf \"%.6g\", $1 }"
}

# wait_for_status NAME FILTER VALUE: looks twice a second, as often as the agent tells; a look costs CPU time,
# which is what is measured
wait_for_status()
{
	local deadline=$((SECONDS + 600))
	until [ "$(status "$1" "$2" 2>/dev/null)" = "$3" ]; do
		[ "$SECONDS" -lt "$deadline" ] || fail "$2 of $1 is still not $3"
		sleep 0.5
	done
}

start_s=$SECONDS
: >"$VALUES"
say "load before it begins: $(cut -d ' ' -f 1-3 /proc/loadavg) on $(nproc) cores"
for part in ${BENCH_ONLY:-copy tracker cutover view stream}; do
	"bench_$part"
done
say "all took $((SECONDS - start_s)) s"
mkdir -p "$BUILD"
python3 "$TOP/tests/bench/report.py" "$VALUES" "$BUILD/bench.json"
