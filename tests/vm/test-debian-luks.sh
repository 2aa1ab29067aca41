#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian on LVM on LUKS2: what is written is captured below the encryption, and stays encrypted on the replica.
# shellcheck source=/dev/null disable=SC2034
. "$(dirname "$0")/migrate.sh"

LAYOUT=luks
migrate
