#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The main job on a whole machine: Debian 12 with PostgreSQL at work, the agent from our package, enrolled with a token.
# It streams, is upgraded while it does, a checkpoint is booted beside it, and the cutover switches it off and starts
# the target, with everything that was acknowledged.
# shellcheck source=/dev/null disable=SC2034
. "$(dirname "$0")/migrate.sh"

# files_of IMAGE: every file with its attributes and digest, of a file system that is clean
files_of()
{
	local loop start
	start=$(sfdisk --json "$1" | jq '.partitiontable | .partitions[-1].start * .sectorsize')
	loop=$(losetup --find --show --read-only --offset "$start" "$1")
	cleanup_fn detach_loop "$loop"
	e2fsck -fn "$loop" >"$T/e2fsck.log" 2>&1 || fail "the file system of $1: $(tail -n 3 "$T/e2fsck.log")"
	mount_folder "$loop" "$1.files" -o ro
	(cd "$1.files" && find . -printf '%p %y %m %U:%G %s %T@ %l\n' | sort &&
		find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

start_source
install_agent
check_readiness 0
# As it is installed: only what the file system uses is copied.
enroll_source
wait_for_streaming "after the first copy"
upgrade_agent
test_boot
cut_over
look_at_target

qemu-img convert -U -f qcow2 -O raw "$T/source0.qcow2" "$T/source.img"
cp --sparse=always "$(status web1 '.disks[0].path')" "$T/replica.img"
files_of "$T/source.img" >"$T/source.list"
files_of "$T/replica.img" >"$T/replica.list"
diff "$T/source.list" "$T/replica.list" >"$T/files.log" || fail "files differ: $(head -n 10 "$T/files.log")"
say "$(grep -c '^\./' "$T/source.list") files are the same"
