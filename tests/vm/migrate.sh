# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# The whole move of a Debian machine, web1, in steps that the tests put together:
#
#   source (QEMU): PostgreSQL, counters --> file systems --> disks --> agent, from our package
#       ==TLS over QEMU's user network==> receiver on this machine --> storage/web1/diskN.raw
#                     |test-boot: a view, in QEMU                        |cutover: the target, in QEMU
#
#   LAYOUT=ext4               see install-debian.sh
#   DISK_OPTIONS=OPTION=VALUE,...  of QEMU's disks, for all of them
#   SOURCE_KINDS, TARGET_KINDS     arrays: what the disks hang on
#
# The target's disks are layers over the replica, which stays as the cutover left it, to be compared with the source's.

. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"
requires dpkg-deb

LAYOUT=ext4
DISK_OPTIONS=
ENROLL_OPTIONS=--no-initramfs # or empty: the source builds its initramfs, for restarts without a comparison
SOURCE_KINDS=(virtio-blk)
TARGET_KINDS=(virtio-blk)
PACKAGE=$(find "$BUILD/packages/deb" -name 'blkferry-agent_*.deb' 2>/dev/null | head -n 1)
[ -n "$PACKAGE" ] || skip "there is no package of the agent: make deb"
[ "$PACKAGE" -nt "$BUILD/blkferry-agent" ] || fail "$PACKAGE is older than the agent: make deb"

# make_source_disks: sets SOURCE_DISKS to new disks over the images of LAYOUT
make_source_disks()
{
	local number image
	make_debian "$LAYOUT" "$DISK_OPTIONS"
	SOURCE_DISKS=()
	for image in "$DEBIAN"/disk?.img; do
		number=${#SOURCE_DISKS[@]}
		qemu-img create -q -f qcow2 -b "$image" -F raw "$T/source$number.qcow2"
		SOURCE_DISKS+=("${SOURCE_KINDS[number]}${DISK_OPTIONS:+,$DISK_OPTIONS}:$T/source$number.qcow2")
	done
}

# start_source: boots it from new disks, and puts it to work
start_source()
{
	make_source_disks
	boot_source
	put_file source "$VM/guest-work.sh" /usr/local/bin/guest-work
	put_file source "$BUILD/tests/tools/counters" /usr/local/bin/counters
	in_machine source 'systemctl is-system-running --wait >/dev/null' || fail "$(in_machine source 'systemctl --failed')"
	in_machine source 'guest-work prepare' || fail "the database cannot be made"
	in_machine source 'guest-work start'
	wait_for 120 '[ "$(acknowledged counters)" -gt 3 ] && [ "$(acknowledged promised)" -gt 3 ]' "the source's work"
	say "the source works: $(in_machine source 'uname -r; findmnt -no SOURCE,FSTYPE /' | tr '\n' ' ')"
}

# boot_source: again, from the same disks
boot_source()
{
	boot_machine source "${SOURCE_DISKS[@]}"
	wait_for_machine source
}

# acknowledged counters|promised: the last number that the source said to be on disk
acknowledged()
{
	awk 'NF == 2 && $2 > 1000000000000000000 { last = $1 } END { print last + 0 }' "$T/source/$1"
}

# acknowledged_before TIME_NS counters|promised
acknowledged_before()
{
	# As text where numbers are too long for awk: all times have as many digits.
	awk -v time="$1" 'NF == 2 && length($2) == length(time) && $2 "" < time "" { last = $1 } END { print last + 0 }' "$T/source/$2"
}

# source_works: does the source still say new numbers? A look that may fail, for wait_for.
source_works()
{
	local counters promised
	counters=$(acknowledged counters)
	promised=$(acknowledged promised)
	wait_until 60 "[ \$(acknowledged counters) -gt $counters ] && [ \$(acknowledged promised) -gt $promised ]"
}

# install_agent [PACKAGE]: by apt, as an administrator does
install_agent()
{
	local package=${1:-$PACKAGE}
	put_file source "$package" /root/agent.deb
	in_machine source 'apt-get -qqy install /root/agent.deb 2>&1; rm /root/agent.deb; dpkg-query -W blkferry-agent | grep .' \
		>"$T/apt.log" || fail "apt-get install: $(tail -n 5 "$T/apt.log")"
	say "installed: $(tail -n 1 "$T/apt.log" | tr '\t' ' ')"
}

# check_readiness STATUS: would it start on KVM, by the agent's own judgement?
check_readiness()
{
	local status=0
	in_machine source 'blkferry-agent check --target kvm' >"$T/check.log" 2>&1 || status=$?
	[ "$status" = "$1" ] || fail "check: exit status $status instead of $1: $(cat "$T/check.log")"
	say "check: $(tail -n 1 "$T/check.log")"
}

# write_commands: what receiver.ini names: test-boot by the shipped example; the target, until its login prompt
write_commands()
{
	local more="-cpu Westmere" option machine number target=()
	more+=" -device virtio-serial-pci -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0"
	more+=" -chardev socket,id=agent,server=on,wait=off,path="
	[ "$FIRMWARE" != uefi ] || more="-bios /usr/share/ovmf/OVMF.fd $more"
	for option in ${DISK_OPTIONS//,/ }; do
		more="-global virtio-blk-device.$option $more"
	done
	cat >"$T/test-start" <<-END
		#!/bin/sh
		export ACCEL=tcg MEMORY=1024 QEMU_MORE="$more\$BLKFERRY_FOLDER/agent"
		echo "\$BLKFERRY_FOLDER" >$T/test-folder
		exec $TOP/packaging/examples/test-boot-qemu start
	END
	cat >"$T/test-check" <<-END
		#!/bin/sh
		cp \$BLKFERRY_FOLDER/console $T/test-console 2>/dev/null
		$TOP/packaging/examples/test-boot-qemu check login: &&
		$VM/guest_agent.py \$BLKFERRY_FOLDER/agent run "guest-work check \$(cat $T/at-least)" 2>&1
	END
	for number in "${!SOURCE_DISKS[@]}"; do
		target+=("${TARGET_KINDS[number]}${DISK_OPTIONS:+,$DISK_OPTIONS}:$T/target$number.qcow2")
	done
	PROCESSORS=1 describe_machine target "${target[@]}"
	# It is started by the receiver, which outlives it: found by its folder at the end of the test.
	{
		echo '#!/bin/bash'
		for number in "${!SOURCE_DISKS[@]}"; do
			printf 'qemu-img create -q -f qcow2 -b "$BLKFERRY_DISK%d_PATH" -F raw %s/target%d.qcow2 || exit 1\n' \
				"$number" "$T" "$number"
		done
		printf '%q ' "${machine[@]}" -daemonize -pidfile "$T/target/pid"
		printf '|| exit 1\nuntil grep -aq "login:" %s; do sleep 0.1; done\n' "$T/target/console"
	} >"$T/start-target"
	chmod 755 "$T/test-start" "$T/test-check" "$T/start-target"
}

# enroll_source [LINE...]: starts the receiver, and has the source enrolled with a token, as the installation says. LINEs
# are further keys of [agent].
enroll_source()
{
	local token
	write_commands
	start_receiver "journal-size = 1GiB" "[machine web1]" "start-command = $T/start-target" \
		"test-start-command = $T/test-start" "check-command = $T/test-check" "test-timeout = 600s"
	[ $# = 0 ] || in_machine source "printf '%s\n' '[agent]' $(printf "'%s' " "$@") >/etc/blkferry/agent.ini"
	token=$(ferry token web1 | grep -o 'bf1-[A-Za-z0-9_-]*')
	in_machine source "blkferry-agent enroll $ENROLL_OPTIONS 10.0.2.2:$RECEIVER_PORT $token && systemctl enable --now blkferry-agent" \
		>"$T/enroll.log" 2>&1 || fail "enroll: $(cat "$T/enroll.log")"
}

# wait_for_streaming WHAT
wait_for_streaming()
{
	wait_for 900 'is_streaming web1 || ! machine_lives source' "streaming $1"
	machine_lives source || fail "the source ended before it streams $1"
	[ "$(status web1 .agent.tracker)" = bpf ] || fail "the tracker is $(status web1 .agent.tracker)"
	say "streaming $1: sent $(status web1 '"\(.sent_bytes) bytes, \(.wire_bytes) on the wire; gaps: \(.gaps.count)"')"
}

# agent_log: what the agent said since the last call, by the source's journal
agent_log()
{
	in_machine source 'journalctl --no-pager -o cat -u blkferry-agent --cursor-file=/run/agent-cursor'
}

# upgrade_agent: to a next version, while it streams: nothing is copied or compared again
upgrade_agent()
{
	local pid
	rm -rf "$T/repack"
	dpkg-deb -R "$PACKAGE" "$T/repack"
	sed -i 's/^Version: .*/&+next/' "$T/repack/DEBIAN/control"
	dpkg-deb --root-owner-group -b "$T/repack" "$T/next.deb" >/dev/null
	agent_log >/dev/null
	pid=$(in_machine source 'systemctl show -p MainPID --value blkferry-agent')
	install_agent "$T/next.deb"
	grep -q '+next$' "$T/apt.log" || fail "not upgraded: $(cat "$T/apt.log")"
	[ "$(in_machine source 'systemctl show -p MainPID --value blkferry-agent')" != "$pid" ] || fail "the old agent runs on"
	wait_for_streaming "after the upgrade"
	agent_log >"$T/upgrade.log"
	! grep -E 'comparing|copying it in full|begins anew|gap' "$T/upgrade.log" || fail "the upgrade cost a comparison"
	grep -q 'the stream goes on' "$T/upgrade.log" || fail "the stream did not go on: $(cat "$T/upgrade.log")"
	source_works || fail "the source stands still after the upgrade"
}

# test_boot: the newest checkpoint starts in QEMU, and has what was acknowledged before its time
test_boot()
{
	local number time status=0
	source_works || fail "the source stands still"
	read -r number time < <(ferry points web1 --json | jq -r '.[-1] | "\(.number) \(.time_ns)"')
	echo "$(acknowledged_before "$time" counters) $(acknowledged_before "$time" promised)" >"$T/at-least"
	say "test-boot of checkpoint #$number, which must have counters, transactions up to $(cat "$T/at-least")"
	ferry test-boot web1 --at "#$number" >"$T/test-boot.log" 2>&1 || status=$?
	[ "$status" = 0 ] || fail "test-boot: exit status $status: $(tail -n 3 "$T/test-boot.log"; tail -n 5 "$T/test-console")"
	say "$(tail -n 1 "$T/test-boot.log")"
	! tr -d '\r' <"$T/test-console" | grep -aE "$COMPLAINTS" || fail "its kernel complained"
	source_works || fail "the source stands still after the test-boot"
	wait_for_streaming "after the test-boot"
}

# cut_over: the source switches itself off, the target comes up to its login prompt
cut_over()
{
	local result
	in_machine source 'blkferry-agent check --target kvm >/dev/null; dmesg' >"$T/source-dmesg.log"
	! grep -E "$COMPLAINTS" "$T/source-dmesg.log" || fail "the source's kernel complained"
	wait_for_streaming "before the cutover"
	ferry cutover web1 --fence poweroff --timeout 120 --json >"$T/cutover.log" 2>&1 || fail "cutover: $(tail -n 3 "$T/cutover.log")"
	result=$(tail -n 1 "$T/cutover.log")
	say "cutover: $(jq -c '[.steps[] | {(.step): .ms}] | add' <<<"$result")"
	say "RESULT $TEST_NAME: data downtime $(jq .data_downtime_ms <<<"$result") ms, to login $(jq .downtime_ms <<<"$result") ms"
	wait_for_power_off source
	MACHINE_PIDS[target]=$(cat "$T/target/pid")
}

# look_at_target: it came up by itself, with everything that was acknowledged
look_at_target()
{
	local counters promised
	counters=$(acknowledged counters)
	promised=$(acknowledged promised)
	wait_for_machine target
	in_machine target 'systemctl is-system-running --wait >/dev/null' || fail "services failed: $(in_machine target 'systemctl --failed')"
	in_machine target "guest-work check $counters $promised" >"$T/look.log" 2>&1 || fail "the target: $(cat "$T/look.log")"
	say "the target: $(tail -n 1 "$T/look.log")"
	[ "$(in_machine target 'swapon --show=NAME --noheadings' | wc -l)" -ge 1 ] || fail "no swap"
	# What was frozen has no journal to replay. (XFS logs its recovery always.)
	! machine_said target 'EXT4-fs.*recovery|BTRFS.*log replay' ||
		fail "a journal was replayed: $(grep -aE 'recovery|replay' "$T/target/console")"
	check_machine_log target
	ask_to_stop target
	wait_for 300 '! machine_lives target' "the target's end"
	machine_said target 'reboot: Power down' || fail "the target did not stop in order"
	check_machine_log target
}

# compare_disks: source and replica by others than blkferry. With allocated-only = no every byte is the same.
compare_disks()
{
	local number
	for number in "${!SOURCE_DISKS[@]}"; do
		qemu-img compare -U -f qcow2 -F raw "$T/source$number.qcow2" "$(status web1 ".disks[$number].path")" ||
			fail "disk $number differs"
	done
}

# check_filesystems: by their own tools, in a machine of its own
check_filesystems()
{
	local number disks=()
	for number in "${!SOURCE_DISKS[@]}"; do
		qemu-img create -q -f qcow2 -b "$(status web1 ".disks[$number].path")" -F raw "$T/rescue$number.qcow2"
		disks+=("virtio-blk${DISK_OPTIONS:+,$DISK_OPTIONS}:$T/rescue$number.qcow2")
	done
	boot_tree rescue "${disks[@]}"
	put_file rescue "$VM/check-filesystems.sh" /run/check-filesystems
	in_machine rescue 'sh /run/check-filesystems' >"$T/filesystems.log" 2>&1 || fail "file systems: $(cat "$T/filesystems.log")"
	say "file systems are clean: $(tail -n 1 "$T/filesystems.log")"
	stop_machine rescue
}

# migrate: the variants' short form
migrate()
{
	start_source
	install_agent
	check_readiness 0
	migrate_ready_source
}

# migrate_ready_source: the rest of it, of a source that is installed and has nothing left to fix
migrate_ready_source()
{
	enroll_source "allocated-only = no"
	wait_for_streaming "after the first copy"
	test_boot
	cut_over
	look_at_target
	compare_disks
	check_filesystems
}
