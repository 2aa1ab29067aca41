#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# SIGKILL, again and again, of agent, receiver or the target's NBD server at a random moment of streaming; after each the
# machine streams again by itself, the newest checkpoint and one of before the kill are states that a power cut could
# have left, with all that was said before their time; every tenth round also byte for byte what the frozen source had.
#
# SOAK_ROUNDS=200   SEED=N for the same victims and moments again   FILE_SYSTEMS="ext4 xfs"
#
#   counters, fio --> 2 file systems on 2 loop disks --> agent ==TLS==> receiver --> nbdkit --> file
#                                                           |              |           |
#                                                           +---- one of them ends ----+

. "$(dirname "$0")/../consistency-functions.sh"
. "$(dirname "$0")/../fault-functions.sh"
requires ROOT LOOP BPF nbdkit nbdcopy nbdfuse fusermount3 fio jq

SOAK_ROUNDS=${SOAK_ROUNDS:-200}
FULL_COMPARISON_EVERY=10
RECORDS_MAX=20000 # then the logs, 4 KiB a record, begin anew: a fast machine fills a disk within ten rounds
read -r FIRST_FS SECOND_FS <<<"${FILE_SYSTEMS:-ext4 xfs}"

run_server()
{
	local disk
	rm -f "$T"/nbd?.sock
	SERVERS=()
	for disk in 0 1; do
		start_process "$T/nbdkit.log" nbdkit -f --unix "$T/nbd$disk.sock" file "$T/target$disk.img"
		SERVERS+=("$STARTED_PID")
		wait_for 20 "[ -S '$T/nbd$disk.sock' ]" "nbdkit's socket"
	done
}
run_receiver()
{
	start_receiver "retention = 10m:100ms, 1h:1s" "[machine web1]" \
		"disk0 = nbd+unix:///?socket=$T/nbd0.sock" "disk1 = nbd+unix:///?socket=$T/nbd1.sock"
}
run_agent()
{
	start_agent web1 "${SOURCES[0]},${SOURCES[1]}"
}

# kill_one VICTIM: with SIGKILL, and started again
kill_one()
{
	local pid
	case $1 in
	agent)
		stop_agent KILL
		run_agent
		;;
	receiver)
		stop_receiver KILL
		run_receiver
		;;
	server)
		for pid in "${SERVERS[@]}"; do
			end_process "$pid" KILL || true
		done
		run_server
		;;
	esac
}

seed_random
say "two disks ($FIRST_FS, $SECOND_FS), a program that relies on its order, and fio; $SOAK_ROUNDS rounds"
make_two_sources "$FIRST_FS" "$SECOND_FS"
for disk in 0 1; do
	truncate -s "$(blockdev --getsize64 "${SOURCES[disk]}")" "$T/target$disk.img"
done
start_fio
start_counters
run_server
run_receiver
run_agent
wait_streaming web1

VICTIMS=(agent receiver server)
for ((round = 1; round <= SOAK_ROUNDS; round++)); do
	# Each of the three comes as often, in an order that changes.
	[ $((round % 3)) != 1 ] || mapfile -t VICTIMS < <(printf '%s\n' "${VICTIMS[@]}" | shuf --random-source=<(yes "$SEED.$round"))
	victim=${VICTIMS[round % 3]}
	next_point
	before="$NUMBER $AT_LEAST"
	random_moment 2500
	say "round $round: the $victim is killed"
	kill_one "$victim"
	wait_streaming web1 "streaming again after the $victim was killed"
	next_point
	look_at "$NUMBER" "$AT_LEAST"
	look_at "${before% *}" "${before#* }"
	if [ $((round % FULL_COMPARISON_EVERY)) = 0 ] || [ "$round" = "$SOAK_ROUNDS" ]; then
		compare_frozen "round$round"
	fi
	[ "$(said_before "${EPOCHREALTIME/./}000")" -lt "$RECORDS_MAX" ] || {
		stop_counters
		start_counters
	}
done

say "the end: gaps $(status web1 '.gaps | "\(.count), the last: \(.reason)"')"
stop_writers
for folder in "${SOURCE_FOLDERS[@]}"; do
	sync -f "$folder"
done
wait_streaming web1
ferry verify web1
ferry cutover web1 --fence hold --timeout 60 >"$T/cutover.out" || fail "cutover: $(cat "$T/cutover.out")"
for disk in 0 1; do
	compare "${SOURCES[disk]}" "$T/target$disk.img" || fail "disk $disk: source and target differ"
done
