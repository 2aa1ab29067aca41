#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The bpf tracker marks exactly what was written, however it was written: every range that a writer logged
# is marked, and nothing else is. Two disks, so that one's writes cannot hide among the other's.
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF sfdisk partx jq mkfs.ext4 fstrim

PINS=/sys/fs/bpf/$(basename "$T")
cleanup_fn remove_pins "$PINS"
make_disk 1G
A=$LOOP
make_disk 300M
B=$LOOP

ctl()
{
	tracker_ctl -p "$PINS" "$A" "$B" -- "$@" 2>>"$T/ctl.log"
}

# marks_exactly DISK LOG OTHER: what the log says is marked on DISK, and nothing on OTHER
marks_exactly()
{
	ctl take covers "$1" "$2" only "$1" "$2" >>"$T/ctl.log" || fail "disk $1: $(tail -n 1 "$T/ctl.log")"
	[ -z "$(ctl list "$3")" ] || fail "disk $3 is marked as well: $(ctl list "$3" | head -3)"
	ctl forget
}

ctl take forget
for kind in direct sector split merged buffered discard zeroout direct,merged,buffered,discard,zeroout; do
	say "$kind"
	tracker_writer "$A" "$T/log.$kind" 1 "$kind" 60
	marks_exactly 0 "$T/log.$kind" 1
done

say "one write-zeroes of 767 MiB: marked by chunks in the middle and by bits at both ends"
tracker_writer "$A" "$T/log.huge" 1 hugezero 1
marks_exactly 0 "$T/log.huge" 1

say "both disks at once"
tracker_writer "$A" "$T/log.a" 2 direct,buffered 60 &
tracker_writer "$B" "$T/log.b" 3 merged,zeroout,sector 60
wait $!
ctl take covers 0 "$T/log.a" only 0 "$T/log.a" covers 1 "$T/log.b" only 1 "$T/log.b" forget >>"$T/ctl.log" ||
	fail "$(tail -n 1 "$T/ctl.log")"

say "a partition's writes are marked at their place on the whole disk"
partition_disk "$B" <<<$'label: gpt\nstart=20480, size=204800\nstart=225280, size=204800' >"$T/sfdisk.log"
sync
ctl take forget
tracker_writer "${B}p2" "$T/log.p2" 4 direct,buffered,discard,zeroout,merged 60 0 104857600 $((225280 * 512))
marks_exactly 1 "$T/log.p2" 0

say "a file system's writes: the file is marked, and not much beside it"
# Not lazily: the kernel would write the inode tables whenever it finds the time.
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "${B}p1"
mount_folder "${B}p1" "$T/mnt"
sync
ctl take forget
head -c 20M /dev/urandom >"$T/mnt/file"
sync
marked=$(ctl list 1 | awk '{ sum += $2 } END { print sum + 0 }')
[ "$marked" -ge $((20 << 20)) ] || fail "$marked bytes are marked for 20 MiB"
[ "$marked" -le $((24 << 20)) ] || fail "$marked bytes are marked for 20 MiB"
filefrag -e "$T/mnt/file" | awk -F'[ .:]+' '/^ +[0-9]+:/ { print $5, $7 }' >"$T/extents"
[ -s "$T/extents" ] || fail "filefrag shows no extent"
while read -r block count; do
	ctl list 1 | awk -v from=$((20480 * 512 + block * 4096)) -v len=$((count * 4096)) \
		'$1 <= from && $1 + $2 >= from + len { found = 1 } END { exit !found }' ||
		{ [ "$(stat -f -c %S "$T/mnt")" = 4096 ] && fail "extent $block $count is not marked"; }
done <"$T/extents"

say "fstrim: the freed blocks are marked"
ctl forget
rm "$T/mnt/file"
sync
ctl take forget
fstrim "$T/mnt"
marked=$(ctl list 1 | awk '{ sum += $2 } END { print sum + 0 }')
[ "$marked" -ge $((20 << 20)) ] || fail "$marked bytes are marked for a trim of 20 MiB"
ctl state | grep -q suspect=1 && fail "suspect: $(ctl state)"
say "passed"
