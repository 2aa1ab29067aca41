#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A machine with two disks goes to an XCP-ng pool (the stub's), with the receiver in a helper VM: its disks and VM are
# made, a receiver that is killed leaves no disk attached, a cutover that could not start the VM is refused before the
# freeze, a start that fails puts all back, and in the end the VM runs with byte-identical disks.

. "$(dirname "$0")/../xapi/helper.sh"
requires ROOT BPF LOOP mkfs.ext4 jq python3 openssl nsenter unshare

make_source 64M 16M
make_disk 40M
second=$LOOP
dd if=/dev/urandom of="$second" bs=1M count=9 conv=fsync status=none
# said TEXT: the last command's error has it.
said()
{
	grep -qF "$1" "$T/error" || fail "the message should have \"$1\": $(cat "$T/error")"
}

# replica_of DEVICE: the file behind its VDI. Disks are numbered in the order of their names.
replica_of()
{
	local slot
	slot=$(status web1 ".disks | map(.source) | index(\"$1\")")
	echo "$T/pool/$(pool_vdis ".[$slot].uuid")"
}

make_helper
start_pool
start_receiver "${XCP_LINES[@]}"

say "nothing is copied before the disks are made"
start_writer 1
start_agent web1 "$SOURCE,$second" "pass-interval = 100ms"
wait_last_error web1 "blkferry xcp create"
[ ! -e "$T/receiver/machines/web1/disk0.have" ] || fail "it was copied somewhere"

say "a create that fails leaves nothing"
! ferry xcp create web1 --sr nowhere 2>"$T/error" || fail "storage that is not there was taken"
said "no SR 'nowhere'"
order '{"fail": "VDI.get_virtual_size", "error": ["SR_BACKEND_FAILURE_44", "", "no space", ""]}' >/dev/null
! ferry xcp create web1 --sr 'Local storage' 2>"$T/error" || fail "a full storage was taken"
said "has no room"
[ "$(pool_vdis length)" = 0 ] || fail "VDIs were left"
[ "$(pool_vm web1 .uuid)" = null ] || fail "a VM was left"
[ ! -e "$T/receiver/machines/web1/xcp.json" ] || fail "a record was left"

say "create"
ferry xcp create web1 --sr 'Local storage'
! ferry xcp create web1 --sr 'Local storage' 2>"$T/error" || fail "it was made twice"
[ "$(pool_vdis length)" = 2 ] || fail "not two VDIs"
[ "$(pool_vdis 'map(.virtual_size) | join(" ")')" = "$(status web1 '.disks | map(.size) | join(" ")')" ] || fail "sizes"
[ "$(pool_vm web1 .is_a_template)" = false ]
[ "$(pool_vm web1 '.VBDs | length')" = 2 ] || fail "its disks"
[ "$(pool_vm web1 .VCPUs_max)" = "$(nproc)" ] || fail "processors"
[ "$(pool_vm web1 .memory_static_max)" = "$(status web1 .source.memory)" ] || fail "memory"
[ "$(pool_vm web1 .HVM_boot_params.firmware)" = "$(status web1 .source.firmware)" ] || fail "firmware"
macs=$(pool VIF.get_all_records | jq -r '[.[].MAC] | sort | join(" ")')
[ "$macs" = "$(status web1 '[.source.nics[].mac] | sort | join(" ")')" ] || fail "MAC addresses: $macs"
ref=$(pool VM.get_by_name_label '"web1"' | jq '.[0]')
! pool VM.start "$ref" false false >"$T/error" || fail "the VM may be started"
said OPERATION_BLOCKED

say "replication, over a killed receiver"
wait_ready web1
[ "$(status web1 '.disks[0].target' | cut -c1-4)" = xcp: ]
[ "$(pool_vm blkferry '.VBDs | length')" = 2 ]
stop_receiver KILL
start_receiver "${XCP_LINES[@]}"
wait_message "$T/receiver.log" "left attached by an earlier run"
wait_ready web1
[ "$(pool_vm blkferry '.VBDs | length')" = 2 ] || fail "VBDs leaked"
! grep -q "is another file than" "$T/receiver.log" || fail "the replica was distrusted without need"
become_identical web1 "$(replica_of "$SOURCE")"

say "a disk that somebody plugs in the place of ours is left alone"
stop_agent
wait_for 30 "[ \"\$(status web1 .connected)\" = false ]" "the end of the session"
for ref in $(pool_vm blkferry '.VBDs[] | tojson'); do
	pool VBD.unplug "$ref" >/dev/null
	pool VBD.destroy "$ref" >/dev/null
done
helper=$(pool VM.get_by_name_label '"blkferry"' | jq '.[0]')
foreign=$(pool VDI.create "{\"name_label\": \"zz foreign\", \"name_description\": \"\", \"SR\": $(
	pool SR.get_all | jq '.[0]'
), \"virtual_size\": 134217728, \"type\": \"user\", \"sharable\": false, \"read_only\": false, \"other_config\": {}}")
vbd=$(pool VBD.create "{\"VM\": $helper, \"VDI\": $foreign, \"userdevice\": \"0\", \"bootable\": false, \"mode\": \"RW\",
	\"type\": \"Disk\", \"empty\": false, \"other_config\": {}, \"qos_algorithm_type\": \"\", \"qos_algorithm_params\": {}}")
pool VBD.plug "$vbd" >/dev/null
start_agent web1 "$SOURCE,$second" "pass-interval = 100ms"
wait_ready web1
become_identical web1 "$(replica_of "$SOURCE")"
[ "$(stat -c %b "$T/pool/$(pool_vdis '.[2].uuid')")" = 0 ] || fail "the foreign disk was written to"
pool VBD.unplug "$vbd" >/dev/null
pool VDI.destroy "$foreign" >/dev/null

say "a VM that could not be started is found before the freeze"
order '{"fail": "VM.get_possible_hosts", "error": ["HOST_NOT_ENOUGH_FREE_MEMORY", "4096", "1024"]}' >/dev/null
! ferry cutover web1 --fence hold 2>"$T/error" || fail "it was cut over"
said "free memory"
[ "$(status web1 .ready)" = true ]
start_writer 1
writer_moves 60 || fail "the source stands still"
stop_writer

say "a start that fails puts all back"
order '{"fail": "VM.start", "error": ["NO_HOSTS_AVAILABLE"]}' >/dev/null
! ferry cutover web1 --fence hold --timeout 30 2>"$T/error" || fail "it was started"
said "no host can run this VM"
[ "$(pool_vm web1 .power_state)" = Halted ]
[ "$(pool_vm web1 '.blocked_operations | length')" = 3 ] || fail "the VM is not blocked any more"
[ "$(pool_vm blkferry '.VBDs | length')" = 0 ] || fail "VBDs were left"

say "and again"
end_process "$AGENT_PID" KILL || true
wait_for 30 "[ \"\$(status web1 .connected)\" = false ]" "the end of the session"
ferry cutover web1 --source-is-dead
[ "$(pool_vm web1 .power_state)" = Running ]
[ "$(pool_vm web1 '.blocked_operations | length')" = 0 ]
[ "$(pool VBD.get_all_records | jq -r '[.[] | select(.currently_attached)] | sort_by(.userdevice) |
	map(.userdevice + (.bootable | tostring)) | join(" ")')" = "0true 1false" ] || fail "the VM's disks"
compare "$SOURCE" "$(replica_of "$SOURCE")"
compare "$second" "$(replica_of "$second")"
check_pool
