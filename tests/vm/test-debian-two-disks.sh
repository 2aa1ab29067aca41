#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# PostgreSQL with its WAL on one disk (ext4, virtio-blk) and its data on another (XFS, NVMe): every checkpoint is of one
# moment of both. The target has both on virtio-scsi.
# shellcheck source=/dev/null disable=SC2034
. "$(dirname "$0")/migrate.sh"

LAYOUT=two-disks
SOURCE_KINDS=(virtio-blk nvme)
TARGET_KINDS=(virtio-scsi virtio-scsi)
migrate
