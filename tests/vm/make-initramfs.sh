#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes the initramfs of a guest: busybox, kernel modules, programs of this machine with their libraries,
# and guest-init.sh as /init.
#
# Usage: tests/vm/make-initramfs.sh KERNEL_FOLDER OUT FILE:DESTINATION...
#   KERNEL_FOLDER  as get-kernel.sh printed it
#   FILE           a program or any file; libraries that a program needs come along
set -euo pipefail

kernel=$1 out=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
# In the order in which they are loaded. What a kernel has built in is left out by itself.
modules="crc32c_generic virtio_pci virtio_rng virtio_net virtio_blk virtio_scsi sd_mod nvme ext4"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,etc,dev,proc,sys,run,tmp,data,modules,lib64}
cp -L "$(command -v busybox)" "$root/bin/busybox"
cp "$here/guest-init.sh" "$root/init"
chmod 755 "$root/init"

add_modules()
{
	local release module path name
	release=$(cat "$kernel/release")
	for module in $modules; do
		modprobe -d "$kernel" -S "$release" --show-depends "$module" 2>/dev/null || true
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r path; do
		name=$(basename "$path")
		name=${name%.ko*}.ko
		case $path in
		*.xz) xz -dc "$path" ;;
		*.zst) zstd -qdc "$path" ;;
		*.gz) gzip -dc "$path" ;;
		*) cat "$path" ;;
		esac >"$root/modules/$name"
		echo "$name"
	done >"$root/modules/list"
}

add_file()
{
	local file=$1 destination=$2 library
	mkdir -p "$root/$(dirname "$destination")"
	cp -L "$file" "$root/$destination"
	# To the very paths that the loader looks at, for this machine's libraries are the guest's.
	{ ldd "$file" 2>/dev/null || true; } | sed -n 's|^[^/]*\(/[^ ]*\).*|\1|p' | while read -r library; do
		mkdir -p "$root/$(dirname "$library")"
		[ -e "$root/$library" ] || cp -L "$library" "$root/$library"
	done
}

add_modules
for pair in "$@"; do
	add_file "${pair%%:*}" "${pair#*:}"
done
(cd "$root" && find . -mindepth 1 -printf '%P\n' | sort | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$out"
