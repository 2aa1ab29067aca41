# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Debian 12 as it is installed on servers: partition table, boot loader, Debian's kernel and initramfs, systemd,
# PostgreSQL. Made once and kept in $VM_CACHE, under names that change when what they are made from does:
#
#   mmdebstrap --> tree-HASH: an ext4 with the whole system, and its kernel
#              --> a machine boots from it, and installs it on empty disks (install-debian.sh): LAYOUT-HASH

. "$(dirname "${BASH_SOURCE[0]}")/guests.sh"

DEBIAN_SUITE=bookworm
# Debian's package of the kernel; linux-image-amd64 has all drivers, three times as large.
DEBIAN_KERNEL=${DEBIAN_KERNEL:-linux-image-cloud-amd64}
DEBIAN_PACKAGES=systemd-sysv,dbus,udev,kmod,iproute2,procps,qemu-guest-agent,postgresql,$DEBIAN_KERNEL,initramfs-tools,zstd
DEBIAN_PACKAGES+=,grub2-common,grub-pc-bin,grub-efi-amd64-bin,lvm2,cryptsetup-initramfs,e2fsprogs,xfsprogs,btrfs-progs
DEBIAN_PACKAGES+=,dosfstools,fdisk,login
# What the agent's package depends on; a guest has no way to Debian's mirrors.
DEBIAN_PACKAGES+=,libbpf1,libinih1,libjansson4,liblz4-1,libssl3,liburing2,libxxhash0,libzstd1
DEBIAN_DISK_SIZE=2G

short_hash()
{
	sha256sum <<<"$1" | cut -c 1-12
}

name_tree()
{
	TREE=$VM_CACHE/tree-$(short_hash "$DEBIAN_SUITE $DEBIAN_PACKAGES $(declare -f fill_tree configure_tree)")
}

# make_tree: sets TREE to the folder with tree.img, vmlinuz and initrd
make_tree()
{
	local root=$T/tree loop
	name_tree
	[ ! -e "$TREE/initrd" ] || return 0
	requires mmdebstrap
	say "making a Debian tree: a few minutes, once"
	rm -rf "$TREE"
	mkdir -p "$TREE"
	truncate -s 3G "$TREE/tree.img"
	mkfs.ext4 -q -F -L tree "$TREE/tree.img"
	loop=$(losetup --find --show "$TREE/tree.img")
	cleanup_fn detach_loop "$loop"
	mount_folder "$loop" "$root"
	fill_tree "$root" >"$T/mmdebstrap.log" 2>&1 || skip "mmdebstrap: $(tail -n 1 "$T/mmdebstrap.log")"
	configure_tree "$root"
	cp "$root"/boot/vmlinuz-* "$TREE/vmlinuz"
	cp "$root"/boot/initrd.img-* "$T/initrd"
	unmount_folder "$root"
	detach_loop "$loop"
	mv "$T/initrd" "$TREE/initrd"
}

# fill_tree ROOT: without documentation, languages and PostgreSQL's compiler, which are half of the bytes
fill_tree()
{
	mmdebstrap --quiet --mode=root --variant=minbase --include="$DEBIAN_PACKAGES" \
		--aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/lib/*/libLLVM*' \
		--dpkgopt='path-exclude=/usr/lib/postgresql/*/lib/bitcode/*' \
		"$DEBIAN_SUITE" "$1"
}

# configure_tree ROOT: what is the same on all disks
configure_tree()
{
	local root=$1 folder
	echo web1 >"$root/etc/hostname"
	printf '127.0.0.1 localhost web1\n' >"$root/etc/hosts"
	rm -f "$root/etc/resolv.conf"
	echo 'nameserver 10.0.2.3' >"$root/etc/resolv.conf"
	: >"$root/etc/machine-id"
	printf '[Match]\nType=ether\n\n[Network]\nDHCP=yes\n' >"$root/etc/systemd/network/80-dhcp.network"
	chroot "$root" systemctl -q enable systemd-networkd.service qemu-guest-agent.service
	chroot "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer
	# That an emulated processor stood still for a while says something about this machine's load only.
	cat >"$root/etc/default/grub" <<-'END'
		GRUB_TIMEOUT=0
		GRUB_TERMINAL="console serial"
		GRUB_CMDLINE_LINUX_DEFAULT="loglevel=6"
		GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0 rcupdate.rcu_cpu_stall_suppress=1 nowatchdog"
	END
	mkdir -p "$root/etc/systemd/system.conf.d"
	printf '[Manager]\nDefaultDeviceTimeoutSec=300s\nDefaultTimeoutStartSec=300s\n' >"$root/etc/systemd/system.conf.d/slow.conf"
	for folder in "$root"/etc/postgresql/*/main/conf.d; do
		printf 'jit = off\nmax_wal_size = 128MB\n' >"$folder/test.conf"
	done
}

# boot_tree NAME DISK...: boots the tree itself, as a rescue system, with these disks; what it writes is thrown away.
boot_tree()
{
	local name=$1 append machine
	make_tree
	FIRMWARE=bios NETWORK=closed PROCESSORS=1 describe_machine "$@"
	# A kernel that tries its timer while this machine is busy may find none, and panic.
	append="root=/dev/disk/by-id/virtio-tree rw console=ttyS0 loglevel=6 nowatchdog no_timer_check"
	# No login, no network, no database: udev starts the guest agent.
	append+=" rcupdate.rcu_cpu_stall_suppress=1 systemd.unit=basic.target"
	# shellcheck disable=SC2054  # QEMU's commas
	machine+=(-kernel "$TREE/vmlinuz" -initrd "$TREE/initrd" -append "$append"
		-drive "file=$TREE/tree.img,if=none,id=tree,format=raw,snapshot=on"
		-device virtio-blk-pci,drive=tree,serial=tree
		-drive "file=$TREE/tree.img,if=none,id=pristine,format=raw,readonly=on"
		-device virtio-blk-pci,drive=pristine,serial=pristine)
	start_machine "$name"
	wait_for_machine "$name"
}

# make_debian LAYOUT [DISK_OPTION=VALUE,...]: sets DEBIAN to the folder with disk0.img, and disk1.img if the layout has one.
# The layouts are those of install-debian.sh.
make_debian()
{
	local layout=$1 option=${2:-} new disk disks=()
	name_tree
	DEBIAN=$VM_CACHE/$layout-$(short_hash "$TREE $DEBIAN_DISK_SIZE $option $(cat "$VM/install-debian.sh")")
	[ ! -e "$DEBIAN" ] || return 0
	mkdir -p "$VM_CACHE"
	exec 9>"$VM_CACHE/lock" # others may share the folder
	flock 9
	make_tree
	if [ ! -e "$DEBIAN" ]; then
		say "installing Debian: $layout"
		new=$DEBIAN.new
		rm -rf "$new"
		mkdir "$new"
		truncate -s "$DEBIAN_DISK_SIZE" "$new/disk0.img"
		[ "$layout" != two-disks ] || truncate -s 1G "$new/disk1.img"
		for disk in "$new"/disk?.img; do
			disks+=("virtio-blk${option:+,$option}:$disk")
		done
		boot_tree installer "${disks[@]}"
		put_file installer "$VM/install-debian.sh" /run/install
		in_machine installer "exec 2>&1; sh -eux /run/install $layout" >"$T/install.log" || fail "install-debian.sh $layout"
		stop_machine installer
		mv "$new" "$DEBIAN"
	fi
	exec 9>&-
}
