#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Xen Orchestra's own NBD client reads a replica from the server of an auto target, over TCP, as XO would.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq nbdcopy
[ -d "$BUILD/xo/node_modules/@vates/nbd-client" ] && command -v node >/dev/null ||
	skip "@vates/nbd-client is not installed: packaging/install-deps.sh --xo"

make_source 32M 8M
start_receiver
start_agent web1 "$SOURCE"
wait_ready web1
ferry cutover web1 --fence hold --timeout 30
socket=$(echo "$T"/storage/*.sock)
port=$(free_port)
start_process "$T/proxy.log" nbdkit -f -r -i 127.0.0.1 -p "$port" nbd "socket=$socket"
wait_for 20 "[ -n \"\$(ss -Hltn 'sport = :$port')\" ]" "the port"
(cd "$BUILD/xo" && timeout 120 node "$TOP/tests/xapi/nbd-client.mjs" 127.0.0.1 "$port" "" "$T/read.raw")
compare "$SOURCE" "$T/read.raw"
