# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Streaming: how old the newest checkpoint is (RPO) while fio writes at a given rate, what the writer loses by it, what
# a written byte costs on the network and at the receiver, the highest rate that is held, and a cutover. Source, agent,
# receiver and target share the machine's cores; the journal and the history lie in memory, too.
#
# The bytes do not compress, and are written at random places of a quarter of the disk with O_DIRECT, eight at a time.
# MB are 1000000 bytes.

STREAM_LOADS="10mb_s 50mb_s 100mb_s 200mb_s 10000iops"
STREAM_SECONDS=4
STREAM_RUNS_MAX=3
HELD_SECONDS=5
# The oldest checkpoints are dropped beyond this: they lie in memory.
STREAM_JOURNAL_SIZE=3GiB

# run_load LOAD SECONDS: FIO_IOPS, FIO_P99_NS, FIO_BYTES_S
run_load()
{
	local options
	case $1 in
	*mb_s) options="--bs=64k --rate=${1%mb_s}000000" ;;
	# New bytes in each, or a batch would hold the same block again and again.
	*iops) options="--bs=4k --rate_iops=${1%iops} --refill_buffers" ;;
	esac
	# shellcheck disable=SC2086  # a list of words on purpose
	fio --name=bench --filename="$T/live/file" --size="$((SIZE_MIB / 4))m" $options --rw=randwrite --direct=1 \
		--ioengine=libaio --iodepth=8 --time_based --runtime="$2" --randrepeat=0 --output-format=json \
		--output="$T/fio.json" >>"$T/fio.log" 2>&1
	read -r FIO_IOPS FIO_P99_NS FIO_BYTES_S < <(jq -r \
		'.jobs[0].write | "\(.iops) \(.clat_ns.percentile["99.000000"]) \(.bw_bytes)"' "$T/fio.json")
}

# sampled_load LOAD: the same, with RPO_P50, RPO_P99 and RPO_MAX. Also without an agent: looking costs CPU time.
sampled_load()
{
	rm -f "$T/rpo"
	start_process "$T/rpo" rpo.py "$T/control.sock" live
	run_load "$1" "$STREAM_SECONDS"
	end_process "$STARTED_PID"
	read -r RPO_P50 RPO_P99 RPO_MAX <"$T/rpo" || true
}

# Written to the disk since it was attached, by the kernel's count
disk_written()
{
	awk '{ printf "%.0f", $7 * 512 }' "/sys/block/$(basename "$SOURCE")/stat"
}

# What the agent sent on its connections, by the kernel's count
wire_sent()
{
	ss -Htni "dport = :$RECEIVER_PORT" | grep -o 'bytes_sent:[0-9]*' | awk -F : '{ sum += $2 } END { printf "%.0f", sum }'
}

# What the receiver (journal, history) and its nbdkit (target) wrote to files. Sockets do not count: neither uses
# write() for them.
files_written()
{
	local pid
	for pid in "$RECEIVER_PID" $(leftover_pids); do
		case $(cat "/proc/$pid/comm" 2>/dev/null) in
		nbdkit | blkferry-receiv*) echo "$pid" ;;
		esac
	done | sort -u | sed 's|.*|/proc/&/io|' | xargs awk '/^wchar/ { sum += $2 } END { printf "%.0f", sum }'
}

# gap_count [REASON]: a hole that is read back counts as well; it costs checkpoints until that is done
gap_count()
{
	grep -c "gap in the stream: ${1:-}" "$T/agent-live.log" || true
}

# Streaming, and all that was written so far is on the target
wait_settled()
{
	wait_for_status live '.phase == "streaming" and .ready and .lag_bytes == 0' true
}

leg_alone()
{
	sampled_load "$1"
	record "fio_stream_iops_at_$1_alone" "$2" "$FIO_IOPS"
	record "fio_stream_p99_ns_at_$1_alone" "$2" "$FIO_P99_NS"
}

leg_streaming()
{
	local load=$1 round=$2 disk wire files gaps cpu start
	wait_settled
	disk=$(disk_written) wire=$(wire_sent) files=$(files_written) gaps=$(gap_count)
	cpu=$(cpu_ms "$AGENT_PID") start=$(now_ns)
	sampled_load "$load"
	record "stream_agent_cpu_percent_at_$load" "$round" \
		"$(calc "($(cpu_ms "$AGENT_PID") - $cpu) / (($(now_ns) - $start) / 1e6) * 100")"
	record "fio_stream_iops_at_${load}_streaming" "$round" "$FIO_IOPS"
	record "fio_stream_p99_ns_at_${load}_streaming" "$round" "$FIO_P99_NS"
	record "stream_rpo_p50_ms_at_$load" "$round" "$RPO_P50"
	record "stream_rpo_p99_ms_at_$load" "$round" "$RPO_P99"
	record "stream_rpo_max_ms_at_$load" "$round" "$RPO_MAX"
	sleep 1 # longer than a status is old
	wait_settled
	disk=$(($(disk_written) - disk))
	record "stream_wire_per_byte_at_$load" "$round" "$(calc "($(wire_sent) - $wire) / $disk")"
	record "stream_write_amplification_at_$load" "$round" "$(calc "($(files_written) - $files) / $disk")"
	record "stream_gaps_at_$load" "$round" "$(($(gap_count) - gaps))"
	record "stream_agent_rss_mib_at_$load" "$round" \
		"$(calc "$(awk '/^VmHWM/ { print $2 }' "/proc/$AGENT_PID/status") / 1024")"
	record "stream_agent_memory_mib_at_$load" "$round" "$(calc "$(status live .agent.memory_bytes) / 1048576")"
}

# agent_is alone|streaming: starts or ends the agent, if it must
agent_is()
{
	[ "$1" != "$STREAM_NOW" ] || return 0
	case $1 in
	alone) end_agent live ;;
	streaming) start_agent live "$SOURCE" ;;
	esac
	STREAM_NOW=$1
}

# leg alone|streaming LOAD ROUND
leg()
{
	agent_is "$1"
	"leg_$1" "$2" "$3"
}

# Each load alone and streaming, one after the other, and the next one the other way round: who goes first has an
# advantage or a drawback. The loads are five, so that the next round begins the other way round as well.
measure_loads()
{
	local round=$1 load turn turns
	for load in $STREAM_LOADS; do
		case $STREAM_NOW in
		alone) turns="alone streaming" ;;
		streaming) turns="streaming alone" ;;
		esac
		for turn in $turns; do
			leg "$turn" "$load" "$round"
		done
	done
}

# The highest rate, in steps of 50 MB/s, at which the writer gets what it wants and the ring never is full
measure_held()
{
	local rate gaps held=0
	agent_is streaming
	for ((rate = 50; rate <= 300; rate += 50)); do
		wait_settled
		gaps=$(gap_count "ring full")
		run_load "${rate}mb_s" "$HELD_SECONDS"
		sleep 1
		if [ "$(gap_count "ring full")" != "$gaps" ]; then
			say "  the ring was full at $rate MB/s"
			break
		fi
		if [ "$(calc "($FIO_BYTES_S >= $rate * 970000)")" = 0 ]; then
			say "  fio wrote only $FIO_BYTES_S bytes/s of $rate MB/s"
			break
		fi
		held=$rate
	done
	record stream_held_mb_s 1 "$held"
}

bench_stream()
{
	local round rounds=$RUNS
	[ "$rounds" -le "$STREAM_RUNS_MAX" ] || rounds=$STREAM_RUNS_MAX
	say "streaming: loads with it and without"
	STREAM_NOW=alone
	unset RECEIVER_PORT
	start_receiver "journal-size = $STREAM_JOURNAL_SIZE"
	make_live_source
	for ((round = 1; round <= rounds; round++)); do
		measure_loads "$round"
	done
	say "streaming: the rate that is held"
	measure_held
	agent_is alone
	say "streaming: cutover under writes"
	for ((round = 1; round <= rounds; round++)); do
		cut_over streaming 50 "$round"
	done
	stop_receiver
	unmount_folder "$T/live"
	detach_loop "$SOURCE"
	rm -f "$LOOP_FILE"
}
