#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What may be chosen of a stream: zstd for a slow link, and a limit of its bandwidth, which is kept while it streams and
# can be changed meanwhile.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

LIMIT=$((1024 * 1024))

make_source 64M 4M
start_receiver
start_agent web1 "$SOURCE" "checkpoint-interval = 200ms" "ring = 16MiB" "compression = zstd"
wait_streaming web1

sent()
{
	status web1 ".$1"
}
# wait_sent BYTES: so much more went into the stream since `before`, and all of it is at the target
wait_sent()
{
	wait_for 60 "[ \$(sent sent_bytes) -ge $((before + $1)) ] && [ \$(status web1 .ring_used) = 0 ]" "$1 bytes"
}

say "zstd: text of 8 MiB is much less on the wire"
before=$(sent sent_bytes) wire=$(sent wire_bytes)
seq 1 1200000 >"$T/source/text"
sync -f "$T/source"
wait_sent "$(stat -c %s "$T/source/text")"
wire=$(($(sent wire_bytes) - wire))
[ "$wire" -lt $((3 << 20)) ] || fail "$wire bytes on the wire"
say "$wire bytes on the wire"

say "a limit: 4 MiB that do not compress take as long as they must"
ferry limit web1 1MiB >/dev/null
wait_for 20 "[ \$(status web1 .limit) = $LIMIT ]" "the limit"
before=$(sent sent_bytes)
began=$(date +%s%N)
dd if=/dev/urandom of="$T/source/random" bs=1M count=4 conv=fsync status=none
wait_sent $((4 << 20))
took_ms=$((($(date +%s%N) - began) / 1000000))
# A tenth of a second may have been saved up before.
[ "$took_ms" -ge 3500 ] || fail "4 MiB took $took_ms ms at 1 MiB/s"
[ "$(status web1 .phase)" = streaming ] || fail "the limit ended streaming: $(status web1 .gaps.reason)"

say "no limit: the same is there at once, also what waited"
dd if=/dev/urandom of="$T/source/random" bs=1M count=6 conv=fsync,notrunc status=none
ferry limit web1 none >/dev/null
wait_for 20 '[ "$(status web1 .ring_used)" = 0 ]' "the rest of the ring"
[ "$(status web1 .phase)" = streaming ] || fail "streaming ended: $(status web1 .gaps.reason)"
ferry verify web1
ferry cutover web1 --fence hold --timeout 30
compare "$SOURCE" "$(status web1 '.disks[0].path')" || fail "source and target differ"
