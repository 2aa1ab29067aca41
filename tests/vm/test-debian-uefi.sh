#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian with UEFI, whose boot entries stay behind in the source's firmware: without the fallback loader the target would
# not start. `check` says so, `check --fix` puts it there, and then it does.
# shellcheck source=/dev/null disable=SC2034
. "$(dirname "$0")/migrate.sh"

LAYOUT=uefi
FIRMWARE=uefi
start_source
install_agent
in_machine source 'rm -r /boot/efi/EFI/BOOT'
check_readiness 3
grep -q uefi-fallback "$T/check.log" || fail "check does not name the fallback loader: $(cat "$T/check.log")"
in_machine source 'blkferry-agent check --target kvm --fix' >"$T/fix.log" 2>&1 || fail "check --fix: $(cat "$T/fix.log")"
check_readiness 0
migrate_ready_source
