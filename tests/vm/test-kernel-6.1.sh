#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian 12's kernel, a virtio-blk disk: replicated while it is written, verified, cut over, powered off.
. "$(dirname "$0")/vm.sh"

get_kernel bookworm-security cloud-amd64
replicate_and_cut_over virtio-blk bpf poweroff
