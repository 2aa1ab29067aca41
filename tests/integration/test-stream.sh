#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The receiver's half of the stream, driven by a script instead of an agent: what is acknowledged is applied in its
# order, also after a SIGKILL of the receiver; what comes later by a data connection is never overwritten by it.

. "$(dirname "$0")/../script-functions.sh"
requires nbdkit jq

SIZE=$((32 * 1024 * 1024))
start_receiver "[machine web1]" "disk0 = file:$T/disk0.img" "disk1 = auto"
enroll_agent web1

# fill FILE OFFSET LENGTH CHARACTER: what the file should hold
fill()
{
	head -c "$3" /dev/zero | tr '\0' "$4" | dd of="$1" oflag=seek_bytes bs=64k seek="$2" conv=notrunc status=none
}

truncate -s "$SIZE" "$T/expected.0" "$T/expected.1"

say "order and overlap"
stream <<-END
	write 0 0 4096 a
	write 0 4096 4096 b
	write 0 2048 4096 c
	write 1 1048576 65536 d
	zero 1 1052672 4096
	write 1 1056768 512 e
	send
	write 0 0 512 f
	zero 0 16777216 8388608
	copy 0 16777216 4096 g
	mark 1
	confirm 1
	applied
END
fill "$T/expected.0" 0 4096 a
fill "$T/expected.0" 4096 4096 b
fill "$T/expected.0" 2048 4096 c
fill "$T/expected.1" 1048576 65536 d
fill "$T/expected.1" 1052672 4096 '\0'
fill "$T/expected.1" 1056768 512 e
fill "$T/expected.0" 0 512 f
fill "$T/expected.0" 16777216 4096 g
expect expected

say "digests see what stands before them"
: >"$T/streamer.log"
stream <<-END
	write 0 65536 8192 h
	digest 0 65536 8192 h
	write 0 65536 4096 i
	digest 0 65536 8192 h
	digest 1 20971520 4096 x
	write 1 20971520 4096 x
	applied
END
grep -qx 'result 0 65536 1 1' "$T/streamer.log" || fail "a digest of the same differs"
grep -qx 'result 0 65536 2 1' "$T/streamer.log" || fail "a digest of what was overwritten is the same"
grep -qx 'result 1 20971520 3' "$T/streamer.log" || fail "never copied was not said"
grep -q '^ready 5712ea3 2 1$' "$T/streamer.log" || fail "the receiver does not name the last batch and mark"
fill "$T/expected.0" 65536 8192 h
fill "$T/expected.0" 65536 4096 i
fill "$T/expected.1" 20971520 4096 x
expect expected

say "acknowledged, then killed"
for i in 1 2 3 4 5 6; do
	fill_with=$(printf '%x' "$i")
	: >"$T/streamer.log"
	{
		for at in $(seq 0 65536 $((SIZE - 65536))); do
			echo "write 0 $at 65536 $fill_with"
			echo "write 1 $at 65536 $fill_with"
		done
		echo "mark $((i + 10))"
		echo "confirm $((i + 10))"
		echo "ack"
	} >"$T/script"
	stream <"$T/script"
	grep -q '^ack ' "$T/streamer.log" || fail "not acknowledged"
	end_process "$RECEIVER_PID" KILL || true
	start_receiver "[machine web1]" "disk0 = file:$T/disk0.img" "disk1 = auto"
	: >"$T/streamer.log"
	stream </dev/null
	grep -q "^ready 5712ea3 [0-9]* $((i + 10))\$" "$T/streamer.log" || fail "the mark is not known after the kill"
	fill "$T/expected.0" 0 "$SIZE" "$fill_with"
	fill "$T/expected.1" 0 "$SIZE" "$fill_with"
	expect expected
done

say "a data connection comes after the stream, whatever is killed"
stream <<-END
	write 0 0 65536 s
	ack
	data 0 0 4096 t
END
end_process "$RECEIVER_PID" KILL || true
start_receiver "[machine web1]" "disk0 = file:$T/disk0.img" "disk1 = auto"
stream </dev/null
fill "$T/expected.0" 0 65536 s
fill "$T/expected.0" 0 4096 t
expect expected
