#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian 11's kernel cannot load the tracker: the agent says so, and scans instead.
. "$(dirname "$0")/vm.sh"

get_kernel bullseye-security cloud-amd64
replicate_and_cut_over virtio-blk scan poweroff
