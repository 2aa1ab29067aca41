#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What fsmap leaves out is really free: a copy of the other blocks alone is a whole file system, with every
# file the same. ext4 and XFS, in a partition and on a whole disk, block sizes of both sides mixed.

. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP mkfs.ext4 e2fsck fsfreeze sfdisk partx jq xfs_repair

# fill FOLDER: files of many sizes, then holes among them, so that free space is in pieces.
fill()
{
	local folder=$1 i
	mkdir -p "$folder/a/b"
	for ((i = 0; i < 300; i++)); do
		head -c "$((RANDOM * 4 + i))" /dev/urandom >"$folder/a/file-$i"
	done
	cp -r /etc/ssl "$folder/a/b/" 2>/dev/null || true
	sync -f "$folder"
	for ((i = 0; i < 300; i += 3)); do
		rm "$folder/a/file-$i"
	done
	head -c 3000000 /dev/urandom >"$folder/large"
	sync -f "$folder"
}

# copy_and_compare TYPE DEVICE_IN_COPY_OFFSET FOLDER BLOCK_BYTES
copy_and_compare()
{
	local type=$1 offset=$2 folder=$3 block=$4 copied total copy=$T/copy.img copy_loop
	fsfreeze -f "$folder"
	platform fsmap "$LOOP" "$block" "$copy" >"$T/fsmap.out"
	fsfreeze -u "$folder"
	cat "$T/fsmap.out"
	grep -q "^$type $folder: .* free of " "$T/fsmap.out" || fail "the note does not name $folder"
	read -r copied total < <(sed -n 's/^copied \([0-9]*\) of \([0-9]*\)$/\1 \2/p' "$T/fsmap.out")
	[ "$((copied * 2))" -lt "$total" ] || fail "$copied of $total blocks: hardly anything was left out"

	copy_loop=$(losetup --find --show --offset "$offset" "$copy")
	cleanup_fn detach_loop "$copy_loop"
	if [ "$type" = ext4 ]; then
		e2fsck -fn "$copy_loop" >"$T/fsck.log" 2>&1 || fail "e2fsck: $(cat "$T/fsck.log")"
		mount_folder "$copy_loop" "$T/copy" -o ro
	else
		mount_folder "$copy_loop" "$T/copy" -o nouuid # a frozen XFS has a log to replay
	fi
	diff -r "$folder" "$T/copy"
	if [ "$type" = xfs ]; then
		unmount_folder "$T/copy"
		xfs_repair -n "$copy_loop" >"$T/fsck.log" 2>&1 || fail "xfs_repair: $(cat "$T/fsck.log")"
	fi
	unmount_folder "$T/copy"
	detach_loop "$copy_loop"
	rm "$copy"
}

# whole_disk TYPE BLOCK_BYTES [mkfs options]
whole_disk()
{
	local type=$1 block=$2
	shift 2
	say "$type $* on a whole disk, blocks of $block"
	make_disk 512M
	make_filesystem "$type" "$LOOP" "$T/mnt" "$@"
	fill "$T/mnt"
	copy_and_compare "$type" 0 "$T/mnt" "$block"
	unmount_folder "$T/mnt"
}

# partitions TYPE BLOCK_BYTES: the second of two, whose start no large block divides.
in_partition()
{
	local type=$1 block=$2 start=133137
	say "$type in a partition, blocks of $block"
	make_disk 512M
	partition_disk "$LOOP" <<-END
		label: gpt
		start=2048, size=100000
		start=$start
	END
	make_filesystem "$type" "${LOOP}p2" "$T/mnt"
	fill "$T/mnt"
	copy_and_compare "$type" "$((start * 512))" "$T/mnt" "$block"
	unmount_folder "$T/mnt"
}

whole_disk ext4 4096
whole_disk ext4 65536 -b 1024
in_partition ext4 4096
requires_filesystem xfs
whole_disk xfs 4096
in_partition xfs 16384
