#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Opens or closes the receiver's port in the firewall of XCP-ng's dom0, through xapi's own helper, which also keeps it
# over a restart of the firewall. The port is that of receiver.ini.
#
# Usage: firewall open | close
set -eu
config=${BLKFERRY_CONFIG:-/etc/blkferry/receiver.ini}
helper=${BLKFERRY_FIREWALL_PORT:-/etc/xapi.d/plugins/firewall-port}

case "${1:-}" in
open | close) ;;
*)
	echo "usage: firewall open|close" >&2
	exit 2
	;;
esac
value=$(sed -n 's/^[[:space:]]*listen[[:space:]]*=[[:space:]]*//p' "$config" 2>/dev/null | tail -n 1 | tr -d '[:space:]')
port=10810
case $value in
*]:*) port=${value##*]:} ;;
*:*:*) ;; # an IPv6 address alone
*:*) port=${value##*:} ;;
esac
if [ ! -x "$helper" ]; then
	echo "blkferry: $helper is missing: the port $port has to be opened by hand" >&2
	exit 1
fi
exec "$helper" "$1" "$port" tcp
