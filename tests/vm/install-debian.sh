#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs in the machine that make_debian boots (debian.sh), and installs the tree that it finds on the disk `pristine` on the
# empty disks installer-0, installer-1. Passphrase of encrypted volumes: ferry.
#
# Usage: install-debian.sh LAYOUT
#   ext4       GPT, BIOS, ext4 root, swap
#   uefi       GPT, EFI system partition, ext4 root, swap
#   lvm-xfs    GPT, BIOS, ext4 /boot, LVM with an XFS root and swap
#   luks       GPT, BIOS, ext4 /boot, LUKS2 with LVM on it: ext4 root and swap; its key is in the initramfs
#   btrfs      GPT, BIOS, btrfs root in the subvolume @rootfs, swap
#   two-disks  ext4 with PostgreSQL's WAL; on the second disk, GPT, XFS, PostgreSQL's data
set -eux
layout=$1
target=/mnt

udevadm settle
disk0=$(readlink -f /dev/disk/by-id/virtio-installer-0)
disk1=$(readlink -f /dev/disk/by-id/virtio-installer-1)

uuid()
{
	blkid -p -s UUID -o value "$1"
}

bios="size=1MiB, type=21686148-6449-6E6F-744E-656564454649"
swap="size=64MiB, type=swap"
root_type=ext4 boot='' esp='' data='' options=defaults,noatime
case $layout in
ext4 | btrfs | two-disks)
	printf 'label: gpt\n%s\n%s\ntype=linux\n' "$bios" "$swap" | sfdisk -q "$disk0"
	swap=${disk0}2 root=${disk0}3
	[ "$layout" != btrfs ] || root_type=btrfs
	;;
uefi)
	printf 'label: gpt\nsize=300MiB, type=uefi\n%s\ntype=linux\n' "$swap" | sfdisk -q "$disk0"
	esp=${disk0}1 swap=${disk0}2 root=${disk0}3
	;;
lvm-xfs | luks)
	printf 'label: gpt\n%s\nsize=192MiB, type=linux\ntype=%s\n' "$bios" \
		"$([ "$layout" = luks ] && echo CA7D7CCB-63ED-4C53-861C-1742536059CC || echo lvm)" | sfdisk -q "$disk0"
	boot=${disk0}2 pv=${disk0}3
	udevadm settle
	if [ "$layout" = luks ]; then
		printf ferry | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "$pv" -
		printf ferry | cryptsetup open --key-file - "$pv" crypt
		luks=$pv pv=/dev/mapper/crypt
	else
		root_type=xfs
	fi
	vgcreate -q vg0 "$pv"
	lvcreate -q -y -L 64M -n swap vg0
	lvcreate -q -y -l 100%FREE -n root vg0
	swap=/dev/vg0/swap root=/dev/vg0/root
	;;
esac
if [ "$layout" = two-disks ]; then
	printf 'label: gpt\ntype=linux\n' | sfdisk -q "$disk1"
	data=${disk1}1
fi

udevadm settle
mkswap -q "$swap"
"mkfs.$root_type" -q "$root"
mount "$root" $target
if [ $root_type = btrfs ]; then
	btrfs -q subvolume create $target/@rootfs
	umount $target
	options=$options,subvol=@rootfs
	mount -o subvol=@rootfs "$root" $target
fi
if [ -n "$boot" ]; then
	mkfs.ext4 -q "$boot"
	mkdir $target/boot
	mount "$boot" $target/boot
fi
if [ -n "$esp" ]; then
	mkfs.vfat -F 32 "$esp"
	mkdir -p $target/boot/efi
	mount "$esp" $target/boot/efi
fi

mkdir /run/pristine
mount -o ro,noload /dev/disk/by-id/virtio-pristine /run/pristine
cp -a /run/pristine/. $target
{
	echo "UUID=$(uuid "$root") / $root_type $options 0 1"
	[ -z "$boot" ] || echo "UUID=$(uuid "$boot") /boot ext4 defaults 0 2"
	[ -z "$esp" ] || echo "UUID=$(uuid "$esp") /boot/efi vfat umask=0077 0 1"
	echo "UUID=$(uuid "$swap") none swap sw 0 0"
} >$target/etc/fstab
# A hibernated system is not looked for: nothing waits for a disk that has another name.
echo RESUME=none >$target/etc/initramfs-tools/conf.d/resume
if [ -n "$data" ]; then
	mkfs.xfs -q "$data"
	mv $target/var/lib/postgresql $target/var/lib/postgresql-wal
	mkdir $target/var/lib/postgresql
	mount "$data" $target/var/lib/postgresql
	cp -a $target/var/lib/postgresql-wal/. $target/var/lib/postgresql
	for cluster in "$target"/var/lib/postgresql/*/main; do
		inside=${cluster#"$target/var/lib/postgresql/"}
		find "$target/var/lib/postgresql-wal/$inside" -mindepth 1 -maxdepth 1 ! -name pg_wal -exec rm -r {} +
		rm -r "$cluster/pg_wal"
		ln -s "/var/lib/postgresql-wal/$inside/pg_wal" "$cluster/pg_wal"
	done
	echo "UUID=$(uuid "$data") /var/lib/postgresql xfs defaults 0 2" >>$target/etc/fstab
fi

for folder in dev proc sys run; do
	mount --rbind /$folder $target/$folder
	mount --make-rslave $target/$folder
done
if [ "$layout" = luks ]; then
	mkdir -m 700 $target/etc/keys
	head -c 64 /dev/urandom >$target/etc/keys/root.key
	chmod 600 $target/etc/keys/root.key
	printf ferry >/run/passphrase
	cryptsetup luksAddKey -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /run/passphrase "$luks" \
		$target/etc/keys/root.key
	echo "crypt UUID=$(uuid "$luks") /etc/keys/root.key luks" >$target/etc/crypttab
	echo 'KEYFILE_PATTERN=/etc/keys/*.key' >>$target/etc/cryptsetup-initramfs/conf-hook
	echo 'UMASK=0077' >>$target/etc/initramfs-tools/initramfs.conf
	chroot $target update-initramfs -u -k all
fi
if [ -n "$esp" ]; then
	chroot $target grub-install --target=x86_64-efi --efi-directory=/boot/efi --no-nvram --force-extra-removable
else
	chroot $target grub-install --target=i386-pc "$disk0"
fi
chroot $target update-grub
sync
umount -R $target
