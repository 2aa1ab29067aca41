#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian with a btrfs root, on NVMe; the target has virtio-blk.
# shellcheck source=/dev/null disable=SC2034
. "$(dirname "$0")/migrate.sh"

LAYOUT=btrfs
SOURCE_KINDS=(nvme)
migrate
