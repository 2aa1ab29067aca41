#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# blkferry-agent check on made-up systems: what it finds, what --fix changes, that --undo puts every byte back,
# and that nothing is lost when either is interrupted.

. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/../check-fixtures.sh"
requires ROOT busybox jq
file -b "$(command -v busybox)" 2>/dev/null | grep -q 'statically linked' || skip "busybox is not static"

# check ROOT WANTED_STATUS [OPTION...]: runs it; the report is in $T/report.
check()
{
	local root=$1 wanted=$2 status=0
	shift 2
	blkferry-agent check --root "$root" --json "$@" >"$T/report" 2>"$T/check.log" || status=$?
	[ "$status" = "$wanted" ] || fail "exit status $status, not $wanted: $(cat "$T/check.log" "$T/report")"
}

# found SEVERITY ID SUBJECT: is that finding in the report?
found()
{
	jq -e --arg severity "$1" --arg id "$2" --arg subject "$3" 'any(.findings[];
		.severity == $severity and .id == $id and .subject == $subject)' "$T/report" >/dev/null
}

must_find()
{
	found "$@" || fail "not found: $* in $(jq -c '.findings[] | [.severity, .id, .subject]' "$T/report")"
}

# tree ROOT: everything that is in it, in one line each: the contents, owner, mode, time, links.
tree()
{
	(
		cd "$1"
		find . ! -type d -printf '%p %y %m %U:%G %s %T@ %l\n' -o -type d -printf '%p %y %m %U:%G\n' | sort
		find . -type f -print0 | sort -z | xargs -0 sha256sum
	)
}

same_tree()
{
	tree "$1" >"$T/now"
	diff -u "$2" "$T/now" >"$T/tree.diff" || fail "$3: $(head -n 20 "$T/tree.diff")"
}

say "Debian: what is found"
root=$T/debian
make_debian "$root"
tree "$root" >"$T/debian.tree"
check "$root" 3
same_tree "$root" "$T/debian.tree" "a look changed something"
must_find error initramfs-driver 6.1.0-50-amd64
must_find error initramfs-driver 6.1.0-56-amd64
must_find error fstab-device /etc/fstab:2
must_find warning fstab-device /etc/fstab:3
must_find warning fstab-device /etc/fstab:5
must_find error boot-root /boot/grub/grub.cfg
must_find warning boot-resume /etc/default/grub
must_find warning grub-uuid /etc/default/grub
must_find warning resume-device /etc/initramfs-tools/conf.d/resume
must_find error network-name /etc/network/interfaces
must_find warning clock-local /etc/adjtime
must_find info console-serial "kernel command line"
must_find info vendor-tools /usr/bin/vmtoolsd
for line in 4 6 7; do
	! found warning fstab-device "/etc/fstab:$line" && ! found error fstab-device "/etc/fstab:$line" ||
		fail "/etc/fstab:$line is right as it is"
done

say "Debian: --fix"
check "$root" 0 --fix
[ "$(jq '.counts.error' "$T/report")" = 0 ] || fail "errors are left"
must_find warning fstab-device /etc/fstab:5
grep -q '^UUID=3a8c1c7e-0000-4000-8000-000000000001	/	ext4	errors=remount-ro	0 1$' "$root/etc/fstab" ||
	fail "fstab: $(cat "$root/etc/fstab")"
grep -q 'root=UUID=3a8c1c7e-0000-4000-8000-000000000001 ro  quiet resume=UUID=5f00aa11-0000-4000-8000-000000000005 console=ttyS0,115200 console=tty0$' \
	"$root/boot/grub/grub.cfg" || fail "grub.cfg: $(cat "$root/boot/grub/grub.cfg")"
grep -qx 'linux16	/boot/memtest86+.bin' "$root/boot/grub/grub.cfg" || fail "the memory test got arguments"
grep -qx 'GRUB_CMDLINE_LINUX="console=ttyS0,115200 console=tty0"' "$root/etc/default/grub" ||
	fail "defaults: $(cat "$root/etc/default/grub")"
for kernel in 6.1.0-50-amd64 6.1.0-56-amd64; do
	for what in xen-blkfront xen-netfront RESUME=UUID=5f00aa11; do
		grep -q "$what" "$root/boot/initrd.img-$kernel" || fail "no $what in the initramfs of $kernel"
	done
done
grep -q 'ATTR{address}=="00:50:56:01:02:03".*NAME="ens192"$' "$root/etc/udev/rules.d/70-blkferry-net.rules" ||
	fail "the card's name is not bound"

say "Debian: --fix again changes nothing"
tree "$root" >"$T/fixed.tree"
check "$root" 0 --fix
[ "$(jq '.changes | length' "$T/report")" = 0 ] || fail "changed again: $(jq -c .changes "$T/report")"
same_tree "$root" "$T/fixed.tree" "a second --fix changed something"

say "Debian: --undo"
check "$root" 0 --undo
same_tree "$root" "$T/debian.tree" "not as before"
check "$root" 1 --undo
grep -q "nothing to undo" "$T/check.log" || fail "$(cat "$T/check.log")"

say "Debian: a failed build, then another fix for the other target, then one --undo for both"
: >"$root/etc/build-fails"
tree "$root" >"$T/fails.tree"
check "$root" 1 --fix
grep -q "update-initramfs failed.*no space left" "$T/check.log" || fail "$(cat "$T/check.log")"
grep -q ahci "$root/boot/initrd.img-6.1.0-56-amd64" || fail "the old image is gone"
check "$root" 0 --undo
same_tree "$root" "$T/fails.tree" "not as before the failed build"
rm "$root/etc/build-fails"
check "$root" 0 --fix
check "$root" 0 --fix --target kvm
for what in xen-blkfront virtio_blk; do
	grep -q "$what" "$root/boot/initrd.img-6.1.0-56-amd64" || fail "no $what"
done
check "$root" 0 --undo
same_tree "$root" "$T/debian.tree" "not as before both"

say "Debian: what somebody else changed since stays"
check "$root" 0 --fix
echo "# mine" >>"$root/etc/fstab"
check "$root" 1 --undo
grep -q "changed by somebody else" "$T/check.log" || fail "$(cat "$T/check.log")"
grep -q "# mine" "$root/etc/fstab" || fail "undone over somebody's change"
grep -q "root=/dev/sda1" "$root/boot/grub/grub.cfg" || fail "the rest was not put back"
saved=$root/var/lib/blkferry-agent/readiness/saved/$(printf %04d "$(jq '.entries[] |
	select(.path == "/etc/fstab") | .saved' "$root/var/lib/blkferry-agent/readiness/manifest.json")")
cp -p "$saved" "$root/etc/fstab"
check "$root" 0 --undo
same_tree "$root" "$T/debian.tree" "not as before"

say "EL9: what is found"
root=$T/el9
make_el9 "$root"
tree "$root" >"$T/el9.tree"
check "$root" 3
must_find error initramfs-driver 5.14.0-427.el9.x86_64
must_find error lvm-devices /etc/lvm/devices/system.devices
must_find error crypttab-device /etc/crypttab:1
must_find warning crypttab-tpm /etc/crypttab:2
must_find error network-name /etc/NetworkManager/system-connections/ens224.nmconnection
must_find error uefi-fallback /boot/efi/EFI
must_find info uefi UEFI
must_find error boot-root /boot/grub2/grubenv
! found warning initramfs-driver 0-rescue-0123456789abcdef || fail "the rescue image has the driver"

say "EL9: --fix and --undo"
check "$root" 0 --fix
cmp "$root/boot/efi/EFI/BOOT/BOOTX64.EFI" "$root/boot/efi/EFI/rocky/shimx64.efi" || fail "no fallback loader"
cmp "$root/boot/efi/EFI/BOOT/grubx64.efi" "$root/boot/efi/EFI/rocky/grubx64.efi" || fail "no GRUB beside it"
[ ! -e "$root/etc/lvm/devices/system.devices" ] || fail "the list of devices is still there"
grep -q '^luks-data UUID=22222222-0000-4000-8000-000000000003 none luks,discard$' "$root/etc/crypttab" ||
	fail "crypttab: $(cat "$root/etc/crypttab")"
grep -q 'options root=/dev/mapper/rl-root .*console=tty0$' "$root"/boot/loader/entries/*.conf || fail "no console"
[ "$(stat -c %s "$root/boot/grub2/grubenv")" = 1024 ] || fail "the environment block is not 1024 bytes"
grep -q 'kernelopts=root=UUID=22222222-0000-4000-8000-000000000003 ro' "$root/boot/grub2/grubenv" ||
	fail "grubenv: $(cat "$root/boot/grub2/grubenv")"
for what in xen-blkfront xen-netfront; do
	grep -q "$what" "$root/boot/initramfs-5.14.0-427.el9.x86_64.img" || fail "no $what in the image"
done
[ -z "$(find "$root/boot" -name '.blkferry*')" ] || fail "something was left in /boot"
check "$root" 0 --undo
same_tree "$root" "$T/el9.tree" "not as before"

say "btrfs: nothing to do"
root=$T/btrfs
make_btrfs "$root"
tree "$root" >"$T/btrfs.tree"
check "$root" 0
[ "$(jq '.counts.error + .counts.warning' "$T/report")" = 0 ] || fail "$(cat "$T/report")"
check "$root" 0 --fix
same_tree "$root" "$T/btrfs.tree" "changed something"

say "a kernel without an initramfs: the root by PARTUUID, which the kernel itself understands"
root=$T/bare
make_base "$root"
make_kernel "$root" 6.1.99 initrd.img-6.1.99
rm "$root/boot/initrd.img-6.1.99"
echo kernel/drivers/block/xen-blkfront.ko | put "$root" /lib/modules/6.1.99/modules.builtin
make_node "$root" sda1 3a8c1c7e-0000-4000-8000-000000000001 deadbeef-01
echo "linux /vmlinuz root=/dev/sda1 ro" | put "$root" /boot/grub/grub.cfg
echo GRUB_CMDLINE_LINUX=quiet | put "$root" /etc/default/grub
check "$root" 0 --fix
grep -qx 'linux /vmlinuz root=PARTUUID=deadbeef-01 ro console=ttyS0,115200 console=tty0' "$root/boot/grub/grub.cfg" ||
	fail "$(cat "$root/boot/grub/grub.cfg")"
grep -qx 'GRUB_CMDLINE_LINUX="quiet console=ttyS0,115200 console=tty0"' "$root/etc/default/grub" ||
	fail "$(cat "$root/etc/default/grub")"

say "killed anywhere in --fix: --undo puts everything back"
root=$T/killed
make_debian "$root"
tree "$root" >"$T/killed.tree"
kills=0
for step in fsync rename mkdir; do
	for number in 1 2 3 5 8 13 21; do
		command -v strace >/dev/null || break 2
		status=0
		{ strace -qq -o /dev/null -e trace="$step" -e inject="$step:signal=KILL:when=$number" \
			blkferry-agent check --root "$root" --fix || status=$?; } >/dev/null 2>&1
		[ "$status" != 137 ] || kills=$((kills + 1))
		status=0
		blkferry-agent check --root "$root" --undo >"$T/undo.log" 2>&1 || status=$?
		[ "$status" = 0 ] || grep -q "nothing to undo" "$T/undo.log" || fail "$(cat "$T/undo.log")"
		find "$root" -name '.blkferry-??????' -delete
		same_tree "$root" "$T/killed.tree" "not as before the kill at $step $number"
	done
done

! command -v strace >/dev/null || [ "$kills" -ge 10 ] || fail "killed $kills times only"

say "a link out of the tree is followed inside it"
echo secret >"$T/outside"
ln -sf "$T/outside" "$root/etc/fstab"
check "$root" 0 --fix
[ "$(cat "$T/outside")" = secret ] || fail "a file outside was changed"

say "wrong usage"
check "$root" 2 --target hyperv
check "$root" 2 --fix --undo
check "$T/nowhere" 1
