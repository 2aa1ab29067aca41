#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Views of a streaming machine: checkpoints, each with a copy of the frozen disks taken by dd at that moment; then
# views of all of them while the source goes on being written. Mounting, ports, test-boot, ends.
#
#   loop disks --> agent ==TLS==> receiver --> nbdkit --> file
#       |dd, frozen                  |views: nbdkit, our plugin, cow
#       v                            v
#     copies     <--- cmp --->    nbdcopy
. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP BPF mkfs.ext4 sfdisk partx jq nbdkit nbdcopy nbdfuse fusermount3 qemu-io

POINTS=20

unmount_views()
{
	local path
	while read -r path; do
		umount "$path" 2>/dev/null || umount -l "$path"
	done < <(awk -v folder="$T/mnt" 'index($5, folder) == 1 { print $5 }' /proc/self/mountinfo | tac)
}
cleanup_fn unmount_views

# view_uri ID DISK
view_uri()
{
	ferry view web1 --list --json | jq -r ".[] | select(.id == $1) | .disks[$2].uri"
}

# open_view OPTION...: sets VIEW
open_view()
{
	VIEW=$(ferry view web1 --json "$@" | jq -r .id)
	[ -n "$VIEW" ] || fail "no view: $*"
}

# expect_copy VIEW COPY: both disks
expect_copy()
{
	local disk
	for disk in 0 1; do
		nbdcopy "$(view_uri "$1" "$disk")" "$T/read"
		cmp "$T/read" "$T/copy-$2.$disk" || fail "disk $disk of checkpoint $2 differs"
	done
}

say "a machine with two disks, streaming"
# The shipped example boots it, from a boot sector that says so on the serial port and halts.
EXAMPLE=$TOP/packaging/examples/test-boot-qemu
TEST_START="$EXAMPLE start" CHECK="$EXAMPLE check login:" SAYS="blkferry login:"
if ! command -v qemu-system-x86_64 >/dev/null; then
	say "qemu-system-x86_64 is not installed: nbdfuse stands in for it"
	TEST_START='exec nbdfuse $BLKFERRY_FOLDER $BLKFERRY_DISK0_URI'
	CHECK='head -c 512 $BLKFERRY_FOLDER/nbd | grep -ao "blkferry login:"'
fi
start_receiver "[machine web1]" "test-start-command = $TEST_START" "check-command = $CHECK" "test-timeout = 120s"
make_disk 96M
FIRST=$LOOP
make_disk 64M
SECOND=$LOOP
printf 'label: gpt\nstart=1MiB, type=linux\n' | partition_disk "$FIRST"
{
	printf '\x31\xc0\x8e\xd8\xbe\x15\x7c\xac\x84\xc0\x74\x06\xba\xf8\x03\xee\xeb\xf5\xf4\xeb\xfd'
	printf 'blkferry login:\n\0'
} | dd of="$FIRST" conv=notrunc status=none
make_filesystem ext4 "${FIRST}p1" "$T/first"
make_filesystem ext4 "$SECOND" "$T/second"
start_agent web1 "$FIRST,$SECOND"
wait_phase web1 streaming 120

say "$POINTS checkpoints, with copies"
for ((i = 1; i <= POINTS; i++)); do
	echo "remember $i" >"$T/first/number"
	echo "remember $i" >"$T/second/number"
	dd if=/dev/urandom of="$T/first/random$((i % 3))" bs=1M count=4 conv=notrunc,fsync status=none
	dd if=/dev/urandom of="$T/second/random" bs=64k count=$i conv=fsync status=none
	[ $((i % 7)) != 0 ] || rm "$T/first/random0"
	sync -f "$T/first/number"
	sync -f "$T/second/number"
	fsfreeze -f "$T/first"
	fsfreeze -f "$T/second"
	wait_for 120 "ferry checkpoint web1 --label n$i" "checkpoint $i" # after a gap it streams again by itself
	dd if="$FIRST" of="$T/copy-$i.0" bs=1M iflag=direct status=none
	dd if="$SECOND" of="$T/copy-$i.1" bs=1M iflag=direct status=none
	fsfreeze -u "$T/second"
	fsfreeze -u "$T/first"
done

say "each is what was there, while the source is written"
start_process "$T/writer.log" bash -c 'while :; do dd if=/dev/urandom of="$1/first/more" bs=256k count=8 conv=fsync; done' \
	writer "$T"
WRITER_PID=$STARTED_PID
for ((i = 1; i <= POINTS; i++)); do
	open_view --at "n$i"
	expect_copy "$VIEW" "$i"
	[ $((i % 5)) = 0 ] || ferry view web1 --stop "$VIEW" >/dev/null
done
[ "$(ferry view web1 --list --json | jq length)" = $((POINTS / 5)) ] || fail "the list: $(ferry view web1 --list)"

say "what is written to a view stays there"
open_view --at n3
qemu-io -f raw -c 'write -P 0x5a 4k 1M' "$(view_uri "$VIEW" 0)" >/dev/null
open_view --at n3
expect_copy "$VIEW" 3
ferry view web1 --stop >/dev/null
[ -z "$(ls "$T/views")" ] || fail "left: $(ls -R "$T/views")"

say "a file that was overwritten is got back"
ferry view web1 --at n7 --mount "$T/mnt" >/dev/null
[ "$(cat "$T/mnt/disk0p1/number" "$T/mnt/disk1p0/number")" = "$(printf 'remember 7\nremember 7')" ] ||
	fail "other contents: $(cat "$T/mnt/disk0p1/number" "$T/mnt/disk1p0/number")"
! touch "$T/mnt/disk0p1/new" 2>/dev/null || fail "mounted writable"
ferry view web1 --at n8 --mount "$T/mnt" 2>"$T/refused" && fail "mounted twice in one folder"
cmp <(head -c 1M "$T/mnt/disk1") <(head -c 1M "$T/copy-7.1") || fail "the disk's file differs"
ferry view web1 --stop >/dev/null
[ ! -e "$T/mnt" ] || fail "left: $(ls "$T/mnt")"

say "a port, with the view's key only"
PORT=$(free_port)
ferry view web1 --at n2 --port "$PORT" --json >"$T/view.json"
nbdcopy "$(jq -r '.disks[0].uri' "$T/view.json")" "$T/read"
cmp "$T/read" "$T/copy-2.0" || fail "the copy over TLS differs"
! nbdinfo "nbd://127.0.0.1:$PORT" >/dev/null 2>&1 || fail "without TLS"
! nbdinfo "nbds://127.0.0.1:$PORT/?tls-certificates=$T/agent-web1" >/dev/null 2>&1 || fail "with a machine's certificate"
ferry view web1 --stop >/dev/null

say "test-boot"
ferry test-boot web1 --at n5 >"$T/test-boot.out"
grep -q "came up from checkpoint #.*n5.*: $SAYS" "$T/test-boot.out" || fail "$(cat "$T/test-boot.out")"
result=0
ferry test-boot web1 --at n5 --timeout 0.01 >"$T/test-boot.out" 2>&1 || result=$?
[ "$result" = 8 ] || fail "exit status $result: $(cat "$T/test-boot.out")"
[ -z "$(ls "$T/views")" ] && [ -z "$(find "$T/storage" -name 'test-boot*')" ] || fail "a test-boot left something"

say "a view whose server was killed is an error"
open_view
kill -9 "$(cat "$T/views/$VIEW/disk0.pid")"
! nbdcopy "$(view_uri "$VIEW" 0)" null: 2>/dev/null || fail "read from a dead server"
[ "$(ferry view web1 --list --json | jq -r '.[0].alive')" = false ] || fail "said to be alive"
ferry view web1 --stop "$VIEW" >/dev/null

say "a receiver that is killed leaves no server"
open_view
stop_receiver KILL
wait_for 20 '! grep -lsF "$T/views/" /proc/[0-9]*/cmdline | grep -v "/$$/"' "the view's servers"
start_receiver
[ -z "$(ls "$T/views")" ] || fail "left: $(ls -R "$T/views")"

say "the machine goes on, and a removed one has no views"
end_process "$WRITER_PID" || true
wait_phase web1 streaming 60
open_view
ferry remove web1 --yes >/dev/null
[ -z "$(ls "$T/views")" ] || fail "left: $(ls -R "$T/views")"
