#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A disk with sectors of 4096 bytes, UEFI: everything is written in whole sectors of it, and the target has them as well.
# shellcheck source=/dev/null disable=SC2034
. "$(dirname "$0")/migrate.sh"

LAYOUT=uefi
FIRMWARE=uefi
DISK_OPTIONS=logical_block_size=4096,physical_block_size=4096
migrate
