# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Reading a checkpoint through a view, beside reading the target itself; both over NBD from a unix socket, with
# all bytes in memory. At first nothing was overwritten since the checkpoint; then a quarter of the disk was, in
# pieces of 64 KiB, and those come from undo records.

# read_rate NAME ROUND URI
read_rate()
{
	local start
	start=$(now_ns)
	nbdcopy "$3" null: >>"$T/view.log" 2>&1 || fail "nbdcopy $3: $(tail -n 3 "$T/view.log")"
	record "$1" "$2" "$(calc "$SIZE_MIB / (($(now_ns) - $start) / 1e9)")"
}

bench_view()
{
	local round view
	say "views"
	unset RECEIVER_PORT
	start_receiver
	make_disk "${SIZE_MIB}M"
	SOURCE=$LOOP
	dd if=/dev/urandom of="$SOURCE" bs=1M count="$SIZE_MIB" oflag=direct status=none
	start_agent view "$SOURCE"
	wait_for_status view .phase streaming
	TARGET_URI=$(status view '.disks[0].target')
	wait_for 120 'ferry checkpoint view --label bench >>"$T/view.log" 2>&1' "a checkpoint"
	ferry view view --at bench --json >"$T/view.json"
	view=$(jq -r '.disks[0].uri' "$T/view.json")
	for ((round = 1; round <= RUNS; round++)); do
		read_rate view_target_mib_s "$round" "$TARGET_URI"
		read_rate view_newest_mib_s "$round" "$view"
	done
	dd if="$SOURCE" of="$T/view.copy" bs=1M status=none
	fio --name=writes --filename="$SOURCE" --size="${SIZE_MIB}m" --bs=64k --rw=randwrite --direct=1 \
		--ioengine=psync --io_size="$((SIZE_MIB / 4))m" >>"$T/view.log"
	wait_for 120 'ferry checkpoint view --label after >>"$T/view.log" 2>&1' "a checkpoint"
	for ((round = 1; round <= RUNS; round++)); do
		read_rate view_older_mib_s "$round" "$view"
	done
	nbdcopy "$view" - | cmp - "$T/view.copy" || fail "the view is not what was there"
	rm -f "$T/view.copy"
	end_agent view
	stop_receiver
	detach_loop "$SOURCE"
}
