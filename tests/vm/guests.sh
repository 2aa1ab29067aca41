# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Whole machines under QEMU, without KVM, on top of vm.sh: each has a NAME, and a folder $T/NAME with `console` (its
# kernel's log and its login prompt), `agent` (the socket of qemu-guest-agent), `qmp`, and `counters` and `promised`,
# what the programs in it said to have on disk.
#
#   FIRMWARE=uefi     instead of bios
#   NETWORK=closed    it reaches nobody; open: this machine is 10.0.2.2
#   PROCESSORS=1      instead of 2: where nothing is tested that runs in parallel, the emulation has less to do

. "$(dirname "${BASH_SOURCE[0]}")/vm.sh"
requires python3

FIRMWARE=bios
NETWORK=open
PROCESSORS=2
UEFI=/usr/share/OVMF
COMPLAINTS+="|EXT4-fs (error|warning)|XFS .*(Corruption|Internal error|Metadata I/O)|BTRFS (error|critical|warning)"
COMPLAINTS+="|I/O error|critical (medium|target) error"

declare -A MACHINE_PIDS

# add_machine_disk NUMBER NAME DISK: QEMU's options for it, into `machine`. DISK is KIND[,OPTION=VALUE...]:FILE, where
# KIND is virtio-blk, virtio-scsi or nvme; the OPTIONs are QEMU's of such a device. FILE is raw unless called *.qcow2.
add_machine_disk()
{
	local number=$1 name=$2 kind=${3%%:*} file=${3#*:} options format=raw
	options=${kind#"${kind%%,*}"}
	options+=",drive=disk$number,serial=$name-$number,bootindex=$((number + 1))"
	kind=${kind%%,*}
	[ "$file" = "${file%.qcow2}" ] || format=qcow2
	machine+=(-drive "file=$file,if=none,id=disk$number,format=$format,cache=writeback,discard=unmap")
	case $kind in
	virtio-blk) machine+=(-device "virtio-blk-pci$options") ;;
	virtio-scsi) machine+=(-device "scsi-hd,bus=scsi.0$options") ;;
	nvme) machine+=(-device "nvme$options") ;;
	*) fail "no such kind of disk: $kind" ;;
	esac
}

# describe_machine NAME DISK...: QEMU's command line, as the array `machine`
describe_machine()
{
	local name=$1 folder=$T/$1 restrict=off number=0 disk port
	shift
	mkdir -p "$folder"
	[ "$NETWORK" = open ] || restrict=on
	# Without AVX, which is slow where it is emulated.
	# shellcheck disable=SC2054  # QEMU's commas
	machine=(qemu-system-x86_64 -name "$name" -machine q35 -accel "tcg,thread=multi" -cpu Westmere
		-smp "$PROCESSORS" -m 1024 -nodefaults -no-user-config -display none -rtc base=utc -device virtio-rng-pci
		-serial "file:$folder/console" -qmp "unix:$folder/qmp,server=on,wait=off"
		-netdev "user,id=net,ipv6=off,restrict=$restrict" -device virtio-net-pci,netdev=net,romfile=
		-device virtio-scsi-pci,id=scsi -device virtio-serial-pci
		-chardev "socket,id=agent,path=$folder/agent,server=on,wait=off"
		-device virtserialport,chardev=agent,name=org.qemu.guest_agent.0)
	for port in counters promised; do
		machine+=(-chardev "file,id=$port,path=$folder/$port"
			-device "virtserialport,chardev=$port,name=$port")
	done
	if [ "$FIRMWARE" = uefi ]; then
		cp "$UEFI/OVMF_VARS_4M.fd" "$folder/vars"
		machine+=(-drive "if=pflash,format=raw,readonly=on,file=$UEFI/OVMF_CODE_4M.fd"
			-drive "if=pflash,format=raw,file=$folder/vars")
	fi
	for disk in "$@"; do
		add_machine_disk $number "$name" "$disk"
		number=$((number + 1))
	done
}

# boot_machine NAME DISK...: starts it and returns
boot_machine()
{
	local machine
	[ "$FIRMWARE" != uefi ] || [ -e "$UEFI/OVMF_CODE_4M.fd" ] || skip "ovmf is not installed"
	describe_machine "$@"
	start_machine "$1"
}

# start_machine NAME: what `machine` describes
start_machine()
{
	start_process "$T/$1/qemu.log" "${machine[@]}"
	MACHINE_PIDS[$1]=$STARTED_PID
}

machine_lives()
{
	process_lives "${MACHINE_PIDS[$1]}"
}

# wait_for_machine NAME [SECONDS]: until commands can be run in it. (This machine may be busy.)
wait_for_machine()
{
	wait_for 20 "[ -S '$T/$1/agent' ] || ! machine_lives $1" "QEMU of $1"
	machine_lives "$1" || fail "QEMU ended: $(tail -n 3 "$T/$1/qemu.log")"
	"$VM/guest_agent.py" "$T/$1/agent" wait "${2:-900}" ||
		fail "$1 does not come up: $(tail -n 5 "$T/$1/console")"
}

# in_machine NAME COMMAND: by the sh in there; its output, its exit status
in_machine()
{
	"$VM/guest_agent.py" "$T/$1/agent" run "$2"
}

# put_file NAME FILE PATH
put_file()
{
	"$VM/guest_agent.py" "$T/$1/agent" put "$2" "$3"
}

# machine_said NAME REGEX: is there such a line on its console?
machine_said()
{
	tr -d '\r' <"$T/$1/console" | grep -aqE -- "$2"
}

# check_machine_log NAME: did its kernel complain?
check_machine_log()
{
	! machine_said "$1" "$COMPLAINTS" ||
		fail "the kernel of $1 complained: $(tr -d '\r' <"$T/$1/console" | grep -aE "$COMPLAINTS" | head -n 5)"
}

# wait_for_power_off NAME: QEMU has to end by itself, since the machine switched itself off
wait_for_power_off()
{
	wait_for 300 "! machine_lives $1" "QEMU of $1 to end by itself"
	end_process "${MACHINE_PIDS[$1]}" || fail "QEMU of $1 ended with an error: $(tail -n 3 "$T/$1/qemu.log")"
	machine_said "$1" 'reboot: Power down' || fail "QEMU of $1 ended, but the machine did not switch itself off"
	check_machine_log "$1"
}

# ask_to_stop NAME: an ordered stop begins. The guest agent may be stopped before it has answered.
ask_to_stop()
{
	in_machine "$1" 'systemctl --no-block poweroff' 2>/dev/null || true
}

# stop_machine NAME: an ordered stop
stop_machine()
{
	ask_to_stop "$1"
	wait_for_power_off "$1"
}
