# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the tests of nested completions share, on top of functions.sh: a disk whose completions come by an interrupt to
# the processor that asked, and a program there in whose handling of completions they fall.

# shellcheck source=tests/functions.sh
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
requires ROOT LOOP BPF fio taskset bpftool jq

[ "$(nproc)" -ge 2 ] || skip "needs two processors"
PINS=/sys/fs/bpf/$(basename "$T")
cleanup_fn remove_pins "$PINS"

# make_nested_disk SIZE: sets DISK and DISK_FILE
make_nested_disk()
{
	make_disk "$1"
	# shellcheck disable=SC2034  # for the caller
	DISK=$LOOP DISK_FILE=$LOOP_FILE
	echo 2 >"/sys/block/${DISK#/dev/}/queue/rq_affinity"
}

# missed: how many runs of the completion programs the kernel has skipped
missed()
{
	local program total=0
	for program in "$PINS"/live/program_complete_*; do
		total=$((total + $(bpftool --json prog show pinned "$program" | jq '.recursion_misses // 0')))
	done
	echo "$total"
}

# nest_completions MISSES DEADLINE_S FIO_OPTION...: writes to DISK beside a program whose completions they interrupt, until
# so many runs were skipped, or time is up. Sets MISSED.
nest_completions()
{
	local misses=$1 deadline_s=$2 nester writer
	shift 2
	make_disk 16M
	start_process "$T/nester.log" taskset -c 0 tracker_nester "$LOOP"
	nester=$STARTED_PID
	wait_for 10 "grep -q failing '$T/nester.log' || ! process_lives $nester" "the nester"
	process_lives "$nester" || skip "cannot nest completions here: $(tail -n 1 "$T/nester.log")"
	start_process "$T/fio.log" fio --name=writes --filename="$DISK" --cpus_allowed=0 --rw=randwrite --bs=4k \
		--direct=1 --ioengine=io_uring --iodepth=32 --time_based --runtime=600 "$@"
	writer=$STARTED_PID
	wait_until "$deadline_s" "[ \$(missed) -ge $misses ]" ||
		say "only $(missed) runs were skipped in $deadline_s s"
	process_lives "$writer" || fail "fio ended"
	end_process "$writer" || true
	end_process "$nester" || true
	# shellcheck disable=SC2034  # for the caller
	MISSED=$(missed)
}

# expect_nesting: at the end: was anything tested?
expect_nesting()
{
	[ "$MISSED" != 0 ] || skip "no completion interrupted another one: nothing was tested"
}
