# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# For integration tests in which this machine is a helper VM in a pool (the stub's), or its dom0: the receiver sees a
# /dev, /sys, /run and /etc of its own, in a mount namespace, where the stub's disks appear as they would there.

# shellcheck source=tests/fault-functions.sh
. "$(dirname "${BASH_SOURCE[0]}")/../fault-functions.sh"

# make_helper: sets HELPER_ROOT; from here on 'blkferry-receiver' runs there.
make_helper()
{
	export HELPER_ROOT=$T/helper
	local folder node
	for folder in dev sys run etc; do
		mkdir -p "$HELPER_ROOT/$folder"
		mount -t tmpfs none "$HELPER_ROOT/$folder"
		cleanup_fn umount -l "$HELPER_ROOT/$folder"
	done
	cleanup_fn detach_helper_loops
	for node in null zero full random urandom; do
		cp -a "/dev/$node" "$HELPER_ROOT/dev/"
	done
	cp /etc/passwd /etc/group /etc/nsswitch.conf "$HELPER_ROOT/etc/"
	printf "%s\n" "INSTALLATION_UUID='44444444-4444-4444-4444-444444444444'" \
		"CONTROL_DOMAIN_UUID='22222222-2222-2222-2222-222222222222'" >"$HELPER_ROOT/etc/xensource-inventory"
	mkdir -p "$HELPER_ROOT/sys/block" "$HELPER_ROOT/sys/hypervisor" "$HELPER_ROOT/notes" "$T/bin"
	echo 33333333-3333-3333-3333-333333333333 >"$HELPER_ROOT/sys/hypervisor/uuid"
	start_process "$T/helper.log" unshare -m --propagation private tail -f /dev/null
	HELPER_PID=$STARTED_PID
	wait_for 10 "[ \"\$(readlink /proc/$HELPER_PID/ns/mnt)\" != \"\$(readlink /proc/$$/ns/mnt)\" ]" "the namespace"
	for folder in sys run etc; do
		nsenter -t "$HELPER_PID" -m -- mount --bind "$HELPER_ROOT/$folder" "/$folder"
	done
	# The test's own folder may lie in /dev/shm.
	mkdir "$HELPER_ROOT/dev/shm"
	nsenter -t "$HELPER_PID" -m -- mount --bind /dev/shm "$HELPER_ROOT/dev/shm"
	nsenter -t "$HELPER_PID" -m -- mount --rbind "$HELPER_ROOT/dev" /dev
	printf '#!/bin/sh\nexec nsenter -t %s -m -- %s "$@"\n' "$HELPER_PID" "$BUILD/blkferry-receiver" \
		>"$T/bin/blkferry-receiver"
	chmod +x "$T/bin/blkferry-receiver"
	PATH=$T/bin:$PATH
}

detach_helper_loops()
{
	local file
	find "$HELPER_ROOT/notes/" -name loop | while read -r file; do
		detach_loop "$(cat "$file")"
	done
}

# start_pool [OPTION...]: a pool at POOL, whose [xcp] section is in XCP_LINES.
start_pool()
{
	mkdir -p "$T/pool"
	openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=xcp1 -keyout "$T/pool.key" -out "$T/pool.crt" \
		2>/dev/null
	cat "$T/pool.key" "$T/pool.crt" >"$T/pool.pem"
	printf 'secret\n' >"$T/password"
	start_process "$T/pool.log" "$TOP/tests/xapi/stub.py" --storage "$T/pool" --certificate "$T/pool.pem" \
		--role vm-power-admin --hook "$TOP/tests/xapi/helper-hook.sh" "$@"
	wait_for 20 "[ -s '$T/pool/port' ]" "the pool's port"
	POOL=127.0.0.1:$(cat "$T/pool/port")
	# shellcheck disable=SC2034  # for the test
	XCP_LINES=("[xcp]" "host = $POOL" "user = root" "password-file = $T/password" "fingerprint = $(
		openssl x509 -in "$T/pool.crt" -noout -fingerprint -sha256 | sed 's/.*=//'
	)")
}

# pool METHOD [PARAM...]: calls it at the pool, without a session; params are JSON.
pool()
{
	local method=$1 params
	shift
	params=$(IFS=,; echo "$*")
	order "{\"call\": \"$method\", \"params\": [$params]}"
}

order()
{
	"$TOP/tests/xapi/order.py" "https://$POOL" "$1"
}

# pool_vm NAME FILTER: of the VM's record, by jq; pool_vdis FILTER: of all VDIs' records as an array.
pool_vm()
{
	pool VM.get_all_records | jq -r "[.[] | select(.name_label == \"$1\")][0] | $2"
}

pool_vdis()
{
	pool VDI.get_all_records | jq -r "[.[]] | sort_by(.name_label) | $1"
}

# snapshots NAME FILTER: of those that the machine's VM has in the pool, by jq
snapshots()
{
	ferry points "$1" --snapshots --json | jq -r "$2"
}

# snapshot_disk UUID DISK: the file behind a snapshot's disk
snapshot_disk()
{
	local vm vdi
	vm=$(pool VM.get_by_uuid "\"$1\"")
	vdi=$(pool VBD.get_all_records |
		jq --argjson vm "$vm" "[.[] | select(.VM == \$vm and .userdevice == \"$2\")][0].VDI")
	echo "$T/pool/$(pool VDI.get_uuid "$vdi" | jq -r .)"
}

# compare_newest_snapshot NAME DISKS: its disks are those of a view of its checkpoint
compare_newest_snapshot()
{
	local name=$1 disks=$2 uuid number view disk
	read -r uuid number < <(snapshots "$name" '.[-1] | "\(.uuid) \(.number)"')
	for ((disk = 0; disk < disks; disk++)); do
		cp "$(snapshot_disk "$uuid" "$disk")" "$T/snapshot$disk"
	done
	[ "$(ferry points "$name" --json | jq -r ".[] | select(.number == $number) | .snapshot")" = \
		"$(snapshots "$name" ".[] | select(.number == $number) | .name")" ] || fail "points does not show it"
	view=$(ferry view "$name" --at "#$number" --json)
	for ((disk = 0; disk < disks; disk++)); do
		nsenter -t "$HELPER_PID" -m nbdcopy "$(jq -r ".disks[$disk].uri" <<<"$view")" "$T/view$disk"
		cmp -n "$(stat -c %s "$T/view$disk")" "$T/view$disk" "$T/snapshot$disk" ||
			fail "disk $disk of snapshot '$uuid' is not checkpoint #$number"
	done
	ferry view "$name" --stop "$(jq -r .id <<<"$view")" >/dev/null
	say "snapshot of checkpoint #$number: identical"
}

check_pool()
{
	! grep -n 'STUB BUG' -A 20 "$T/pool.log" || fail "the pool served what XAPI would not"
}
