#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian 13's kernel, an nvme disk, and a fence that halts.
. "$(dirname "$0")/vm.sh"

get_kernel trixie-security cloud-amd64
replicate_and_cut_over nvme bpf halt
