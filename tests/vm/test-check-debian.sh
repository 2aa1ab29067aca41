#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# blkferry-agent check on a real Debian 12 tree (debootstrap): an initramfs without Xen's drivers is found, really
# built again by --fix, looked into with Debian's own lsinitramfs, and --undo puts every byte back.
. "$(dirname "$0")/../functions.sh"
requires debootstrap jq
[ "$(id -u)" = 0 ] || skip "needs root"

VM_CACHE=${VM_CACHE:-$BUILD/vm}
cache=$VM_CACHE/debian-12.tar
root=$T/root
mkdir -p "$root" "$VM_CACHE"

say "a Debian 12 tree"
if [ ! -s "$cache" ]; then
	debootstrap --variant=minbase --include=initramfs-tools,linux-image-cloud-amd64,udev,zstd \
		bookworm "$root" >"$T/debootstrap.log" 2>&1 || skip "debootstrap: $(tail -n 1 "$T/debootstrap.log")"
	tar -C "$root" --exclude=./proc/* --exclude=./sys/* -cf "$cache.new" . && mv "$cache.new" "$cache"
else
	tar -C "$root" -xpf "$cache"
fi
mkdir -p "$root/var/lib/blkferry-agent"
image=$(echo "$root"/boot/initrd.img-*)
[ -s "$image" ] || fail "there is no initramfs in $root/boot"

# holds MODULE: is it in the initramfs, as Debian's own tool sees it?
holds()
{
	chroot "$root" lsinitramfs "${image#"$root"}" >"$T/listing"
	grep -q "/$1\.ko" "$T/listing"
}

check()
{
	local wanted=$1 status=0
	shift
	blkferry-agent check --root "$root" --json "$@" >"$T/report" 2>"$T/check.log" || status=$?
	[ "$status" = "$wanted" ] || fail "exit status $status, not $wanted: $(cat "$T/check.log" "$T/report")"
}

tree()
{
	(cd "$root" && find . -xdev -type f -printf '%p %m %U:%G %s %T@ ' -exec sha256sum {} + | sort)
}

say "as it is installed (MODULES=most) it is ready for both"
printf 'UUID=3a8c1c7e-0000-4000-8000-000000000001 / ext4 defaults 0 1\n' >"$root/etc/fstab"
check 0
check 0 --target kvm

say "with MODULES=list it is not"
sed -i 's/^MODULES=.*/MODULES=list/' "$root/etc/initramfs-tools/initramfs.conf"
chroot "$root" update-initramfs -u -k all >"$T/update.log" 2>&1 || fail "update-initramfs"
! holds xen-blkfront || fail "the driver is still there: this tests nothing"
tree >"$T/before"
check 3
jq -e 'any(.findings[]; .id == "initramfs-driver" and .severity == "error" and .fixable)' "$T/report" >/dev/null ||
	fail "$(cat "$T/report")"

say "--fix builds it again"
check 0 --fix
holds xen-blkfront || fail "xen-blkfront is not in it"
holds xen-netfront || fail "xen-netfront is not in it"
check 0 --fix --target kvm
holds virtio_blk || fail "virtio_blk is not in it"
chroot "$root" update-initramfs -u -k all >>"$T/update.log" 2>&1 || fail "update-initramfs"
holds xen-blkfront || fail "xen-blkfront does not survive the next update-initramfs"

say "an image that somebody else built since stays; the rest is put back"
check 0 --undo
! grep -q xen "$root/etc/initramfs-tools/modules" || fail "the list of modules is not as before"
chroot "$root" update-initramfs -u -k all >>"$T/update.log" 2>&1 || fail "update-initramfs"

say "--fix and --undo leave every byte as it was"
tree >"$T/before"
check 0 --fix
check 0 --undo
tree >"$T/after"
diff -u "$T/before" "$T/after" >"$T/tree.diff" || fail "$(head -n 20 "$T/tree.diff")"
