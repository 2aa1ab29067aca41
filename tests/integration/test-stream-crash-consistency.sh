#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every checkpoint is a state that a power cut could have left (I4, I5). Beside fio a program fsyncs record N to a
# log on one disk, then to a log on another; each of many checkpoints, opened as a view, must mount (its journal is
# replayed), pass the file system's check, and hold as many records in the first log as in the second or one
# more, all whole, and all those that were said before the checkpoint's time. Agent and receiver are killed in between.
#
# CHECKPOINTS=4       how many are looked at, a kill after each second
# FILE_SYSTEMS="ext4 xfs"   of the first disk and of the second
#
#   counters, fio --> 2 file systems on 2 loop disks --> agent ==TLS==> receiver --> view --> mount, check
. "$(dirname "$0")/../consistency-functions.sh"
requires ROOT LOOP BPF nbdkit nbdfuse fusermount3 fio jq

CHECKPOINTS=${CHECKPOINTS:-4}
read -r FIRST_FS SECOND_FS <<<"${FILE_SYSTEMS:-ext4 xfs}"

say "two disks ($FIRST_FS, $SECOND_FS), a program that relies on its order, and fio"
make_two_sources "$FIRST_FS" "$SECOND_FS"
start_fio
start_counters

start_receiver "retention = 10m:100ms"
start_agent web1 "${SOURCES[0]},${SOURCES[1]}"
wait_phase web1 streaming 120

OLD=()
for ((i = 1; i <= CHECKPOINTS; i++)); do
	next_point
	look_at "$NUMBER" "$AT_LEAST"
	OLD+=("$NUMBER $AT_LEAST")
	[ $((i % 2)) = 0 ] || continue
	if [ $((i % 4)) = 0 ]; then
		say "the receiver is killed"
		stop_receiver KILL
		start_receiver "retention = 10m:100ms"
	else
		say "the agent is killed"
		stop_agent KILL
		start_agent web1 "${SOURCES[0]},${SOURCES[1]}"
	fi
	wait_phase web1 streaming 120
done

say "the first ones again: nothing that came later has changed them"
for point in "${OLD[0]}" "${OLD[CHECKPOINTS / 2]}"; do
	look_at "${point% *}" "${point#* }"
done
say "gaps: $(status web1 '.gaps | "\(.count), the last: \(.reason)"')"
