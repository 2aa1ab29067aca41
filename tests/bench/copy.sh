# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# A whole disk from one side to the other: bytes that do not compress, a file system with /usr on it, a disk
# that is almost empty. Each tool begins with an empty target and knows that it is empty. The peers read from
# a page cache that is warm, so the loop disk costs them nothing; the agent reads with O_DIRECT, as it must.
# MiB/s is always the size of the disk over the time until the target is flushed.
#
#   nbdcopy      loop disk -> nbdkit == TCP ==> nbdcopy -> nbdkit -> file
#   nbdcopy_tls  the same with TLS, both sides verified
#   qemu         loop disk -> qemu-img convert -n -> nbdkit -> file
#   bdsync       loop disk -> bdsync -> file (no network; only where it is installed)
#   blkferry     loop disk -> agent == TCP, TLS, both sides verified ==> receiver -> nbdkit -> file

COPY_TOOLS="blkferry nbdcopy nbdcopy_tls qemu"
TARGET_URI=

make_pki()
{
	local pki=$T/pki kind
	mkdir -p "$pki"
	printf 'cn = bench CA\nca\ncert_signing_key\n' >"$pki/ca.info"
	certtool --generate-privkey --key-type=ecdsa >"$pki/ca-key.pem" 2>>"$T/pki.log"
	certtool --generate-self-signed --load-privkey "$pki/ca-key.pem" --template "$pki/ca.info" \
		--outfile "$pki/ca-cert.pem" 2>>"$T/pki.log"
	for kind in server client; do
		printf 'cn = localhost\ndns_name = localhost\ntls_www_%s\nsigning_key\n' "$kind" >"$pki/$kind.info"
		certtool --generate-privkey --key-type=ecdsa >"$pki/$kind-key.pem" 2>>"$T/pki.log"
		certtool --generate-certificate --load-privkey "$pki/$kind-key.pem" \
			--load-ca-certificate "$pki/ca-cert.pem" --load-ca-privkey "$pki/ca-key.pem" \
			--template "$pki/$kind.info" --outfile "$pki/$kind-cert.pem" 2>>"$T/pki.log"
	done
}

# serve PID_VARIABLE CONDITION COMMAND...: starts a server and waits until CONDITION holds
serve()
{
	local variable=$1 condition=$2
	shift 2
	start_process "$T/servers.log" "$@"
	wait_for 20 "$condition" "$1"
	printf -v "$variable" '%s' "$STARTED_PID"
}

start_target()
{
	rm -f "$T/target.raw" "$T/target.sock"
	truncate -s "$(blockdev --getsize64 "$SOURCE")" "$T/target.raw"
	serve TARGET_PID "[ -S '$T/target.sock' ]" \
		nbdkit --foreground --threads=4 --unix "$T/target.sock" file "$T/target.raw"
}

start_sources()
{
	PLAIN_PORT=$(free_port)
	serve PLAIN_PID "[ -n \"\$(ss -Hltn 'sport = :$PLAIN_PORT')\" ]" \
		nbdkit --foreground -r --threads=4 -i 127.0.0.1 -p "$PLAIN_PORT" file "$SOURCE" fadvise=sequential
	TLS_PORT=$(free_port)
	serve TLS_PID "[ -n \"\$(ss -Hltn 'sport = :$TLS_PORT')\" ]" \
		nbdkit --foreground -r --threads=4 -i 127.0.0.1 -p "$TLS_PORT" --tls=require \
		--tls-certificates="$T/pki" --tls-verify-peer file "$SOURCE" fadvise=sequential
}

stop_sources()
{
	end_process "$PLAIN_PID"
	end_process "$TLS_PID"
}

# CPU time of running processes so far, in ms
cpu_ms()
{
	local pid
	for pid in "$@"; do
		cut -d ')' -f 2- "/proc/$pid/stat"
	done | awk -v ticks="$(getconf CLK_TCK)" '{ sum += $12 + $13 } END { printf "%.0f", sum * 1000 / ticks }'
}

# The legs set COPY_NS, and COPY_CPU_MS: CPU time, user and system, of all processes that take part. Unlike
# the time it hardly depends on what else the machine does.

# timed SERVERS COMMAND...: SERVERS are the pids of those that run on
timed()
{
	local servers=$1 start before own TIMEFORMAT='%3U %3S'
	shift
	# shellcheck disable=SC2086  # a list of pids on purpose
	before=$(cpu_ms $servers)
	start=$(now_ns)
	own=$({ time "$@" >>"$T/copy.log" 2>&1; } 2>&1) || fail "$1 failed: $(tail -n 3 "$T/copy.log")"
	COPY_NS=$(($(now_ns) - start))
	# shellcheck disable=SC2086
	COPY_CPU_MS=$(calc "$(cpu_ms $servers) - $before + (${own/ / + }) * 1000")
}

leg_nbdcopy()
{
	timed "$PLAIN_PID $TARGET_PID" nbdcopy --flush --destination-is-zero "nbd://127.0.0.1:$PLAIN_PORT" "$TARGET_URI"
}

leg_nbdcopy_tls()
{
	timed "$TLS_PID $TARGET_PID" nbdcopy --flush --destination-is-zero \
		"nbds://localhost:$TLS_PORT/?tls-certificates=$T/pki" "$TARGET_URI"
}

leg_qemu()
{
	timed "$TARGET_PID" qemu-img convert -n --target-is-zero -f raw -O raw "$SOURCE" "$TARGET_URI"
}

leg_bdsync()
{
	timed "" bash -c 'bdsync "bdsync --server" "$1" "$2" | bdsync --patch="$2"' bdsync "$SOURCE" "$T/target.raw"
}

have_file()
{
	find "$T/receiver" -path '*/copy/disk0.have' -print -quit
}

# The agent's start (loading the tracker and proving it) is not part of a copy; it ends when the receiver
# opens the disk.
wait_for_have()
{
	local deadline=$((SECONDS + 60))
	until [ -n "$(have_file)" ]; do
		[ "$SECONDS" -lt "$deadline" ] || fail "the agent did not begin"
		sleep 0.01
	done
}

# From the moment that the receiver opens the disk until it has made the last block of the full copy durable:
# both are times of its have bitmap, made then and written then. Status comes twice a second, too coarse.
# Without capture, or streaming would follow at once.
leg_blkferry()
{
	local have before agent receiver target
	start_agent copy "$SOURCE" "pass-interval = 60s" "capture = off"
	before=$(cpu_ms "$RECEIVER_PID")
	wait_for_have
	START_CPU_MS=$(cpu_ms "$AGENT_PID")
	wait_for_status copy .phase delta
	have=$(have_file)
	COPY_NS=$(calc "($(stat --printf %.9Y "$have") - $(stat --printf %.9W "$have")) * 1e9")
	agent=$(($(cpu_ms "$AGENT_PID") - START_CPU_MS))
	receiver=$(($(cpu_ms "$RECEIVER_PID") - before))
	target=$(cpu_ms "$TARGET_PID")
	say "  CPU time in ms: agent $agent (and $START_CPU_MS to start), receiver $receiver, nbdkit $target"
	COPY_CPU_MS=$((agent + receiver + target))
	COPY_WIRE_MIB=$(calc "$(status copy .wire_bytes) / 1048576")
	end_agent copy
}

# Ends the agent and forgets the machine, so that the next round begins anew.
end_agent()
{
	ferry remove "$1" --yes >>"$T/copy.log" 2>&1
	end_process "$AGENT_PID" || true # told to stop, it may have ended by itself
	remove_pins "$AGENT_PINS"
	rm -rf "$T/agent-$1"
}

compare_target()
{
	case $1 in
	nbdcopy | nbdcopy_tls | qemu | bdsync) cmp "$SOURCE" "$T/target.raw" || fail "$1: the copy differs" ;;
	blkferry) compare "$SOURCE" "$T/target.raw" >>"$T/copy.log" || fail "blkferry: the copy differs" ;;
	esac
}

# copy_disk WHAT: SOURCE is the disk
copy_disk()
{
	local what=$1 round tool mib_s disk_mib
	disk_mib=$(($(blockdev --getsize64 "$SOURCE") / 1048576))
	say "copy: $what, $disk_mib MiB"
	blockdev --flushbufs "$SOURCE"
	dd if="$SOURCE" of=/dev/null bs=1M status=none
	start_sources
	for ((round = 1; round <= RUNS; round++)); do
		for tool in $COPY_TOOLS; do
			start_target
			"leg_$tool"
			[ "$round" -gt 1 ] || compare_target "$tool"
			end_process "$TARGET_PID"
			mib_s=$(calc "$disk_mib / ($COPY_NS / 1e9)")
			if [ "$tool" = blkferry ]; then
				record "copy_${what}_mib_s" "$round" "$mib_s"
				record "copy_${what}_cpu_ms" "$round" "$COPY_CPU_MS"
				record agent_start_cpu_ms "$round" "$START_CPU_MS"
				record "copy_${what}_wire_mib" "$round" "$COPY_WIRE_MIB"
			else
				record "copy_${what}_${tool}_mib_s" "$round" "$mib_s"
				record "copy_${what}_${tool}_cpu_ms" "$round" "$COPY_CPU_MS"
			fi
		done
	done
	rm -f "$T/target.raw"
	stop_sources
}

# copy_files FOLDER MIB: files of /usr, as many whole folders as fit into about MIB
copy_files()
{
	local folder=$1 left_kib=$(($2 * 1024)) entry kib
	while read -r kib entry; do
		[ "$kib" -le "$left_kib" ] || continue
		cp -a "$entry" "$folder"
		left_kib=$((left_kib - kib))
	done < <(du -sk --one-file-system /usr/lib/*/ /usr/share/*/ /usr/bin /usr/include 2>/dev/null | sort -n -r)
}

drop_disk()
{
	detach_loop "$SOURCE"
	rm -f "$LOOP_FILE"
}

# The agent does not copy what a mounted file system has free, so this disk is mounted, as a disk is that is
# replicated. The others read the free blocks; they are zero.
copy_fs()
{
	make_disk "$((SIZE_MIB * 3 / 2))M"
	SOURCE=$LOOP
	make_filesystem ext4 "$SOURCE" "$T/usr" -E lazy_itable_init=0,lazy_journal_init=0
	copy_files "$T/usr" "$SIZE_MIB"
	sync
	say "  $(df -m --output=used "$T/usr" | tail -n 1 | xargs) MiB of /usr on it"
	copy_disk fs
	unmount_folder "$T/usr"
	drop_disk
}

copy_empty()
{
	make_disk "$((SIZE_MIB * 8))M"
	SOURCE=$LOOP
	make_filesystem ext4 "$SOURCE" "$T/empty" -E lazy_itable_init=0,lazy_journal_init=0
	copy_files "$T/empty" $((SIZE_MIB / 16))
	sync
	copy_disk empty
	unmount_folder "$T/empty"
	drop_disk
}

copy_random()
{
	make_disk "${SIZE_MIB}M"
	SOURCE=$LOOP
	dd if=/dev/urandom of="$LOOP_FILE" bs=1M count="$SIZE_MIB" conv=notrunc status=none
	copy_disk random
	drop_disk
}

# The receiver's target layer alone, without network, TLS and agent
bench_target_layer()
{
	local round channels
	say "target layer: random bytes, 256 KiB requests"
	make_disk "${SIZE_MIB}M"
	SOURCE=$LOOP
	for ((round = 1; round <= RUNS; round++)); do
		for channels in 1 2; do
			start_target
			record "target_write_${channels}_channels_mib_s" "$round" \
				"$(target_write "$TARGET_URI" "$SIZE_MIB" "$channels" 256)"
			end_process "$TARGET_PID"
		done
	done
	rm -f "$T/target.raw"
	drop_disk
}

bench_copy()
{
	TARGET_URI="nbd+unix:///?socket=$T/target.sock"
	if command -v bdsync >/dev/null; then
		COPY_TOOLS+=" bdsync"
	else
		say "SKIPPED: bdsync is not installed, there will be no numbers for it"
	fi
	make_pki
	start_receiver "[machine copy]" "disk0 = $TARGET_URI"
	copy_random
	copy_fs
	copy_empty
	stop_receiver
	bench_target_layer
}
