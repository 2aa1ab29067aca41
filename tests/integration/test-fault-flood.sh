#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Strangers who begin a thousand handshakes a second and never end one: agents enrol, connect and replicate
# meanwhile, and the log does not grow with the strangers.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

make_source 64M 8M
start_receiver
lines=$(wc -l <"$T/receiver.log")
began=$SECONDS
for address in 127.0.0.2 127.0.0.3; do
	start_process "$T/flood.log" flood "$address" "$RECEIVER_PORT" 400 2000
done
wait_message "$T/receiver.log" "dropped: too many connections that say nothing"
# Whoever is slow at the agent's own address has to go first as well.
held=()
for ((i = 0; i < 100; i++)); do
	exec {tcp}<>"/dev/tcp/127.0.0.1/$RECEIVER_PORT"
	printf '\x16\x03\x01\x02\x00\x01' >&"$tcp"
	held+=("$tcp")
done

say "an agent enrols, copies and follows"
start_agent web1 "$SOURCE" "pass-interval = 100ms"
start_writer
wait_ready web1
stop_agent KILL
start_agent web1 "$SOURCE" "pass-interval = 100ms"
become_identical web1
grep -q "trying again" "$T/agent-web1.log" && fail "the agent was kept out: $(grep "trying again" "$T/agent-web1.log")"

lines=$(($(wc -l <"$T/receiver.log") - lines))
say "$lines lines in the log of $((SECONDS - began)) s"
[ "$lines" -le $((SECONDS - began + 60)) ] || fail "$lines lines in the log of $((SECONDS - began)) s"
grep -q "more connections refused or dropped" "$T/receiver.log" || fail "what was not said is not counted"
for tcp in "${held[@]}"; do
	exec {tcp}>&-
done
stop_receiver # threads of strangers do not hold it up
