#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# test-kill.sh on btrfs, beside ext4. The view of a btrfs is mounted beside its source, which has the same identity: that
# needs Linux 6.7. So its log is replayed, the records in it are looked at, and btrfs check reads all of it, data as well.
#
# SOAK_ROUNDS=200   SEED=N

export FILE_SYSTEMS="btrfs ext4"
exec "$(dirname "$0")/test-kill.sh"
