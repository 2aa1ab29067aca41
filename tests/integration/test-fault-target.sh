#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Targets that are full, fail, are slow, go away, or can less than they should: the status names what is wrong,
# and when it is put right replication goes on by itself, to an identical replica.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP mkfs.ext4 nbdkit jq

make_source 64M 24M
mkdir "$T/storage"
mount_folder none "$T/storage" -t tmpfs -o size=12M
uri="nbd+unix:///?socket=$T/nbd.sock"
run_receiver()
{
	start_receiver "[machine web2]" "disk0 = $uri"
}
run_receiver

say "full, then larger"
start_writer 1
start_agent web1 "$SOURCE" "pass-interval = 100ms"
wait_last_error web1 "No space left on device"
wait_last_error web1 "make room on the target's storage"
mount -o remount,size=200M "$T/storage"
become_identical web1
ferry remove web1 --yes >/dev/null
wait_for 30 "! process_lives $AGENT_PID" "the end of the removed machine's agent"
end_process "$AGENT_PID"

# serve [OPTION...]: nbdkit on the socket, with filters.
truncate -s 64M "$T/target.img"
serve()
{
	rm -f "$T/nbd.sock"
	start_process "$T/nbdkit.log" nbdkit -f --unix "$T/nbd.sock" "$@"
	SERVER=$STARTED_PID
	wait_for 10 "[ -S '$T/nbd.sock' ]" "nbdkit's socket"
}
# With clients it would wait for their end.
end_server()
{
	end_process "$SERVER" KILL || true
}
file=(file "$T/target.img")

say "I/O errors on write, then on flush, then on read, switched on and off"
serve --filter=error "${file[@]}" error=EIO error-rate=100% error-file="$T/fail-all"
start_writer 1
start_agent web2 "$SOURCE" "pass-interval = 100ms" "allocated-only = no" # free blocks hold old data by now
wait_ready web2
touch "$T/fail-all"
wait_last_error web2 "Input/output error"
[ "$(status web2 .ready)" = false ] || fail "it says ready while its target fails"
rm "$T/fail-all"
wait_ready web2
become_identical web2 "$T/target.img"

say "server killed, and started again"
start_writer 1
end_server
wait_last_error web2 "$uri"
writer_moves
serve "${file[@]}"
become_identical web2 "$T/target.img"

say "slow"
end_server
serve --filter=delay "${file[@]}" wdelay=100ms rdelay=50ms
start_writer 1
become_identical web2 "$T/target.img"

say "without write-zeroes and trim, then without flush"
end_server
serve --filter=nozero "${file[@]}"
start_writer 1
wait_ready web2
fallocate -z -o 0 -l 4M "$T/source/filling" || true
become_identical web2 "$T/target.img"
end_server
cat >"$T/noflush" <<EOS
#!/bin/sh
case \$1 in
get_size) stat -c %s '$T/target.img' ;;
pread) dd if='$T/target.img' iflag=skip_bytes,count_bytes skip=\$4 count=\$3 bs=1M status=none ;;
pwrite) dd of='$T/target.img' oflag=seek_bytes seek=\$4 conv=notrunc bs=1M status=none ;;
can_write) exit 0 ;;
thread_model) echo serialize_all_requests ;;
*) exit 2 ;;
esac
EOS
chmod +x "$T/noflush"
serve sh "$T/noflush"
start_writer 1 # a server that went away is noticed with the next write
wait_for 60 "[ \"\$(status web2 '.disks[0].can_flush')\" = false ]" "the status to say that this server cannot flush"
wait_message "$T/receiver.log" "cannot flush"
become_identical web2 "$T/target.img"

say "too small, read-only, in use: refused before any byte"
stop_agent
end_server
before=$(sha256sum <"$T/target.img")
refused()
{
	local text=$1
	mark_log "$T/agent-web2.log"
	start_agent web2 "$SOURCE" "pass-interval = 100ms"
	wait_message "$T/agent-web2.log" "$text"
	wait_last_error web2 "$text"
	stop_agent
	[ "$before" = "$(sha256sum <"$T/target.img")" ] || fail "a refused target was written"
}
serve --filter=truncate "${file[@]}" truncate=32M
refused "has 33554432 bytes, the disk has 67108864: enlarge the target or give a larger one"
end_server
serve -r "${file[@]}"
refused "is read-only: export it writable, or give another target"
end_server
rm -f "$T/nbd.sock"
refused "cannot be reached"
stop_receiver
uri="file:$T/target.img"
run_receiver
exec {lock}<>"$T/target.img"
flock -n "$lock" || true
make_disk 64M
target_loop=$(losetup --find --show "$T/target.img")
cleanup_fn losetup -d "$target_loop"
stop_receiver
uri="block:$target_loop"
run_receiver
mkdir "$T/mounted"
mount "$target_loop" "$T/mounted"
refused_in_use=$(sha256sum <"$T/target.img")
before=$refused_in_use
refused "it is mounted, or another program"
umount "$T/mounted"
exec {lock}>&-
stop_receiver
serve "${file[@]}"
uri="nbd+unix:///?socket=$T/nbd.sock"
run_receiver
start_agent web2 "$SOURCE" "pass-interval = 100ms" "allocated-only = no" # free blocks hold old data by now
become_identical web2 "$T/target.img"
