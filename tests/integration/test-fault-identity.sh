#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Who may replicate where: tokens and certificates that are wrong, used, expired, revoked, or somebody else's.
# Each is refused with a sentence that says why, and what they were meant to reach stays as it is.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq faketime

make_source 64M 4M
start_receiver "certificate-days = 1"
port=$RECEIVER_PORT

enroll()
{
	blkferry-agent enroll "127.0.0.1:$port" "$1" --state "$T/$2"
}
new_token()
{
	ferry token "$@" | grep -o 'bf1-[A-Za-z0-9_-]*'
}

say "tokens: mutilated, of another receiver, expired, used"
token=$(new_token web1)
expect_exit 1 "this is no enrolment token" enroll secret none
expect_exit 1 "cut short: it has 80 of 84 characters" enroll "${token%????}" none
blkferry-receiver init --state "$T/receiver2" >/dev/null
RECEIVER1_PID=$RECEIVER_PID
sed -e "s|receiver\$|receiver2|; s|storage\$|storage2|; s|control\.sock\$|control2.sock|" \
	-e "s|^listen.*|listen = 127.0.0.1:$(RECEIVER_PORT='' && free_port)|" "$T/receiver.ini" >"$T/receiver2.ini"
port2=$(sed -n 's/^listen = .*://p' "$T/receiver2.ini")
start_process "$T/receiver2.log" blkferry-receiver run --config "$T/receiver2.ini"
wait_for 30 "blkferry --socket '$T/control2.sock' status" "the second receiver"
foreign=$(blkferry --socket "$T/control2.sock" token web1 | grep -o 'bf1-[A-Za-z0-9_-]*')
expect_exit 1 "not the receiver that made this token: its CA is another" enroll "$foreign" none
expect_exit 1 "expired on" enroll "$(new_token web1 --expires 1ms)" none
enroll "$token" agent-web1 >/dev/null
expect_exit 1 "was used" enroll "$token" none
[ ! -e "$T/none/machine.pem" ] || fail "a refused enrolment left a certificate"
expect_exit 1 "this machine is enrolled already" enroll "$(new_token web1)" agent-web1

say "a receiver with another CA"
start_agent web1 "$SOURCE" "pass-interval = 100ms"
wait_ready web1
stop_agent
sed "s|^receiver = .*|receiver = 127.0.0.1:$port2|" "$T/agent-web1.ini" >"$T/wrong-ca.ini"
start_process "$T/wrong-ca.log" blkferry-agent run --config "$T/wrong-ca.ini"
wait_message "$T/wrong-ca.log" "signed by another CA than the one this machine enrolled with"
end_process "$STARTED_PID"
[ "$(blkferry --socket "$T/control2.sock" status --json | jq length)" = 0 ] ||
	fail "the second receiver made a machine for a foreign certificate"

say "an expired certificate"
start_writer
stop_receiver
# The library and not the program, which would stand between us and the receiver's pid.
faketime_library=$(dpkg -L libfaketime | grep 'libfaketimeMT.so.1$')
start_process "$T/future.log" env LD_PRELOAD="$faketime_library" FAKETIME=+2d FAKETIME_DONT_FAKE_MONOTONIC=1 \
	blkferry-receiver run --config "$T/receiver.ini"
future=$STARTED_PID
wait_for 30 "ferry status" "the receiver two days from now"
mark_log "$T/agent-web1.log"
start_agent web1 "$SOURCE" "pass-interval = 100ms"
wait_message "$T/future.log" "the certificate of machine web1 expired on"
wait_message "$T/agent-web1.log" "this machine's certificate expired on"
wait_message "$T/agent-web1.log" "enroll again with a new token"
stop_agent
end_process "$future"
start_receiver "certificate-days = 1"
RECEIVER1_PID=$RECEIVER_PID
start_agent web1 "$SOURCE" "pass-interval = 100ms"
wait_ready web1

say "a second agent with the same certificate"
cp -a "$T/agent-web1" "$T/agent-twin"
mark_log "$T/receiver.log"
first=$AGENT_PID
start_agent twin "$SOURCE" "pass-interval = 100ms"
wait_message "$T/agent-twin.log" "another agent with the certificate of web1 is connected, from host"
wait_message "$T/receiver.log" "another agent with the certificate of web1 is connected"
process_lives "$first" || fail "the first agent ended"
[ "$(status web1 .connected)" = true ] || fail "the first agent lost its connection to the second"
end_process "$first" KILL || true
wait_message "$T/agent-twin.log" "connected to the receiver"
become_identical web1

say "a machine's certificate opens that machine's replica and nothing else"
stop_agent
before=$(sha256sum <"$T/storage/web1-disk0.raw")
make_disk 16M
head -c 16M /dev/urandom >"$LOOP_FILE"
start_agent web2 "$LOOP"
wait_ready web2
compare "$LOOP" "$T/storage/web2-disk0.raw" >/dev/null || fail "web2's replica differs"
[ "$before" = "$(sha256sum <"$T/storage/web1-disk0.raw")" ] || fail "web2 changed web1's replica"
mark_log "$T/agent-web1.log"

say "a certificate that a newer one replaced"
enroll "$(new_token web1)" agent-newer >/dev/null
start_agent web1 "$SOURCE"
wait_message "$T/agent-web1.log" "web1 was enrolled again since: this certificate is not accepted any more"
stop_agent
[ "$before" = "$(sha256sum <"$T/storage/web1-disk0.raw")" ] || fail "a revoked certificate changed the replica"
start_agent newer "$SOURCE" "pass-interval = 100ms"
become_identical web1

say "a machine that was removed"
ferry remove web1 --yes >/dev/null
wait_for 30 "! process_lives $AGENT_PID" "the removed machine's agent to end"
end_process "$AGENT_PID" || fail "its exit status is $?"
grep -qF "this machine was removed at the receiver: ending" "$T/agent-newer.log" || fail "it did not say why"
[ ! -d "$AGENT_PINS" ] || [ -z "$(ls "$AGENT_PINS")" ] || fail "it still tracks"
expect_exit 4 "there is no machine 'web1'" ferry status web1
mark_log "$T/agent-newer.log"
start_agent newer "$SOURCE"
wait_message "$T/agent-newer.log" "web1 is not known here (any more): enroll it with a token"
stop_agent
process_lives "$RECEIVER1_PID" || fail "the receiver ended"
