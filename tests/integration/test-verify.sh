#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# I11: a replica is trusted because both sides were compared, not because the tracker is. Bytes of the target are
# damaged behind everybody's back; verify finds them, says where, and repairs them, while the disk is written;
# a cutover finds and repairs them before it commits.
. "$(dirname "$0")/../functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq fsfreeze

make_disk 256M
# Blocks as large as the tracker's: a neighbour that is written would mend the damage along with itself.
make_filesystem ext4 "$LOOP" "$T/source" -b 4096
head -c 32M /dev/urandom >"$T/source/data"
echo "here stands a text that is found again" >"$T/source/text"
sync -f "$T/source"
start_process "$T/writer.log" writer run "$T/source" --progress "$T/progress" --rewrite-mib 16 \
	--rewrite-mib-per-s 2
start_receiver
start_agent web1 "$LOOP"
wait_for 120 '[ "$(status web1 .ready)" = true ]' "the first copy"
target=$(status web1 '.disks[0].path')
offset=$(grep -abo "here stands a text" "$target" | head -n 1 | cut -d : -f 1)
[ -n "$offset" ] || fail "the text is not on the target"

# verify STATUS OPTION...: output in $T/verify.out
verify()
{
	local expected=$1 got=0
	shift
	ferry verify web1 "$@" >"$T/verify.out" 2>&1 || got=$?
	cat "$T/verify.out"
	[ "$got" = "$expected" ] || fail "verify $*: exit status $got, not $expected"
}

damage()
{
	printf X | dd of="$target" bs=1 seek="$offset" conv=notrunc status=none
}

say "both sides are the same, while the disk is written"
verify 0

say "one byte of the target is changed: found, and the range is named"
damage
verify 6
read -r first last < <(sed -nE 's/.*bytes ([0-9]+) to ([0-9]+): differs.*/\1 \2/p' "$T/verify.out" | head -n 1)
[ -n "$last" ] && [ "$first" -le "$offset" ] && [ "$last" -ge "$offset" ] || fail "byte $offset is not in its ranges"
[ $((last - first)) -lt 65536 ] || fail "the range is far too large"
case $(status web1 .phase) in
delta | catch-up | streaming) ;;
*) fail "replication did not go on" ;;
esac

say "repaired, and the same then"
verify 6 --repair
verify 0
[ "$(tail -c +$((offset + 1)) "$target" | head -c 4)" = here ] || fail "the byte is still wrong"

say "a cutover finds it too, and repairs it before it commits"
damage
ferry cutover web1 --fence hold --timeout 30 --json >"$T/cutover.json" || fail "cutover: exit status $?"
tail -n 1 "$T/cutover.json" | jq -e '.repaired_bytes >= 4096 and .certified_bytes > 0' >/dev/null ||
	fail "it does not say so: $(tail -n 1 "$T/cutover.json")"
compare "$LOOP" "$target" || fail "source and target differ"
