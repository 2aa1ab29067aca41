#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The network between agent and receiver cut without a word, and restored, in each phase; and slow.
#
#   this namespace: receiver, writer      vethA 10.x.y.1 ─── 10.x.y.2 vethB      namespace $NS: agent
#                                         (down = cut; tc = slow)

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq ip

make_network

cut_network()
{
	ip link set "$HERE" down
}
restore_network()
{
	ip link set "$HERE" up
}

make_source 128M 32M
start_network_receiver "[machine web1]" "start-command = echo started >>$T/started"
start_network_agent web1 "$SOURCE" "pass-interval = 100ms" \
	"pre-freeze-command = head -c 4M /dev/urandom >$T/source/heavy; touch $T/hooked"

say "full copy"
ferry limit web1 8MiB/s >/dev/null 
wait_for 60 "[ \"\$(status web1 '.phase == \"full\" and .pass_bytes > .todo_bytes + 8000000')\" = true ]" "a part of the copy"
cut_network
wait_message "$T/agent-web1.log" "trying again in"
wait_for 60 "[ \"\$(status web1 .connected)\" = false ]" "the receiver to notice the silence"
left=$(status web1 '.todo_bytes + .dirty_bytes')
mark_log "$T/agent-web1.log"
restore_network
wait_message "$T/agent-web1.log" "connected to the receiver"
ferry limit web1 none >/dev/null
wait_ready web1
sent=$(status web1 .sent_bytes)
say "cut with $left bytes left: $sent bytes sent since"
[ "$sent" -le $((left + 4194304)) ] || fail "what was acknowledged was sent again"

say "following a writer"
start_writer 2
cut_network
wait_message "$T/agent-web1.log" "nothing heard from the receiver for 10 s"
writer_moves || fail "the writer stands still while the network is cut"
mark_log "$T/agent-web1.log"
restore_network
wait_message "$T/agent-web1.log" "connected to the receiver"
wait_ready web1
ferry verify web1 >"$T/verify.out" || fail "verify: $(cat "$T/verify.out")"

say "cut while frozen"
rm -f "$T/hooked"
stop_writer
start_writer 0
ferry limit web1 2MiB/s >/dev/null
wait_ready web1
write_heavily "[ -e '$T/hooked' ]" >"$T/dd.out" 2>&1 &
heavy=$!
result=none
while IFS= read -r line; do
	case $line in
	*'"step":"freeze"'*) cut_network ;;
	"exit "*) result=${line#exit } ;;
	esac
done < <(
	status=0
	ferry cutover web1 --fence hold --timeout 3 --json 2>"$T/cutover.out" || status=$?
	echo "exit $status"
)
rm -f "$T/hooked"
say "exit status $result: $(tail -n 1 "$T/cutover.out")"
[ "$result" != 0 ] || fail "the cutover went through a cut network"
writer_moves 30 || fail "the source stays frozen"
wait "$heavy"
[ ! -e "$T/started" ] || fail "the target was started"
mark_log "$T/agent-web1.log"
restore_network
wait_message "$T/agent-web1.log" "connected to the receiver"
ferry limit web1 none >/dev/null
become_identical web1

if command -v tc >/dev/null && tc qdisc add dev "$HERE" root netem delay 40ms 2>"$T/tc.err"; then
	say "slow: 40 ms a round"
	start_writer 1
	become_identical web1
else
	say "no slow network: this kernel has no netem"
fi
say "cutover after all that"
start_writer 1
wait_ready web1
ferry cutover web1 --fence hold --timeout 30 >"$T/cutover.out" || fail "cutover: $(cat "$T/cutover.out")"
compare "$SOURCE" "$T/storage/web1-disk0.raw" || fail "source and target differ"
[ "$(wc -l <"$T/started")" = 1 ] || fail "the target was started $(wc -l <"$T/started") times"
