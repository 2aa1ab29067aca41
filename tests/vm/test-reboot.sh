#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A Debian machine with PostgreSQL at work restarts in every way that there is. After an ordered one nothing is compared;
# after all others the disks are compared by digest, and status says why. Never a full copy, and verify finds the
# replica the same each time.
. "$(dirname "$0")/migrate.sh"

LAYOUT=ext4
ENROLL_OPTIONS=
[ "${KEEP_KERNEL:-}" = 1 ] || get_kernel trixie-security cloud-amd64 # to upgrade to

boot_id()
{
	timeout 8 "$VM/guest_agent.py" "$T/source/agent" run 'cat /proc/sys/kernel/random/boot_id' 2>/dev/null
}

# restarts COMMAND...: runs it, and waits until the source is up again
restarts()
{
	local before
	before=$(boot_id)
	"$@" >/dev/null 2>&1 || true
	wait_for 600 '[ -n "$(boot_id)" ] && [ "$(boot_id)" != "'"$before"'" ] || ! machine_lives source' "the restart"
	machine_lives source || fail "QEMU has ended: $(tail -n 3 "$T/source/qemu.log")"
}

# expect_start ORDERLY REGEX: what status says of it; then the source is put to work again, and all is the same
expect_start()
{
	local sent work
	wait_for_streaming "after the restart"
	say "status: $(status web1 '"\(.last_start.orderly) \(.last_start.text)"')"
	status web1 '"\(.last_start.orderly) \(.last_start.text)"' | grep -qE "^$1 .*$2" || {
		in_machine source 'dmesg | grep -i blkferry; journalctl --no-pager -b -u blkferry-agent | tail -n 30' || true
		tr -d '\r' <"$T/source/console" | grep -a blkferry | tail -n 8
		fail "wanted: $1 $2"
	}
	sent=$(status web1 .wire_bytes)
	[ "$sent" -lt $((128 << 20)) ] || fail "$sent bytes were sent: that is nearly a full copy"
	in_machine source 'journalctl --no-pager -o cat -b -u blkferry-agent' >"$T/agent-boot.log"
	if [ "$1" = true ]; then
		! grep -E 'comparing digests|copying it in full' "$T/agent-boot.log" || fail "it was compared all the same"
	else
		grep -q 'comparing digests' "$T/agent-boot.log" || fail "it was not compared"
	fi
	in_machine source 'systemctl is-system-running --wait' || fail "$(in_machine source 'systemctl --failed')"
	work=$(in_machine source "guest-work check 0 $(acknowledged promised)" 2>&1) || fail "the source lost something: $work"
	in_machine source 'guest-work start'
	source_works || fail "the source stands still"
	ferry verify web1 >"$T/verify.log" 2>&1 || fail "the replica differs: $(tail -n 3 "$T/verify.log")"
	ferry points web1 --json | jq -e "any(.number == $POINT)" >/dev/null || fail "checkpoint #$POINT is gone"
	check_machine_log source
}

start_source
install_agent
enroll_source
grep -q "no comparison" "$T/enroll.log" || fail "enroll did not set up restarts: $(cat "$T/enroll.log")"
wait_for_streaming "after the first copy"
ferry points web1 --json >"$T/points"
POINT=$(jq '.[-1].number' "$T/points")

say "an ordered reboot"
restarts in_machine source 'systemctl --no-block reboot'
expect_start true "restarted in order"

say "the agent restarts: the start of the machine is still what it was"
in_machine source 'systemctl restart blkferry-agent'
wait_for 120 '[ "$(status web1 .phase)" = streaming ]' "streaming"
[ "$(status web1 .last_start.orderly)" = true ] || fail "$(status web1 .last_start)"

say "reboot -f"
restarts in_machine source 'sync; (sleep 1; reboot -f) >/dev/null 2>&1 &'
expect_start false "no clean stop was recorded"

say "a reset"
restarts in_machine source 'echo b >/proc/sysrq-trigger'
expect_start false "no clean stop was recorded"

say "a kernel upgrade between two starts"
tar -C "$KERNEL" -chf "$T/kernel.tar" vmlinuz release lib/modules
put_file source "$T/kernel.tar" /root/kernel.tar
in_machine source 'set -e; cd /root; tar -xf kernel.tar; v=$(cat release); cp -r lib/modules/$v /lib/modules; cp vmlinuz /boot/vmlinuz-$v
	depmod $v; update-initramfs -c -k $v; update-grub; rm -r kernel.tar lib' >"$T/upgrade.log" 2>&1 ||
	fail "the kernel cannot be upgraded: $(tail -n 3 "$T/upgrade.log")"
restarts in_machine source 'systemctl --no-block reboot'
[ "$(in_machine source 'uname -r')" = "$(cat "$KERNEL/release")" ] || fail "it started $(in_machine source 'uname -r')"
expect_start true "restarted in order"

say "switched off, and on again"
stop_machine source
boot_source
expect_start true "restarted in order"

say "another system uses the disk while this one is off"
stop_machine source
boot_tree rescue "virtio-blk:$T/source0.qcow2"
in_machine rescue 'mount /dev/disk/by-id/virtio-rescue-0-part3 /mnt && dd if=/dev/urandom of=/mnt/var/tmp/other bs=4k count=1 conv=fsync &&
	umount /mnt' || fail "the rescue system cannot write"
stop_machine rescue
boot_source
expect_start false "was changed while this system was off"
stop_machine source
