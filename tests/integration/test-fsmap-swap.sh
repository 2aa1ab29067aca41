#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The ranges of swap on a disk: a partition but for its first page, and every page but the first of a
# file, wherever the file system has put them.

. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP mkfs.ext4 mkswap swapon sfdisk partx jq python3

swap_off()
{
	swapoff "$1" 2>/dev/null || true
}

make_disk 256M
partition_disk "$LOOP" <<-END
	label: gpt
	start=2048, size=65536
	start=69632
END
[ -z "$(platform swap "$LOOP")" ] || fail "ranges although nothing is swap"

say "a swap partition"
mkswap "${LOOP}p1" >/dev/null
swapon "${LOOP}p1"
cleanup_fn swap_off "${LOOP}p1"
page=$(getconf PAGESIZE)
[ "$(platform swap "$LOOP")" = "$((2048 * 512 + page)) $((65536 * 512 - page))" ] ||
	fail "the range is $(platform swap "$LOOP")"
swapoff "${LOOP}p1"

say "a swap file in pieces"
make_filesystem ext4 "${LOOP}p2" "$T/mnt" -b 4096
# Each page of the file holds its number. Files written in between make several extents of it.
python3 - "$T/mnt" "$page" <<-END
	import os, sys
	folder, page = sys.argv[1], int(sys.argv[2])
	with open(folder + "/swap", "wb", 0) as swap:
	    for number in range(2048):
	        swap.write(b"swap-page-%08d" % number + bytes(page - 18))
	        if number % 256 == 255:
	            os.fsync(swap.fileno())
	            with open(folder + "/between-%d" % number, "wb", 0) as other:
	                other.write(os.urandom(3 * page))
	                os.fsync(other.fileno())
END
chmod 600 "$T/mnt/swap"
mkswap "$T/mnt/swap" >/dev/null
swapon "$T/mnt/swap"
cleanup_fn swap_off "$T/mnt/swap"
platform swap "$LOOP" >"$T/ranges"

say "another file at the path of the swap file"
cp "$T/mnt/between-255" "$T/mnt/other"
sync "$T/mnt/other" # what is not on the disk yet has no extents
mount --bind "$T/mnt/other" "$T/mnt/swap"
cleanup_fn unmount_folder "$T/mnt/swap"
[ -z "$(platform swap "$LOOP")" ] || fail "writes to a file that is no swap would be dropped: $(platform swap "$LOOP")"
umount "$T/mnt/swap"
[ "$(platform swap "$LOOP")" = "$(cat "$T/ranges")" ] || fail "the swap file was not found again"

say "the swap file of a file system that is frozen"
fsfreeze -f "$T/mnt"
timeout 10 "$BUILD/tests/tools/platform" swap "$LOOP" >"$T/frozen" || fail "it hangs while frozen"
fsfreeze -u "$T/mnt"
cmp "$T/ranges" "$T/frozen" || fail "other ranges while frozen"

swapoff "$T/mnt/swap"
sync
[ "$(wc -l <"$T/ranges")" -ge 1 ] || fail "no ranges"
say "$(wc -l <"$T/ranges") ranges"
python3 - "$LOOP_FILE" "$page" "$T/ranges" <<-END
	import sys
	path, page, ranges = sys.argv[1], int(sys.argv[2]), sys.argv[3]
	found = set()
	with open(path, "rb") as disk:
	    for line in open(ranges):
	        offset, length = map(int, line.split())
	        assert length % page == 0, line
	        for at in range(offset, offset + length, page):
	            disk.seek(at)
	            tag = disk.read(18)
	            assert tag.startswith(b"swap-page-"), (at, tag)
	            found.add(int(tag[10:]))
	assert found == set(range(1, 2048)), "the pages in the ranges are not those of the file"
END
