#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The newest kernel that there is for Debian 13, a virtio-scsi disk.
. "$(dirname "$0")/vm.sh"

get_kernel trixie-backports amd64
replicate_and_cut_over virtio-scsi bpf poweroff
