#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2154  # dracut's variables
# dracut: takes along what has tracking begin before the file systems are there. Without a plan (see
# `blkferry-agent initramfs`) there is nothing to take.

early=/usr/lib/blkferry/blkferry-early

check()
{
	local plan
	[ -x "$dracutsysrootdir$early" ] || return 1
	plan=$(blkferry-agent initramfs --plan 2>/dev/null) && [ -s "$plan" ]
}

depends()
{
	return 0
}

install()
{
	inst_binary "$early" /usr/lib/blkferry/blkferry-early
	inst_simple "$(blkferry-agent initramfs --plan)" /etc/blkferry/handover.plan
	if dracut_module_included systemd; then
		inst_simple "$moddir/blkferry-early.service" "$systemdsystemunitdir/blkferry-early.service"
		$SYSTEMCTL -q --root "$initdir" add-wants initrd.target blkferry-early.service
	else
		inst_hook pre-mount 01 "$moddir/start.sh"
	fi
}
