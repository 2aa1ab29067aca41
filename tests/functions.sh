# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the integration tests share. A test is a bash script that begins with
#
#	. "$(dirname "$0")/../functions.sh"
#	requires ROOT BPF mkfs.ext4
#
# and from then on has a folder of its own ($T), stops at the first failing command, and leaves nothing
# behind whatever happens: processes, loop devices, mounts, pins. The tests' programs are in PATH.
# Exit status: 0 passed, 77 skipped (the last line says why), anything else failed.
#
# Only this file sleeps, and only between two looks at a condition (wait_for, wait_until).

# Several files of functions may bring it.
! declare -F on_exit >/dev/null || return 0

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in
/*) ;;
*) BUILD=$TOP/$BUILD ;;
esac
export BUILD
export PATH="$BUILD:$BUILD/tests/tools:/usr/sbin:/sbin:$PATH"
export LC_ALL=C.UTF-8

TEST_NAME=$(basename "$0" .sh)
TEST_START_S=$SECONDS

# --- ends of a test -------------------------------------------------------------------------------

say()
{
	printf '%4d s  %s\n' "$((SECONDS - TEST_START_S))" "$*"
}

# skip REASON: the test cannot run here.
skip()
{
	SKIP_REASON=$*
	exit 77
}

fail()
{
	printf '%s: FAILED at %s:%s: %s\n' "$TEST_NAME" "$(basename "${BASH_SOURCE[1]}")" \
		"${BASH_LINENO[0]}" "$*" >&2
	exit 1
}

# Registered commands run at the end, last one first, also when the test fails or is interrupted.
# A command that fails does not keep the others from running.
CLEANUPS=()
cleanup_fn()
{
	local command
	printf -v command '%q ' "$@"
	CLEANUPS+=("$command")
}

on_exit()
{
	local status=$? i
	trap '' INT TERM HUP
	trap - EXIT ERR
	set +eu
	# A task that is stuck on a frozen file system cannot even be killed: thaw before all else.
	thaw_all
	for ((i = ${#CLEANUPS[@]} - 1; i >= 0; i--)); do
		eval "${CLEANUPS[i]}"
	done
	kill_leftovers
	if [ "$status" = 0 ] && [ -n "$KERNEL_LOG_MARK" ] && ! check_kernel_log; then
		status=1
	fi
	case $status in
	0 | 77) ;;
	130 | 143) echo "$TEST_NAME: interrupted; everything is cleaned up" ;;
	*) show_logs ;;
	esac
	if [ -n "${KEEP_TEST_FILES:-}" ] && [ "$status" != 77 ]; then
		echo "files are kept in $T"
	else
		rm -rf "$T"
	fi
	if [ "$status" = 77 ]; then
		echo "${SKIP_REASON:-no reason given}"
	fi
	exit "$status"
}

# Says where a command failed that nobody looked at; set -e then ends the test.
on_error()
{
	local status=$? line=$1 command=$2
	[ "$BASH_SUBSHELL" = 0 ] || return 0
	printf '%s: line %s: exit status %s from: %s\n' "$TEST_NAME" "$line" "$status" "$command" >&2
}

show_logs()
{
	local log
	for log in "$T"/*.log; do
		[ -s "$log" ] || continue
		echo "--- end of $(basename "$log") ---"
		tail -n 40 "$log"
	done
}

# --- what a test needs ----------------------------------------------------------------------------

# requires WORD...: ROOT, BPF (kernel with BTF, bpffs mounted if it was not), LOOP, or a command's name.
requires()
{
	local what
	for what in "$@"; do
		case $what in
		ROOT)
			[ "$(id -u)" = 0 ] || skip "needs root"
			mark_kernel_log
			;;
		BPF)
			[ "$(id -u)" = 0 ] || skip "needs root for BPF"
			[ -r /sys/kernel/btf/vmlinux ] || skip "this kernel has no BTF (/sys/kernel/btf/vmlinux)"
			mount_bpffs || skip "bpffs cannot be mounted on /sys/fs/bpf"
			;;
		LOOP)
			[ -e /dev/loop-control ] || modprobe loop 2>/dev/null || true
			[ -e /dev/loop-control ] || skip "this kernel has no loop devices"
			;;
		*)
			command -v "$what" >/dev/null || skip "$what is not installed"
			;;
		esac
	done
}

# requires_filesystem TYPE: can this kernel mount it, and is mkfs there?
requires_filesystem()
{
	requires "mkfs.$1"
	grep -qw "$1" /proc/filesystems || modprobe "$1" 2>/dev/null || true
	grep -qw "$1" /proc/filesystems || skip "this kernel has no $1"
}

mount_bpffs()
{
	[ "$(stat -f -c %T /sys/fs/bpf 2>/dev/null)" = bpf_fs ] || mount -t bpf bpf /sys/fs/bpf
}

# wait_until DEADLINE_S CONDITION: 0 as soon as the shell text CONDITION is true, 1 at the deadline.
wait_until()
{
	local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000)) condition=$2
	until eval "$condition" >/dev/null 2>&1; do
		[ "${EPOCHREALTIME/[.,]/}" -lt "$deadline" ] || return 1
		sleep 0.05
	done
}

# wait_for DEADLINE_S CONDITION WHAT: the same, and the test fails at the deadline. The deadline is not
# part of what is tested: be generous.
wait_for()
{
	wait_until "$1" "$2" || fail "after $1 s still waiting for ${3:-$2}"
}

# free_port: prints a TCP port of 127.0.0.1 on which nobody listens.
free_port()
{
	local port
	while :; do
		port=$((20000 + RANDOM % 12000)) # below the range that the kernel hands out by itself
		[ -n "$(ss -Hltn "sport = :$port")" ] || break
	done
	echo "$port"
}

# --- kernel log -----------------------------------------------------------------------------------

KERNEL_LOG_MARK=
mark_kernel_log()
{
	[ -z "$KERNEL_LOG_MARK" ] || return 0
	KERNEL_LOG_MARK="blkferry-test: $TEST_NAME begins ($$.$RANDOM)"
	echo "$KERNEL_LOG_MARK" >/dev/kmsg 2>/dev/null || KERNEL_LOG_MARK=
}

# check_kernel_log: has the kernel complained since this test began? Called at the end of each test that
# requires ROOT; a test may call it earlier as well. Tasks that hang are not looked for: on a frozen file
# system they should, and another test may have one.
check_kernel_log()
{
	local complaints
	complaints=$(dmesg | awk -v mark="$KERNEL_LOG_MARK" '
		index($0, mark) { delete line; count = 0; next }
		/WARNING:|BUG:|Oops|general protection|rcu.*stall/ {
			line[++count] = $0
		}
		END { for (i = 1; i <= count; i++) print line[i] }')
	[ -n "$complaints" ] || return 0
	printf '%s: the kernel complained during this test:\n%s\n' "$TEST_NAME" "$complaints" >&2
	return 1
}

# --- processes ------------------------------------------------------------------------------------

# start_process LOG COMMAND...: runs it in the background; STARTED_PID is its pid. It is stopped at the end.
start_process()
{
	local log=$1
	shift
	"$@" >>"$log" 2>&1 </dev/null &
	STARTED_PID=$!
	cleanup_fn end_process "$STARTED_PID"
}

process_lives()
{
	local state
	state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 1
	[ -n "$state" ] && [ "$state" != Z ]
}

# end_process PID [SIGNAL]: signals it, waits until it has ended (KILL after 20 s) and returns its exit
# status; 0 when it has ended before and was waited for.
end_process()
{
	local pid=$1 signal=${2:-TERM}
	kill -s "$signal" "$pid" 2>/dev/null || true
	if ! wait_until 20 "! process_lives $pid"; then
		say "process $pid did not end within 20 s of SIG$signal: killing it"
		kill -s KILL "$pid" 2>/dev/null || true
		wait_until 20 "! process_lives $pid" || return 1
	fi
	wait "$pid" 2>/dev/null || { local status=$?; [ "$status" = 127 ] || return "$status"; }
}

# The daemons' own children (watchdog, nbdkit) may outlive a daemon that a test has killed. What belongs
# to this test has its folder, whose name is unique, in its command line.
leftover_pids()
{
	# The pattern comes by standard input, or grep would find itself.
	# shellcheck disable=SC2062  # paths, not a pattern
	grep -lsF --file=- /proc/[0-9]*/cmdline <<<"$T/" | cut -d / -f 3 | grep -vx "$$" || true
}

kill_leftovers()
{
	local signal pid
	for signal in TERM KILL; do
		for pid in $(leftover_pids); do
			kill -s "$signal" "$pid" 2>/dev/null
		done
		wait_until 3 '[ -z "$(leftover_pids)" ]' && break
	done
}

# --- disks ----------------------------------------------------------------------------------------

DISK_COUNT=0
MOUNTS=()

# make_disk SIZE [losetup options]: a loop device over a sparse file in $T. Sets LOOP to its path and
# LOOP_FILE to the file.
make_disk()
{
	local size=$1
	shift
	DISK_COUNT=$((DISK_COUNT + 1))
	LOOP_FILE=$T/disk$DISK_COUNT.img
	truncate -s "$size" "$LOOP_FILE"
	LOOP=$(losetup --find --show --partscan "$@" "$LOOP_FILE")
	cleanup_fn detach_loop "$LOOP"
}

detach_loop()
{
	partx --delete "$1" 2>/dev/null || true
	# A device that something still holds open is detached by the kernel on last close.
	losetup -d "$1" 2>/dev/null || true
	wait_until 10 "! losetup '$1' 2>/dev/null | grep -qF '$T/'" || say "$1 is still in use"
}

# partition_disk DEVICE: writes the partition table that sfdisk reads from standard input, and waits for
# the last partition's device node. (partx: a kernel need not know partition tables itself.)
partition_disk()
{
	local last
	sfdisk --quiet --no-reread --no-tell-kernel "$1"
	partx --update "$1"
	last=$(sfdisk --json "$1" | jq -r '.partitiontable.partitions[-1].node')
	wait_for 10 "[ -b '$last' ]" "the partition $last"
}

# make_filesystem TYPE DEVICE FOLDER [mkfs options]: makes it and mounts it.
make_filesystem()
{
	local type=$1 device=$2 folder=$3 force=-F
	shift 3
	[ "$type" = ext4 ] || force=-f
	"mkfs.$type" -q "$force" "$@" "$device" >/dev/null
	mount_folder "$device" "$folder"
}

# mount_folder DEVICE FOLDER [mount options]: mounts it until the end of the test.
mount_folder()
{
	local device=$1 folder=$2
	shift 2
	mkdir -p "$folder"
	mount "$@" "$device" "$folder"
	MOUNTS+=("$folder")
	cleanup_fn unmount_folder "$folder"
}

unmount_folder()
{
	mountpoint -q "$1" || return 0
	fsfreeze -u "$1" 2>/dev/null || true
	wait_until 10 "umount '$1'" || umount -l "$1"
}

thaw_all()
{
	local folder
	for folder in "${MOUNTS[@]}"; do
		mountpoint -q "$folder" && fsfreeze -u "$folder" 2>/dev/null
	done
}

# --- the programs ---------------------------------------------------------------------------------

# blkferry with the test's receiver
ferry()
{
	blkferry --socket "$T/control.sock" "$@"
}

# status NAME FILTER: a value out of the machine's status, by jq.
status()
{
	ferry status "$1" --json | jq -r "$2"
}

# wait_ready NAME [DEADLINE_S]
wait_ready()
{
	wait_for "${2:-90}" "[ \"\$(status $1 .ready)\" = true ]" "$1 to be ready"
}

# wait_phase NAME PHASE [DEADLINE_S]
wait_phase()
{
	wait_for "${3:-60}" "[ \"\$(status $1 .phase)\" = $2 ]" "$1 to be in phase $2"
}

# is_streaming NAME: with a checkpoint that is durable. A look that may fail, for wait_for.
is_streaming()
{
	[ "$(status "$1" '"\(.phase) \(.ready)"')" = "streaming true" ]
}

# wait_streaming NAME [WHAT]
wait_streaming()
{
	wait_for 180 "is_streaming $1" "${2:-streaming}"
}

# acknowledged_records: how many the writer has said to be on its disk, with --progress "$T/progress"
acknowledged_records()
{
	echo "$((10#$(cat "$T/progress")))"
}

# start_receiver [LINE...]: writes receiver.ini, makes the CA if there is none, starts the receiver and
# waits until it answers. LINEs are added to the file: first further keys of [receiver], then sections.
# Sets RECEIVER_PID and RECEIVER_PORT (kept when it is set already: a restart).
start_receiver()
{
	: "${RECEIVER_PORT:=$(free_port)}"
	mkdir -p "$T/storage"
	{
		echo "[receiver]"
		echo "listen = 127.0.0.1:$RECEIVER_PORT"
		echo "state-folder = $T/receiver"
		echo "storage-folder = $T/storage"
		echo "control-socket = $T/control.sock"
		echo "control-group = root"
		[ $# = 0 ] || printf '%s\n' "$@"
	} >"$T/receiver.ini"
	[ -e "$T/receiver/ca.pem" ] || blkferry-receiver init --state "$T/receiver" >>"$T/receiver.log" 2>&1
	start_process "$T/receiver.log" blkferry-receiver run --config "$T/receiver.ini"
	RECEIVER_PID=$STARTED_PID
	wait_for 30 "ferry status || ! process_lives $RECEIVER_PID" "the receiver's control socket"
	process_lives "$RECEIVER_PID" || fail "the receiver did not start"
}

# stop_receiver [SIGNAL]: with the default TERM it must end cleanly.
stop_receiver()
{
	stop_daemon receiver "$RECEIVER_PID" "${1:-TERM}"
}

# enroll_agent NAME: a token from the receiver, and the certificate for it into $T/agent-NAME.
enroll_agent()
{
	local token
	token=$(ferry token "$1" | grep -o 'bf1-[A-Za-z0-9_-]*')
	blkferry-agent enroll "127.0.0.1:$RECEIVER_PORT" "$token" --state "$T/agent-$1" \
		>>"$T/agent-$1.log" 2>&1
}

# start_agent NAME DISKS [LINE...]: enrols once, writes agent-NAME.ini and starts the agent. LINEs are
# further keys of [agent]. Sets AGENT_PID and AGENT_PINS. The agent may still be connecting when this
# returns: wait for the phase that the test needs.
start_agent()
{
	local name=$1 disks=$2
	shift 2
	AGENT_PINS=/sys/fs/bpf/$(basename "$T")-$name
	[ -d "$T/agent-$name" ] || enroll_agent "$name"
	{
		echo "[agent]"
		echo "receiver = 127.0.0.1:$RECEIVER_PORT"
		echo "disks = $disks"
		echo "state-folder = $T/agent-$name"
		echo "pin-folder = $AGENT_PINS"
		[ $# = 0 ] || printf '%s\n' "$@"
	} >"$T/agent-$name.ini"
	cleanup_fn remove_pins "$AGENT_PINS"
	start_process "$T/agent-$name.log" blkferry-agent run --config "$T/agent-$name.ini"
	AGENT_PID=$STARTED_PID
}

stop_agent()
{
	stop_daemon agent "$AGENT_PID" "${1:-TERM}"
}

stop_daemon()
{
	local what=$1 pid=$2 signal=$3 result=0
	process_lives "$pid" || fail "the $what (pid $pid) is not running any more"
	end_process "$pid" "$signal" || result=$?
	[ "$signal" = KILL ] || [ "$result" = 0 ] || fail "the $what ended with exit status $result"
}

remove_pins()
{
	case $1 in
	/sys/fs/bpf/?*) rm -rf "$1" ;;
	esac
}

# --- begin ----------------------------------------------------------------------------------------

# Memory, if it is roomy: then the disk under this machine does not decide how long the tests take.
default_folder()
{
	local free_kib
	free_kib=$(df --output=avail /dev/shm 2>/dev/null | tail -n 1) || free_kib=0
	if [ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ] && [ "${free_kib:-0}" -gt 4194304 ]; then
		echo /dev/shm
	else
		echo /var/tmp
	fi
}

T=$(mktemp -d "${TEST_DIR:-$(default_folder)}/blkferry-$TEST_NAME-XXXXXX")
chmod 755 "$T"
trap on_exit EXIT
trap 'on_error $LINENO "$BASH_COMMAND"' ERR
trap 'exit 130' INT
trap 'exit 143' TERM HUP
