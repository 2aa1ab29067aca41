#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The receiver in dom0: a machine's VDI is written through tapdisk's NBD socket, then, by another receiver, through the
# block device that the host makes. Snapshots are checkpoints. The cutover lets go of the disk, and the VM starts.

. "$(dirname "$0")/../xapi/helper.sh"
requires ROOT BPF LOOP mkfs.ext4 jq python3 openssl nsenter unshare nbdcopy

make_source 64M 16M
make_helper
start_pool

run_receiver()
{
	start_receiver "retention = 1h:1ms" "${XCP_LINES[@]}" "attach = $1" "xcp-snapshots = 2s:2"
}

# move NAME: from enrolment to a started VM.
move()
{
	local name=$1
	start_agent "$name" "$SOURCE" "pass-interval = 100ms" "allocated-only = no"
	wait_last_error "$name" "blkferry xcp create"
	ferry xcp create "$name" --sr 'Local storage'
	wait_ready "$name"
	[ "$(pool_vm 'Control domain' '.VBDs | length')" = 1 ]
}

say "tapdisk's NBD socket"
run_receiver dom0-nbd
start_writer 1
move web1
status web1 '.disks[0].target' | grep -q 'nbd+unix:.*socket=/run/blktap-control/nbd/1111' || fail "not by NBD"
wait_phase web1 streaming
wait_for 60 '[ "$(snapshots web1 length)" = 2 ]' "snapshots"
compare_newest_snapshot web1 1
become_identical web1 "$T/pool/$(pool_vdis '[.[] | select(.is_a_snapshot | not)][0].uuid')"
ferry remove web1 --yes
[ "$(pool_vm 'Control domain' '.VBDs | length')" = 0 ] || fail "the disk of a removed machine is attached"
[ "$(pool_vdis '[.[] | select(.is_a_snapshot | not)] | length')" = 1 ] || fail "the VDI was destroyed"
wait_for 30 "! process_lives $AGENT_PID" "the end of the removed machine's agent"
end_process "$AGENT_PID"
stop_receiver

say "the block device"
run_receiver dom0
start_writer 1
move web2
status web2 '.disks[0].target' | grep -q 'block:/dev/sm/backend/1111' || fail "not by the block device"
wait_phase web2 streaming
wait_for 60 '[ "$(snapshots web2 length)" -ge 1 ]' "a snapshot"
compare_newest_snapshot web2 1
vdi=$(pool_vdis '[.[] | select(.name_label == "web2 disk 0" and (.is_a_snapshot | not))][0].uuid')
become_identical web2 "$T/pool/$vdi"
ferry cutover web2 --fence hold --timeout 30
[ "$(pool_vm web2 .power_state)" = Running ]
compare "$SOURCE" "$T/pool/$vdi"
check_pool
