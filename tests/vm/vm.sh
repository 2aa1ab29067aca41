# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the tests in real guest kernels share, on top of functions.sh:
#
#   guest (QEMU without KVM): writer -> ext4 -> vda1 -> vda -> agent
#       ==TLS over QEMU's user network (10.0.2.2)==> receiver on this machine -> nbdkit -> file
#
# The guest has no root file system but its initramfs (guest-init.sh), and nobody logs in: it does its
# work, and its console, kernel log included, is in $T/console-N.log, N counting the boots.
# Kernels are kept in $VM_CACHE. Emulated guests are slow and share this machine: deadlines are long.

. "$(dirname "${BASH_SOURCE[0]}")/../functions.sh"
# Not requires ROOT: that looks at this machine's kernel log, and here it is the guests' that matters.
[ "$(id -u)" = 0 ] || skip "needs root"
[ "$(uname -m)" = x86_64 ] || skip "guests are x86_64, and so have to be the programs that they run"
requires LOOP qemu-system-x86_64 qemu-img busybox cpio depmod xz zstd sfdisk mkfs.ext4 nbdkit jq

VM=$TOP/tests/vm
VM_CACHE=${VM_CACHE:-$BUILD/vm}
BOOTS=0
COMPLAINTS='WARNING:|BUG:|Oops|Kernel panic|INFO: task .* blocked|general protection|Call Trace:'

# get_kernel SUITE FLAVOUR: sets KERNEL to its folder (see get-kernel.sh).
get_kernel()
{
	local status=0
	KERNEL=$("$VM/get-kernel.sh" "$VM_CACHE" "$@" 2>"$T/kernel.log") || status=$?
	[ "$status" != 77 ] || skip "no kernel: $(tail -n 1 "$T/kernel.log")"
	[ "$status" = 0 ] || fail "get-kernel.sh $*: $(tail -n 1 "$T/kernel.log")"
	say "kernel $(cat "$KERNEL/release")"
}

# make_guest_disk SIZE FILLING_MIB: sets GUEST_DISK to an image with one partition, ext4 on it, and a file of
# random bytes there.
make_guest_disk()
{
	GUEST_DISK=$T/guest.img
	mkdir "$T/filling"
	head -c "$2M" /dev/urandom >"$T/filling/random"
	truncate -s "$1" "$GUEST_DISK"
	sfdisk --quiet "$GUEST_DISK" <<<$'label: gpt\nstart=2048, type=linux'
	mkfs.ext4 -q -F -d "$T/filling" -E offset=1048576 "$GUEST_DISK" \
		$((($(stat -c %s "$GUEST_DISK") - 2 * 1048576) / 1024))k
	rm -r "$T/filling"
}

# make_guest NAME [LINE...]: makes the initramfs with NAME's token and the agent's configuration; LINEs are
# further keys of [agent]. The receiver has to run.
make_guest()
{
	local name=$1 program programs=()
	shift
	ferry token "$name" | grep -o 'bf1-[A-Za-z0-9_-]*' >"$T/token"
	printf '%s\n' "[agent]" "state-folder = /data/state" "log-level = debug" "$@" >"$T/agent.ini"
	for program in writer tracker_ctl tracker_writer capture_ctl; do
		programs+=("$BUILD/tests/tools/$program:/usr/bin/$program")
	done
	"$VM/make-initramfs.sh" "$KERNEL" "$T/initramfs" "$BUILD/blkferry-agent:/usr/sbin/blkferry-agent" \
		"$T/token:/etc/token" "$T/agent.ini:/etc/agent.ini" "${programs[@]}"
}

# add_disk KIND FILE SERIAL: QEMU's options for a disk, into `machine`
add_disk()
{
	machine+=(-drive "file=$2,if=none,id=$3,format=raw,cache=writeback,discard=unmap")
	case $1 in
	virtio-blk) machine+=(-device "virtio-blk-pci,drive=$3,serial=$3") ;;
	virtio-scsi) machine+=(-device "scsi-hd,bus=scsi.0,drive=$3,serial=$3") ;;
	nvme) machine+=(-device "nvme,drive=$3,serial=$3") ;;
	*) fail "no such kind of disk: $1" ;;
	esac
}

# boot_guest KIND [OPTION=VALUE...]: boots it with GUEST_DISK, and a blank disk, as KIND (virtio-blk,
# virtio-scsi, nvme), and returns. The OPTIONs are those of guest-init.sh. Sets GUEST_PID and CONSOLE.
boot_guest()
{
	local kind=$1 option append machine
	shift
	BOOTS=$((BOOTS + 1))
	CONSOLE=$T/console-$BOOTS.log
	append="console=ttyS0 loglevel=6 panic=-1 ferry.receiver=10.0.2.2:$RECEIVER_PORT"
	# That an emulated processor stood still for a while says something about this machine's load only.
	append+=" rcupdate.rcu_cpu_stall_suppress=1 nowatchdog"
	for option in folder=first rewrite-mib=16 "$@"; do
		append+=" ferry.$option"
	done
	# Without AVX, which is slow where it is emulated.
	# shellcheck disable=SC2054  # QEMU's commas
	machine=(-accel "tcg,thread=multi" -cpu Westmere -smp 2 -m 768 -nodefaults -no-user-config
		-display none -no-reboot -rtc base=utc -serial "file:$CONSOLE" -serial "file:$T/acknowledged"
		-netdev "user,id=net,ipv6=off" -device virtio-net-pci,netdev=net,romfile=
		-device virtio-rng-pci -device virtio-scsi-pci,id=scsi
		-kernel "$KERNEL/vmlinuz" -initrd "$T/initramfs" -append "$append")
	add_disk "$kind" "$GUEST_DISK" ferry-disk
	truncate -s 256M "$T/blank.img"
	add_disk "$kind" "$T/blank.img" ferry-blank
	start_process "$T/qemu.log" nice -n 5 qemu-system-x86_64 "${machine[@]}"
	GUEST_PID=$STARTED_PID
}

# guest_said REGEX: is there such a line on the console?
guest_said()
{
	tr -d '\r' <"$CONSOLE" | grep -qE -- "$1"
}

# wait_for_guest SECONDS CONDITION WHAT: as wait_for, but the guest has to live on, and complain of nothing.
wait_for_guest()
{
	wait_until "$1" "$2 || ! process_lives $GUEST_PID || guest_said 'GUEST: failed'" ||
		fail "after $1 s still waiting for $3"
	eval "$2" || fail "the guest ended before $3"
}

# The last number that the writer in the guest was told to be on disk.
acknowledged()
{
	echo "$((10#$(tr -d '\r' <"$T/acknowledged" | grep -xE '[0-9]{20}' | tail -n 1)))"
}

# cut_power: the guest is gone at once, as after a power cut
cut_power()
{
	end_process "$GUEST_PID" KILL || true
	check_guest_log
}

# wait_for_end poweroff|halt: the guest has to end by itself, by that fence.
wait_for_end()
{
	local said
	case $1 in
	poweroff) said='reboot: Power down' ;;
	halt) said='reboot: System halted' ;;
	esac
	wait_for 300 "guest_said '$said'" "the guest's '$said'"
	if [ "$1" = poweroff ]; then
		wait_for 300 "! process_lives $GUEST_PID" "QEMU to end by itself"
		end_process "$GUEST_PID" || fail "QEMU ended with an error"
	else
		process_lives "$GUEST_PID" || fail "a halted guest is not one that is powered off"
		end_process "$GUEST_PID" KILL || true
	fi
	check_guest_log
}

# check_guest_log: did the guest's kernel complain?
check_guest_log()
{
	! guest_said "$COMPLAINTS" ||
		fail "the guest's kernel complained: $(tr -d '\r' <"$CONSOLE" | grep -E "$COMPLAINTS" | head -n 5)"
	! guest_said 'GUEST: failed' || fail "$(grep -a GUEST: "$CONSOLE" | tail -n 3)"
}

# check_replica NAME [FOLDER]: every byte of the replica, by others than blkferry; its file system; its records
# in FOLDER (default: first).
check_replica()
{
	local target loop promised
	promised=$(acknowledged)
	target=$(status "$1" '.disks[0].path')
	cp --sparse=always "$target" "$T/replica.img"
	qemu-img compare -f raw -F raw "$GUEST_DISK" "$T/replica.img" || fail "the replica differs"
	loop=$(losetup --find --show --read-only --offset 1048576 "$T/replica.img")
	cleanup_fn losetup -d "$loop"
	e2fsck -fn "$loop" || fail "the replica's file system is damaged"
	mount_folder "$loop" "$T/replica" -o ro
	writer check "$T/replica/${2:-first}" --at-least "$promised" || fail "an acknowledged record is missing"
	say "the replica is whole, with record $promised"
}

# replicate_and_cut_over KIND TRACKER FENCE: the main job with KERNEL, from the boot to the proof.
replicate_and_cut_over()
{
	local kind=$1 tracker=$2 fence=$3 seen
	make_guest_disk 256M 32
	start_receiver
	make_guest web1
	case $tracker in
	bpf) boot_guest "$kind" marks=yes ;;
	*) boot_guest "$kind" ;;
	esac
	wait_for_guest 900 "[ \"\$(status web1 .ready)\" = true ]" "the first copy"
	say "ready: $(status web1 .sent_bytes) bytes sent"
	check_tracker "$tracker"

	seen=$(acknowledged)
	wait_for_guest 900 "[ \$(acknowledged) -gt $((seen + 50)) ]" "more records while replicating"
	ferry verify web1 || fail "verify says that the replica differs"
	wait_for_guest 300 "[ \"\$(status web1 .ready)\" = true ]" "ready after the verify"
	ferry cutover web1 --fence "$fence" --timeout 300 --json | tee "$T/cutover.json"
	say "data downtime $(tail -n 1 "$T/cutover.json" | jq .data_downtime_ms) ms"
	wait_for_end "$fence"
	check_replica web1
}

# check_tracker bpf|scan: is that the one in use, and was it proved by the self-test with the canary?
check_tracker()
{
	local used
	used=$(status web1 .agent.tracker)
	[ "$used" = "$1" ] || fail "the tracker is $used: $(tr -d '\r' <"$CONSOLE" |
		grep -m 1 'no write tracking' || echo "and the agent does not say why")"
	if [ "$1" = bpf ]; then
		! guest_said '/data/state is not on a tracked disk' || fail "the self-test left out the canary"
		say "missed runs: $(status web1 .agent.missed_runs), writes: $(status web1 .agent.writes)"
	else
		guest_said 'no write tracking by eBPF: .+' || fail "the agent does not say why it scans"
		guest_said 'using the scan tracker instead' || fail "the agent does not say that it scans"
	fi
}
