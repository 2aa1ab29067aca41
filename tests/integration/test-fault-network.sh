#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The network between agent and receiver cut without a word, and restored, in each phase; and slow.
#
#   this namespace: receiver, writer      vethA 10.x.y.1 ─── 10.x.y.2 vethB      namespace $NS: agent
#                                         (down = cut; tc = slow)

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq ip

NS=bf$$
NET=10.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1))
ip netns add "$NS" 2>/dev/null || skip "network namespaces cannot be made here"
cleanup_fn ip netns del "$NS"
ip link add "bfa$$" type veth peer name "bfb$$" 2>/dev/null || skip "this kernel has no veth"
cleanup_fn ip link del "bfa$$"
ip link set "bfb$$" netns "$NS"
ip address add "$NET.1/24" dev "bfa$$"
ip link set "bfa$$" up
ip -n "$NS" address add "$NET.2/24" dev "bfb$$"
ip -n "$NS" link set "bfb$$" up

cut_network()
{
	ip link set "bfa$$" down
}
restore_network()
{
	ip link set "bfa$$" up
}

make_source 128M 32M
start_receiver
stop_receiver
sed -i "s|^listen = 127.0.0.1|listen = $NET.1|" "$T/receiver.ini"
echo "start-command = echo started >>$T/started" | sed '1i [machine web1]' >>"$T/receiver.ini"
start_process "$T/receiver.log" blkferry-receiver run --config "$T/receiver.ini"
RECEIVER_PID=$STARTED_PID
wait_for 30 "ferry status" "the receiver"
ip netns exec "$NS" blkferry-agent enroll "$NET.1:$RECEIVER_PORT" "$(ferry token web1 | grep -o 'bf1-[A-Za-z0-9_-]*')" \
	--state "$T/agent-web1" >"$T/enroll.log" 2>&1
AGENT_PINS=/sys/fs/bpf/$(basename "$T")-web1
cleanup_fn remove_pins "$AGENT_PINS"
printf '%s\n' "[agent]" "disks = $SOURCE" "state-folder = $T/agent-web1" "pin-folder = $AGENT_PINS" \
	"pass-interval = 100ms" "pre-freeze-command = head -c 4M /dev/urandom >$T/source/heavy; touch $T/hooked" >"$T/agent-web1.ini"
# Only the network is another one: bpffs and the mounts are those of this test. (ip netns exec would hide bpffs.)
start_process "$T/agent-web1.log" nsenter --net="/run/netns/$NS" blkferry-agent run --config "$T/agent-web1.ini"
AGENT_PID=$STARTED_PID

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
# 2 MiB that are written again and again take a second to ship: the freeze lasts long enough to be hit.
write_heavily()
{
	wait_until 60 "[ -e '$T/hooked' ]" || return 1
	while [ -e "$T/hooked" ]; do
		dd if=/dev/urandom of="$T/source/heavy" bs=64k count=32 conv=notrunc
	done
}
rm -f "$T/hooked"
stop_writer
start_writer 0
ferry limit web1 2MiB/s >/dev/null
wait_ready web1
write_heavily >"$T/dd.out" 2>&1 &
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

if command -v tc >/dev/null && tc qdisc add dev "bfa$$" root netem delay 40ms 2>"$T/tc.err"; then
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
