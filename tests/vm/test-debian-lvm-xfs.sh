#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian with an XFS root on LVM, on virtio-scsi; the target has virtio-blk.
# shellcheck source=/dev/null disable=SC2034
. "$(dirname "$0")/migrate.sh"

LAYOUT=lvm-xfs
SOURCE_KINDS=(virtio-scsi)
migrate
