# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the tracker costs who writes: fio on an ext4 of a loop disk, alone, with the tracker attached (bits only, as
# with capture = off), and with capture on and a reader who throws the records away, in turns. The disk is memory, so
# the tracker's share is as large as it can get.

FIO_SECONDS=4

tracker_on()
{
	tracker_ctl -p "$TRACKER_PINS" "$SOURCE" -- state >>"$T/tracker.log" 2>&1
}

tracker_off()
{
	tracker_ctl -p "$TRACKER_PINS" "$SOURCE" -- remove >>"$T/tracker.log" 2>&1
}

# The agent's ring, and a reader as fast as there can be: with no agent and no receiver, the cost of capture itself.
capture_on()
{
	: >"$T/capture.log"
	start_process "$T/capture.log" capture_ctl -p "$TRACKER_PINS" "$SOURCE" -- start log /dev/null status
	CAPTURE_PID=$STARTED_PID
	wait_for 60 "grep -q following '$T/capture.log'" "capture"
}

# False when the ring had no room at some moment: from then on bits were set, and nothing captured.
capture_off()
{
	local is_captured=0
	end_process "$CAPTURE_PID" || fail "capture: $(tail -n 3 "$T/capture.log")"
	grep -q 'mode=on ' "$T/capture.log" || is_captured=1
	capture_ctl -p "$TRACKER_PINS" "$SOURCE" -- remove >>"$T/tracker.log" 2>&1
	return $is_captured
}

# run_fio KIND: FIO_IOPS, FIO_P99_NS, FIO_WRITES
run_fio()
{
	local options
	case $1 in
	direct) options="--bs=4k --rw=randwrite --direct=1 --ioengine=libaio --iodepth=8" ;;
	# A sync every 16 writes, or it would be the page cache that is measured.
	buffered) options="--bs=64k --rw=randwrite --ioengine=psync --fsync=16" ;;
	esac
	# shellcheck disable=SC2086  # a list of words on purpose
	fio --name=bench --filename="$T/tracked/file" --size="$((SIZE_MIB / 2))m" $options --time_based \
		--runtime="$FIO_SECONDS" --randrepeat=0 --output-format=json --output="$T/fio.json" >>"$T/fio.log" 2>&1
	read -r FIO_IOPS FIO_P99_NS FIO_WRITES < <(jq -r \
		'.jobs[0].write | "\(.iops) \(.clat_ns.percentile["99.000000"]) \(.total_ios)"' "$T/fio.json")
}

# fio_alone, fio_tracked and fio_captured KIND ROUND
fio_alone()
{
	run_fio "$1"
	record "fio_$1_iops_alone" "$2" "$FIO_IOPS"
	record "fio_$1_p99_ns_alone" "$2" "$FIO_P99_NS"
}

fio_tracked()
{
	tracker_on
	run_fio "$1"
	tracker_off
	record "fio_$1_iops_tracked" "$2" "$FIO_IOPS"
	record "fio_$1_p99_ns_tracked" "$2" "$FIO_P99_NS"
}

fio_captured()
{
	capture_on
	run_fio "$1"
	if capture_off; then
		record "fio_$1_iops_captured" "$2" "$FIO_IOPS"
		record "fio_$1_p99_ns_captured" "$2" "$FIO_P99_NS"
	else
		say "  the reader of the ring was too slow at $FIO_IOPS writes/s: no value of this round"
	fi
}

last_program_id()
{
	bpftool prog show --json | jq 'map(.id) | max // 0'
}

# Of the tracker's programs so far: those that came after TRACKER_SINCE
tracker_run_ns()
{
	bpftool prog show --json | jq --argjson since "$TRACKER_SINCE" \
		'map(select(.id > $since and .type == "tracing") | .run_time_ns // 0) | add // 0'
}

# The time of all programs, at issue and completion, for one 4 KiB write
measure_bpf_ns()
{
	local round=$1 before
	TRACKER_SINCE=$(last_program_id)
	tracker_on
	before=$(tracker_run_ns)
	run_fio direct
	record bpf_ns_per_write "$round" "$(calc "($(tracker_run_ns) - $before) / $FIO_WRITES")"
	tracker_off
}

# The same with capture: 4 KiB are copied into the ring.
measure_capture_ns()
{
	local round=$1 before ns
	TRACKER_SINCE=$(last_program_id)
	capture_on
	before=$(tracker_run_ns)
	run_fio direct
	ns=$(calc "($(tracker_run_ns) - $before) / $FIO_WRITES")
	if capture_off; then
		record bpf_capture_ns_per_write "$round" "$ns"
	else
		say "  the reader of the ring was too slow: no value of this round"
	fi
}

bench_tracker()
{
	local round kind turn turns
	TRACKER_PINS=/sys/fs/bpf/$(basename "$T")-tracker
	cleanup_fn remove_pins "$TRACKER_PINS"
	make_disk "${SIZE_MIB}M"
	SOURCE=$LOOP
	make_filesystem ext4 "$SOURCE" "$T/tracked" -E lazy_itable_init=0,lazy_journal_init=0
	say "tracker: fio with and without it"
	run_fio direct # lays the file out
	for ((round = 1; round <= RUNS; round++)); do
		for kind in direct buffered; do
			# Who goes first has an advantage or a drawback: in turns.
			case $((round % 3)) in
			1) turns="alone tracked captured" ;;
			2) turns="tracked captured alone" ;;
			0) turns="captured alone tracked" ;;
			esac
			for turn in $turns; do
				"fio_$turn" "$kind" "$round"
			done
		done
	done
	say "tracker: time in BPF"
	cleanup_fn sysctl -q kernel.bpf_stats_enabled="$(sysctl -n kernel.bpf_stats_enabled)"
	sysctl -q kernel.bpf_stats_enabled=1
	for ((round = 1; round <= RUNS; round++)); do
		measure_bpf_ns "$round"
		measure_capture_ns "$round"
	done
	sysctl -q kernel.bpf_stats_enabled=0
	unmount_folder "$T/tracked"
	detach_loop "$SOURCE"
	rm -f "$LOOP_FILE"
}
