#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What comes in on the receiver's port and is no agent, or an agent that breaks the rules: each is told why and
# cut off, while the receiver goes on serving a good one, whose replica stays its own.
#
#   writer -> agent web1 ══TLS══▶ receiver ◀── plain TCP, garbage, half handshakes, TLS without a
#                                              certificate, badpeer (bad frames under a good certificate)

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq openssl

make_source 64M 4M
start_receiver
start_writer
start_agent web1 "$SOURCE" "pass-interval = 100ms"
wait_ready web1
receiver=$RECEIVER_PID
agent=$AGENT_PID

# Nothing that a stranger does may cost web1 its session.
still_serves()
{
	process_lives "$receiver" || fail "the receiver ended ($1)"
	process_lives "$agent" || fail "the agent ended ($1)"
	[ "$(status web1 .ready)" = true ] || fail "web1 is not ready any more ($1)"
	[ "$(grep -c 'connected to the receiver' "$T/agent-web1.log")" = 1 ] || fail "web1 had to reconnect ($1)"
}

say "plain TCP"
mark_log "$T/receiver.log"
exec {tcp}<>"/dev/tcp/127.0.0.1/$RECEIVER_PORT"
printf 'GET / HTTP/1.0\r\n\r\n' >&"$tcp"
wait_message "$T/receiver.log" "the peer does not speak TLS: is it a blkferry-agent?"
exec {tcp}>&-
mark_log "$T/receiver.log"
exec {tcp}<>"/dev/tcp/127.0.0.1/$RECEIVER_PORT"
(head -c 100000 /dev/urandom >&"$tcp") 2>"$T/garbage.err" || true
exec {tcp}>&-
wait_message "$T/receiver.log" "warning: 127.0.0.1:"
still_serves "plain TCP"

say "TLS, but no agent"
tls()
{
	timeout 20 openssl s_client -connect "127.0.0.1:$RECEIVER_PORT" -CAfile "$T/receiver/ca.pem" "$@" \
		</dev/null 2>&1 || true
}
# The verdict is read until the receiver closes: no early end of input.
(wait_until 20 false | timeout 20 openssl s_client -quiet -connect "127.0.0.1:$RECEIVER_PORT" -alpn blkferry/1 \
	-CAfile "$T/receiver/ca.pem" >"$T/verdict" 2>"$T/verdict.err") &
verdict=$!
wait_for 20 "grep -aqF 'this machine showed no certificate: enroll it first' '$T/verdict'" "the verdict on no certificate"
kill "$verdict" 2>/dev/null || true
wait_message "$T/receiver.log" "the peer showed no certificate: it has to enroll first"
tls -alpn http/1.1 >/dev/null
wait_message "$T/receiver.log" "the peer speaks TLS, but not blkferry's protocol: is it a blkferry-agent"
tls -tls1_2 >/dev/null
wait_message "$T/receiver.log" "the peer does not speak TLS 1.3: is it a blkferry-agent?"
still_serves "TLS without a certificate"

say "300 handshakes that are begun and held open"
held=()
for ((i = 0; i < 300; i++)); do
	exec {tcp}<>"/dev/tcp/127.0.0.1/$RECEIVER_PORT"
	printf '\x16\x03\x01\x02\x00\x01' >&"$tcp"
	held+=("$tcp")
done
enroll_agent bad1
still_serves "half handshakes"
stop_agent KILL
start_agent web1 "$SOURCE" "pass-interval = 100ms"
agent=$AGENT_PID
: >"$T/agent-web1.log"
wait_message "$T/agent-web1.log" "connected to the receiver"
wait_ready web1
for tcp in "${held[@]}"; do
	exec {tcp}>&-
done

say "bad hellos under the certificate of web1, whose agent is connected"
bad()
{
	local name=$1 what=$2 text=$3 expected=${4:-0}
	mark_log "$T/receiver.log"
	expect_exit "$expected" "$text" badpeer "$RECEIVER_PORT" "$T/agent-$name" "$what"
	[ "$expected" != 0 ] || wait_message "$T/receiver.log" "$text"
	still_serves "$what"
}
bad web1 garbage "bad magic"
bad web1 magic "the peer does not speak the blkferry protocol (bad magic)"
bad web1 huge "a DATA frame of 4294967295 bytes;"
bad web1 huge-hello "the peer sent a HELLO frame of 169 bytes; 168 to 168 are allowed"
bad web1 reserved "the peer sent a frame of unknown type 999: is it of another version?"
bad web1 truncated "" 3
wait_message "$T/receiver.log" "the connection to the agent was cut"
bad web1 ping-first "the peer did not say hello"
bad web1 version "the agent speaks versions 42 to 42 of the protocol, this receiver version 1: upgrade the older one"
bad web1 role "in HELLO"
bad web1 no-disks "disk"
bad web1 many-disks "disk"
bad web1 disk-order "the agent spoke out of turn"
bad web1 disk-size "a disk beyond the limits"
bad web1 stranger "there is no such session any more"
bad web1 data-outside "another agent with the certificate of web1 is connected" 1
bad web1 silence "the agent does not answer: the link is dead or stalled"

say "bad frames in an open session of another machine"
for what in control-garbage:"bad magic" control-type:"makes no sense here" seal:"nobody asked for" \
	fenced:"was not committed" data-outside:"data past the end" data-wraps:"beyond the limits" \
	data-disk:"was not announced" data-checksum:"wrong checksum" data-codec:"unknown codec" \
	data-short:"does not fit its contents" extents:"counts beyond the limits" barrier:"go backwards" \
	digests-outside:"digests past the end" digests-block:"block size that is not allowed"; do
	bad bad1 "${what%%:*}" "${what#*:}"
done
cmp -n 1048576 "$T/storage/bad1-disk0.raw" /dev/zero || fail "a bad frame was written to the target"
[ "$(status bad1 .phase)" = disconnected ] || fail "bad1 is $(status bad1 .phase)"
become_identical web1
