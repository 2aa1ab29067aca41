#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Configuration and command lines that are wrong: the message names the file and the line, or the word, and what
# would be right; the exit status is the documented one; nothing is started or changed.

. "$(dirname "$0")/../fault-functions.sh"
requires jq

# bad_config PROGRAM LINE TEXT LINE_TEXT...: the file's lines make --check-config and run fail alike.
bad_config()
{
	local program=$1 line=$2 text=$3
	shift 3
	printf '%s\n' "$@" >"$T/bad.ini"
	expect_exit 2 "$T/bad.ini:$line: " "$program" run --config "$T/bad.ini" --check-config
	expect_exit 2 "$text" "$program" run --config "$T/bad.ini" --check-config
	expect_exit 2 "$text" timeout 20 "$program" run --config "$T/bad.ini"
}

say "agent.ini"
bad_config blkferry-agent 2 "unknown key 'recever'; did you mean 'receiver'?" "[agent]" "recever = a"
bad_config blkferry-agent 2 "belongs in section [agent]" "[agnet]" "disks = auto"
bad_config blkferry-agent 3 "given twice" "[agent]" "disks = auto" "disks = auto"
bad_config blkferry-agent 2 "no" "[agent]" "allocated-only = maybe"
bad_config blkferry-agent 2 "auto, bpf" "[agent]" "tracker = ebpf"
bad_config blkferry-agent 2 "limit" "[agent]" "limit = fast"
bad_config blkferry-agent 2 "memory" "[agent]" "memory = 1MiB"
bad_config blkferry-agent 2 "memory" "[agent]" "memory = 1TiB"
bad_config blkferry-agent 2 "connections" "[agent]" "connections = 99"
bad_config blkferry-agent 2 "connections" "[agent]" "connections = -1"
bad_config blkferry-agent 2 "pass-interval" "[agent]" "pass-interval = soon"
bad_config blkferry-agent 2 "" "[agent]" "this is no line"
expect_exit 2 "$T/none.ini: No such file" blkferry-agent run --config "$T/none.ini"
expect_exit 2 "$T" blkferry-agent run --config "$T"
expect_exit 2 "usage:" blkferry-agent run now
expect_exit 2 "there is no command 'ran'" blkferry-agent ran
expect_exit 2 "usage:" blkferry-agent enroll
printf '[agent]\nreceiver = host:port\n' >"$T/bad.ini"
expect_exit 2 "is not HOST, HOST:PORT" blkferry-agent run --config "$T/bad.ini" --check-config
expect_exit 1 "is not HOST, HOST:PORT" blkferry-agent enroll host:99999 bf1-x

say "receiver.ini"
bad_config blkferry-receiver 2 "unknown key 'lisen'; did you mean 'listen'?" "[receiver]" "lisen = :1"
bad_config blkferry-receiver 3 "unknown key" "[receiver]" "[machine web1]" "disk99 = auto"
bad_config blkferry-receiver 2 "cannot be a machine's name" "[machine ../web1]" "disk0 = auto"
bad_config blkferry-receiver 3 "start-timeout" "[receiver]" "[machine web1]" "start-timeout = never"
bad_config blkferry-receiver 2 "certificate-days" "[receiver]" "certificate-days = 0"
bad_config blkferry-receiver 2 "token-lifetime" "[receiver]" "token-lifetime = 5 parsecs"
bad_config blkferry-receiver 3 "nfs" "[receiver]" "[machine web1]" "disk0 = nfs://host/export"
bad_config blkferry-receiver 3 "a full path is needed" "[receiver]" "[machine web1]" "disk0 = file:disk.raw"
printf '[receiver]\nlisten = 127.0.0.1:99999\n' >"$T/bad.ini"
expect_exit 2 "$T/bad.ini: listen = '127.0.0.1:99999' is not ADDRESS, ADDRESS:PORT" \
	blkferry-receiver run --config "$T/bad.ini" --check-config
expect_exit 2 "usage:" blkferry-receiver run --nonsense
expect_exit 2 "usage:" blkferry-receiver run now
expect_exit 2 "there is no command 'serve'" blkferry-receiver serve
printf '[receiver]\nstate-folder = %s\nstorage-folder = %s\ncontrol-socket = %s\nlisten = 127.0.0.1:%s\n' \
	"$T/empty" "$T/storage" "$T/control.sock" "$(free_port)" >"$T/receiver.ini"
expect_exit 1 "run 'blkferry-receiver init' first" blkferry-receiver run --config "$T/receiver.ini"

say "a receiver that does not run, then one that does"
expect_exit 3 "is blkferry-receiver running on this machine?" ferry status
expect_exit 3 "is blkferry-receiver running on this machine?" ferry cutover web1
rm -rf "$T/empty"
start_receiver
expect_exit 1 "another blkferry-receiver is running with state folder" \
	blkferry-receiver run --config "$T/receiver.ini"
expect_exit 1 "is there already: this receiver has its keys" blkferry-receiver init --state "$T/receiver"
sed "s|^state-folder.*|state-folder = $T/second|; s|control\.sock|second.sock|" "$T/receiver.ini" >"$T/second.ini"
blkferry-receiver init --state "$T/second" >/dev/null
expect_exit 1 "another program has that port" blkferry-receiver run --config "$T/second.ini"

say "the command line"
expect_exit 2 "there is no command 'stats'" ferry stats
expect_exit 2 "usage:" ferry
expect_exit 2 "usage:" ferry status web1 web2
expect_exit 2 "usage:" ferry status --colour
expect_exit 2 "usage:" ferry cutover
expect_exit 2 "'maybe' is no kind of fence; poweroff, halt and hold are" ferry cutover web1 --fence maybe
expect_exit 2 "is no timeout" ferry cutover web1 --timeout 1ms
expect_exit 2 "is no timeout" ferry cutover web1 --timeout forever
expect_exit 2 "is no duration" ferry token web1 --expires tomorrow
expect_exit 2 "cannot be a machine's name" ferry token ../etc
expect_exit 2 "'fast' is no rate; 50MiB/s, 400KB/s and none are" ferry limit web1 fast
for command in status verify pause resume remove cutover; do
	expect_exit 4 "there is no machine 'web1'; 'blkferry status' lists them" ferry "$command" web1
done
expect_exit 4 "there is no machine 'web1'" ferry limit web1 1MiB/s
expect_exit 0 "usage:" ferry cutover --help
[ "$(ferry status --json)" = "[]" ] || fail "a wrong command made a machine"
