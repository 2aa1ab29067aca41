# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Cutovers while the source is written to, from delta passes (capture = off) or from streaming (called by stream.sh):
# data downtime, and before it what the agent takes of the machine.

CPU_SECONDS=4
CLOCK_TICKS=$(getconf CLK_TCK)

# start_writes MIB_PER_S: random 64 KiB O_DIRECT writes, so that they reach the disk as they are made
start_writes()
{
	WRITER_PID=
	[ "$1" -gt 0 ] || return 0
	start_process "$T/fio.log" fio --name=writes --filename="$T/live/file" --size="$((SIZE_MIB / 4))m" \
		--bs=64k --rw=randwrite --direct=1 --ioengine=psync --rate="$1m" --time_based --runtime=600 \
		--randrepeat=0
	WRITER_PID=$STARTED_PID
}

agent_ticks()
{
	awk '{ print $14 + $15 }' "/proc/$AGENT_PID/stat"
}

# measure_agent PREFIX RATE ROUND: percent of one core, and memory
measure_agent()
{
	local prefix=$1 rate=$2 round=$3 before start
	before=$(agent_ticks)
	start=$(now_ns)
	sleep "$CPU_SECONDS"
	record "${prefix}agent_cpu_percent_at_${rate}mib_s" "$round" \
		"$(calc "($(agent_ticks) - $before) / $CLOCK_TICKS / (($(now_ns) - $start) / 1e9) * 100")"
	record "${prefix}agent_rss_mib_at_${rate}mib_s" "$round" \
		"$(calc "$(awk '/^VmHWM/ { print $2 }' "/proc/$AGENT_PID/status") / 1024")"
	record "${prefix}agent_memory_mib_at_${rate}mib_s" "$round" "$(calc "$(status live .agent.memory_bytes) / 1048576")"
}

# cut_over delta|streaming RATE ROUND: from that phase. Names of values from streaming begin with stream_.
cut_over()
{
	local phase=$1 rate=$2 round=$3 prefix='' lines=()
	case $phase in
	delta) lines=("capture = off") ;;
	streaming) prefix=stream_ ;;
	esac
	start_writes "$rate"
	start_agent live "$SOURCE" "${lines[@]}"
	wait_for_status live '"\(.phase) \(.ready)"' "$phase true"
	measure_agent "$prefix" "$rate" "$round"
	wait_for_status live '"\(.phase) \(.ready)"' "$phase true"
	ferry cutover live --fence hold --json >"$T/cutover.json" 2>>"$T/cutover.log" ||
		fail "the cutover failed: $(tail -n 3 "$T/cutover.log" "$T/cutover.json")"
	record "${prefix}cutover_data_ms_at_${rate}mib_s" "$round" \
		"$(jq -r 'select(.data_downtime_ms) | .data_downtime_ms' "$T/cutover.json")"
	jq -r 'select(.event == "step") | "\(.step) \(.ms * 10 | floor / 10)"' "$T/cutover.json" |
		paste -sd ' ' | sed "s/^/            steps in ms: /"
	if [ "$round" = 1 ]; then
		compare --larger "$SOURCE" "$(status live '.disks[0].path')" >>"$T/cutover.log" ||
			fail "source and target differ after the cutover"
	fi
	fsfreeze -u "$T/live"
	[ -z "$WRITER_PID" ] || end_process "$WRITER_PID" || true # fio says 128 + signal
	end_agent live
}

# make_live_source: a disk with a file that fio can write to. Sets SOURCE
make_live_source()
{
	make_disk "${SIZE_MIB}M"
	SOURCE=$LOOP
	make_filesystem ext4 "$SOURCE" "$T/live" -E lazy_itable_init=0,lazy_journal_init=0
	dd if=/dev/urandom of="$T/live/file" bs=1M count=$((SIZE_MIB / 4)) status=none
	sync
}

bench_cutover()
{
	local round rate
	say "cutover under writes, from delta passes"
	unset RECEIVER_PORT
	start_receiver
	make_live_source
	for ((round = 1; round <= RUNS; round++)); do
		for rate in 0 10 50; do
			cut_over delta "$rate" "$round"
		done
	done
	stop_receiver
	unmount_folder "$T/live"
	detach_loop "$SOURCE"
	rm -f "$LOOP_FILE"
}
