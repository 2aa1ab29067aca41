# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Made-up systems for the tests of `blkferry-agent check`: the files that it looks at, and a busybox so that
# programs of the system can be run in it. What stands for an initramfs is a list of the modules in it; the
# programs that build and list it are scripts of the same names as the real ones.

# put ROOT PATH: writes standard input to that file.
put()
{
	mkdir -p "$(dirname "$1$2")"
	cat >"$1$2"
}

# put_program ROOT PATH: the same, as a program.
put_program()
{
	put "$1" "$2"
	chmod 755 "$1$2"
}

# make_base ROOT: what every system has.
make_base()
{
	local root=$1 applet
	mkdir -p "$root"/{bin,usr/sbin,etc,boot,dev/disk/by-uuid,dev/disk/by-partuuid,var/lib/blkferry-agent,tmp}
	cp "$(command -v busybox)" "$root/bin/busybox"
	for applet in sh cat grep sed tr mv; do
		ln -s busybox "$root/bin/$applet"
	done
}

# make_kernel ROOT VERSION IMAGE: with the drivers of Xen and KVM as modules; its image has only ahci.
make_kernel()
{
	local root=$1 version=$2 image=$3
	echo kernel >"$root/boot/vmlinuz-$version"
	put "$root" "/boot/config-$version" <<-END
		CONFIG_XEN_PVHVM=y
		CONFIG_XEN_BLKDEV_FRONTEND=m
		CONFIG_XEN_NETDEV_FRONTEND=m
		CONFIG_VIRTIO_BLK=m
	END
	put "$root" "/lib/modules/$version/modules.builtin" <<-END
		kernel/drivers/virtio/virtio_pci.ko
	END
	put "$root" "/lib/modules/$version/modules.dep" <<-END
		kernel/drivers/block/xen-blkfront.ko.xz:
		kernel/drivers/net/xen-netfront.ko.xz:
		kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio.ko.xz
		kernel/drivers/scsi/virtio_scsi.ko.xz:
		kernel/drivers/net/virtio_net.ko.xz:
		kernel/drivers/ata/ahci.ko.xz:
	END
	echo "usr/lib/modules/$version/kernel/drivers/ata/ahci.ko" >"$root/boot/$image"
}

# make_nic ROOT NAME MAC
make_nic()
{
	local folder=$1/sys/class/net/$2
	mkdir -p "$folder/device"
	echo "$3" >"$folder/address"
}

# make_node ROOT NAME UUID [PARTUUID]
make_node()
{
	: >"$1/dev/$2"
	[ -z "$3" ] || ln -s "../../$2" "$1/dev/disk/by-uuid/$3"
	[ -z "${4:-}" ] || ln -s "../../$2" "$1/dev/disk/by-partuuid/$4"
}

# Debian 12 on BIOS: ext4, GRUB, initramfs-tools, ifupdown; two kernels; everything by name.
make_debian()
{
	local root=$1 kernel
	make_base "$root"
	for kernel in 6.1.0-50-amd64 6.1.0-56-amd64; do
		make_kernel "$root" "$kernel" "initrd.img-$kernel"
	done
	put_program "$root" /usr/sbin/update-initramfs <<-'END'
		#!/bin/sh
		# -u -k VERSION
		[ "$1 $2" = "-u -k" ] || exit 2
		[ ! -e /etc/build-fails ] || { echo "no space left" >&2; exit 1; }
		sed -n "s|^\([a-z]\)|usr/lib/modules/$3/kernel/drivers/\1|p" /etc/initramfs-tools/modules |
			sed 's|$|.ko|' >"/boot/initrd.img-$3.new"
		cat /etc/initramfs-tools/conf.d/resume >>"/boot/initrd.img-$3.new"
		mv "/boot/initrd.img-$3.new" "/boot/initrd.img-$3"
	END
	put_program "$root" /usr/sbin/lsinitramfs <<-'END'
		#!/bin/sh
		cat "$1"
	END
	put "$root" /etc/initramfs-tools/modules <<-END
		# List of modules
		ahci
	END
	echo RESUME=/dev/sda5 | put "$root" /etc/initramfs-tools/conf.d/resume
	put "$root" /etc/fstab <<-END
		# <file system> <mount point>  <type> <options> <dump> <pass>
		/dev/sda1	/	ext4	errors=remount-ro	0 1
		/dev/sda5 none            swap    sw              0       0
		UUID=0b9f2e6c-0000-4000-8000-00000000000b /srv	ext4 defaults 0 2
		/dev/sdb1 /backup ext4 noauto 0 0
		/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0
		/dev/mapper/vg0-data /data xfs defaults 0 0
	END
	make_node "$root" sda1 3a8c1c7e-0000-4000-8000-000000000001
	make_node "$root" sda5 5f00aa11-0000-4000-8000-000000000005
	make_node "$root" sdc1 0b9f2e6c-0000-4000-8000-00000000000b
	put "$root" /etc/default/grub <<-'END'
		GRUB_DEFAULT=0
		GRUB_TIMEOUT=5
		GRUB_CMDLINE_LINUX_DEFAULT="quiet resume=/dev/sda5"
		GRUB_CMDLINE_LINUX=""
		GRUB_DISABLE_LINUX_UUID=true
	END
	put "$root" /boot/grub/grub.cfg <<-'END'
		set default="0"
		menuentry 'Debian GNU/Linux' --class debian {
			search --no-floppy --fs-uuid --set=root 3a8c1c7e-0000-4000-8000-000000000001
			echo	'Loading Linux 6.1.0-56-amd64 ...'
			linux	/boot/vmlinuz-6.1.0-56-amd64 root=/dev/sda1 ro  quiet resume=/dev/sda5
			initrd	/boot/initrd.img-6.1.0-56-amd64
		}
		menuentry 'Memory test' {
			linux16	/boot/memtest86+.bin
		}
	END
	put "$root" /etc/network/interfaces <<-END
		source /etc/network/interfaces.d/*
		auto lo
		iface lo inet loopback
		allow-hotplug ens192
		iface ens192 inet static
			address 192.0.2.10/24
			gateway 192.0.2.1
	END
	make_nic "$root" ens192 00:50:56:01:02:03
	mkdir -p "$root/etc/udev/rules.d"
	printf '0.0 0 0.0\n0\nLOCAL\n' | put "$root" /etc/adjtime
	: | put "$root" /usr/bin/vmtoolsd
}

# Enterprise Linux 9 on UEFI: LVM, XFS, dracut, NetworkManager, entries of the boot loader specification.
make_el9()
{
	local root=$1 kernel=5.14.0-427.el9.x86_64
	make_base "$root"
	make_kernel "$root" $kernel initramfs-$kernel.img
	echo kernel >"$root/boot/vmlinuz-0-rescue-0123456789abcdef"
	echo "usr/lib/modules/$kernel/kernel/drivers/block/xen-blkfront.ko.xz" \
		>"$root/boot/initramfs-0-rescue-0123456789abcdef.img"
	put_program "$root" /usr/sbin/dracut <<-'END'
		#!/bin/sh
		# --force IMAGE VERSION
		[ "$1" = --force ] || exit 2
		cat /etc/dracut.conf.d/*.conf | grep -o '[a-z]*-[a-z]*front' |
			sed "s|.*|-rw-r--r-- 1 root root 9 Jan 1 1970 usr/lib/modules/$3/kernel/drivers/&.ko.xz|" >"$2"
	END
	put_program "$root" /usr/sbin/lsinitrd <<-'END'
		#!/bin/sh
		cat "$1"
	END
	put "$root" /etc/fstab <<-END
		/dev/mapper/rl-root     /                       xfs     defaults        0 0
		UUID=7D3C-0A12          /boot/efi               vfat    umask=0077,shortname=winnt 0 2
		/dev/mapper/rl-swap     none                    swap    defaults        0 0
	END
	make_node "$root" nvme0n1p1 7D3C-0A12
	put "$root" /etc/crypttab <<-END
		luks-data /dev/disk/by-id/nvme-VMware_1-part3 none luks,discard
		luks-tpm UUID=11111111-0000-4000-8000-000000000001 none tpm2-device=auto
	END
	make_node "$root" nvme0n1p3 22222222-0000-4000-8000-000000000003
	mkdir -p "$root/dev/disk/by-id"
	ln -s ../../nvme0n1p3 "$root/dev/disk/by-id/nvme-VMware_1-part3"
	put "$root" /etc/lvm/devices/system.devices <<-END
		# LVM uses devices listed in this file.
		VERSION=1.1.2
		IDTYPE=sys_wwid IDNAME=nvme.15ad-564d DEVNAME=/dev/nvme0n1p2 PVID=abc PART=2
	END
	put "$root" /boot/loader/entries/0123-$kernel.conf <<-END
		title Rocky Linux (5.14.0) 9.4
		linux /vmlinuz-$kernel
		initrd /initramfs-$kernel.img
		options root=/dev/mapper/rl-root ro crashkernel=1G rd.lvm.lv=rl/root
	END
	put "$root" /etc/default/grub <<-'END'
		GRUB_CMDLINE_LINUX="crashkernel=1G rd.lvm.lv=rl/root"
		GRUB_ENABLE_BLSCFG=true
	END
	put "$root" /etc/NetworkManager/system-connections/ens224.nmconnection <<-END
		[connection]
		id=ens224
		type=ethernet
		interface-name=ens224

		[ipv4]
		method=manual
		address1=192.0.2.20/24,192.0.2.1
	END
	make_nic "$root" ens224 00:50:56:0a:0b:0c
	mkdir -p "$root/sys/firmware/efi"
	echo shim | put "$root" /boot/efi/EFI/rocky/shimx64.efi
	echo grub | put "$root" /boot/efi/EFI/rocky/grubx64.efi
	# Of a kernel's own environment block, 1024 bytes long.
	printf '%-1024s' "# GRUB Environment Block
kernelopts=root=/dev/nvme0n1p3 ro
" | tr ' ' '#' | sed '1s/#GRUB#/ GRUB /; s/#ro/ ro/; s/Environment#/Environment /' |
		put "$root" /boot/grub2/grubenv
}

# btrfs and systemd-networkd, all of it by UUID and by pattern: nothing to complain about but the drivers.
make_btrfs()
{
	local root=$1 kernel=6.12.0-1-amd64
	make_base "$root"
	make_kernel "$root" $kernel initrd.img-$kernel
	cp "$root/lib/modules/$kernel/modules.dep" "$root/lib/modules/$kernel/modules.builtin"
	put "$root" /etc/fstab <<-END
		UUID=99999999-0000-4000-8000-000000000001 / btrfs subvol=@ 0 0
		UUID=99999999-0000-4000-8000-000000000001 /home btrfs subvol=@home 0 0
	END
	make_node "$root" vda2 99999999-0000-4000-8000-000000000001
	put "$root" /boot/grub/grub.cfg <<-END
		linux /vmlinuz-$kernel root=UUID=99999999-0000-4000-8000-000000000001 console=ttyS0,115200
	END
	put "$root" /etc/systemd/network/20-wired.network <<-END
		[Match]
		Name=en* eth*
		[Network]
		DHCP=yes
	END
	make_nic "$root" enp1s0 52:54:00:00:00:01
}
