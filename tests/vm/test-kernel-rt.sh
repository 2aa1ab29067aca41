#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A PREEMPT_RT kernel, where handlers of completions are preempted: the tracker's hardest case.
. "$(dirname "$0")/vm.sh"

get_kernel trixie-security rt-amd64
replicate_and_cut_over virtio-blk bpf poweroff
