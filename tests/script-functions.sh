# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the tests share whose agent is a script (tests/tools/streamer.c), on top of functions.sh: the machine web1, its
# disk 0 in $T/disk0.img, its disk 1 where the receiver makes it.

# shellcheck source=tests/functions.sh
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

TARGET0=$T/disk0.img
TARGET1=$T/storage/web1-disk1.raw

# stream [DISKS]: obeys standard input, for so many disks of SIZE bytes; what it is told goes to streamer.log
stream()
{
	# shellcheck disable=SC2153  # the test says SIZE
	streamer "$RECEIVER_PORT" "$T/agent-web1" "${1:-2}" "$SIZE" >>"$T/streamer.log" 2>&1
}

# keep NAME: how both targets are now
keep()
{
	cp --sparse=always "$TARGET0" "$T/$1.0"
	cp --sparse=always "$TARGET1" "$T/$1.1"
}

# expect NAME: both targets are what they were then
expect()
{
	cmp "$TARGET0" "$T/$1.0" || fail "disk 0 is not as at $1"
	cmp "$TARGET1" "$T/$1.1" || fail "disk 1 is not as at $1"
}
