#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The stand-in for a pool, on which our own client is tested, is one that others' clients take for real: Xen
# Orchestra's xen-api (JSON-RPC) and the SDK's XenAPI.py as Debian has it (XML-RPC).

. "$(dirname "$0")/../functions.sh"
requires python3

# start_stub NAME: sets STUB_PORT.
start_stub()
{
	mkdir "$T/$1"
	start_process "$T/$1.log" "$TOP/tests/xapi/stub.py" --storage "$T/$1"
	wait_for 20 "[ -s '$T/$1/port' ]" "the stub's port"
	STUB_PORT=$(cat "$T/$1/port")
}

ran=0
if [ -d "$BUILD/xo/node_modules/xen-api" ] && command -v node >/dev/null; then
	start_stub xo
	(cd "$BUILD/xo" && timeout 120 node "$TOP/tests/xapi/client.mjs" "http://127.0.0.1:$STUB_PORT")
	ran=$((ran + 1))
fi
if [ -e /usr/lib/python3/dist-packages/os_xenapi/client/XenAPI.py ]; then
	start_stub sdk
	timeout 120 "$TOP/tests/xapi/client.py" "http://127.0.0.1:$STUB_PORT"
	ran=$((ran + 1))
fi
! grep -n 'STUB BUG' -A 20 "$T"/*.log || fail "the stub served what XAPI would not"
[ "$ran" = 2 ] || skip "only $ran of 2 clients are installed: packaging/install-deps.sh --xo"
