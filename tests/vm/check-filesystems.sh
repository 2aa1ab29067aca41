#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs in the machine that boot_tree boots (debian.sh), with the disks of another one: are all file systems on them clean,
# for their own tools? LVM and encrypted volumes (passphrase: ferry) are opened. A frozen XFS has a log to replay: it is
# mounted once before. The last line counts what was looked at.
set -u
failed=0 count=0

complain()
{
	echo "$*"
	failed=1
}

udevadm settle
for device in $(lsblk -nrpo NAME,FSTYPE | awk '$2 == "crypto_LUKS" { print $1 }'); do
	printf ferry | cryptsetup open --key-file - "$device" "crypt-${device##*/}" || complain "$device cannot be opened"
done
udevadm settle
vgchange -q -ay >/dev/null 2>&1
udevadm settle

# What the machine itself runs from
own=" $(readlink -f /dev/disk/by-id/virtio-tree /dev/disk/by-id/virtio-pristine | tr '\n' ' ')"
mkdir -p /run/look
lsblk -nrpo NAME,FSTYPE | sort -u >/run/devices
while read -r device type; do
	case $own in *" $device "*) continue ;; esac
	case $type in
	ext4)
		dumpe2fs -h "$device" 2>/dev/null | grep -q needs_recovery && complain "$device has a journal to replay"
		e2fsck -fn "$device" >/run/fsck.log 2>&1
		;;
	xfs) mount "$device" /run/look && umount /run/look && xfs_repair -n "$device" >/run/fsck.log 2>&1 ;;
	btrfs) btrfs check --readonly --check-data-csum "$device" >/run/fsck.log 2>&1 ;;
	vfat) fsck.vfat -n "$device" >/run/fsck.log 2>&1 ;;
	swap) swaplabel "$device" >/run/fsck.log 2>&1 ;;
	*) continue ;;
	esac || complain "$type on $device is damaged: $(tail -n 3 /run/fsck.log)"
	count=$((count + 1))
	printf '%s ' "$type"
done </run/devices
echo "($count)"
exit $failed
