#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guest's power is cut while there is more to send. What the tracker knew is lost with its memory, and its
# file system recovers before the agent starts: the disks are compared by digest, and only what differs is
# sent. Then a cutover, and the replica is whole.
. "$(dirname "$0")/vm.sh"

FILLING_MIB=128 # of random bytes: a full copy cannot be smaller

get_kernel bookworm-security cloud-amd64
make_guest_disk 384M "$FILLING_MIB"
start_receiver
# Every block, or what a file had that is deleted before the comparison would be different by right.
make_guest web1 "allocated-only = no"
boot_guest virtio-blk
wait_for_guest 900 "[ \"\$(status web1 .ready)\" = true ]" "the first copy"
say "the full copy: $(status web1 .wire_bytes) bytes on the wire"

# Slower than the writer: from here on there is always more to send, in the capture ring, or, after a gap, in a pass.
ferry limit web1 1MiB/s
wait_for_guest 900 "[ \"\$(status web1 '.ready or .lag_bytes < 4194304')\" = false ]" \
	"changes that are not sent"
cut_power
say "power cut with $(status web1 .lag_bytes) bytes to send"
wait_for 300 "[ \"\$(status web1 .connected)\" = false ]" "the receiver to see it"
ferry limit web1 none

# The writer begins anew elsewhere and writes little, since it is not its bytes that count here.
boot_guest virtio-blk folder=second rewrite-mib=1
wait_for_guest 900 "[ \"\$(status web1 .phase)\" = resync ]" "a comparison by digest"
wait_for_guest 900 "[ \"\$(status web1 .ready)\" = true ]" "the end of the comparison"
sent_bytes=$(status web1 .wire_bytes)
say "after the power cut: $sent_bytes bytes on the wire"
[ "$sent_bytes" -lt $((FILLING_MIB * 1048576 / 2)) ] || fail "$sent_bytes bytes: that is nearly a full copy"
check_tracker bpf

ferry verify web1 || fail "verify says that the replica differs"
ferry cutover web1 --fence poweroff --timeout 300
wait_for_end poweroff
check_replica web1 second
