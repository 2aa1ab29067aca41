#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Xen Orchestra's own NBD client reads a view of a checkpoint, and after the cutover the replica from the server of an
# auto target, both over TCP, as XO would.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq nbdcopy
[ -d "$BUILD/xo/node_modules/@vates/nbd-client" ] && command -v node >/dev/null ||
	skip "@vates/nbd-client is not installed: packaging/install-deps.sh --xo"

make_source 32M 8M
start_receiver
start_agent web1 "$SOURCE"
wait_ready web1

# read_by_xo SOCKET EXPORT FILE
read_by_xo()
{
	local port
	port=$(free_port)
	start_process "$T/proxy.log" nbdkit -f -r -i 127.0.0.1 -p "$port" nbd "uri=nbd+unix:///$2?socket=$1"
	wait_for 20 "[ -n \"\$(ss -Hltn 'sport = :$port')\" ]" "the port"
	(cd "$BUILD/xo" && timeout 120 node "$TOP/tests/xapi/nbd-client.mjs" 127.0.0.1 "$port" "" "$3")
}

wait_phase web1 streaming
wait_for 60 '[ "$(ferry points web1 --json | jq length)" -gt 0 ]' "a checkpoint"
uri=$(ferry view web1 --json | jq -r '.disks[0].uri')
nbdcopy "$uri" "$T/view.raw"
read_by_xo "${uri#*socket=}" "$(sed 's|nbd+unix:///||; s|?.*||' <<<"$uri")" "$T/read.raw"
cmp "$T/view.raw" "$T/read.raw" || fail "it read something else from the view"
ferry view web1 --stop >/dev/null

ferry cutover web1 --fence hold --timeout 30
read_by_xo "$(echo "$T"/storage/*.sock)" "" "$T/read.raw"
compare "$SOURCE" "$T/read.raw"
