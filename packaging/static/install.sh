#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs the static agent on a machine that has no package of it, or a newer one over an older. Run it as root from
# the unpacked archive. Configuration that is there stays. DESTDIR=/some/root installs there instead.
set -eu
cd "$(dirname "$0")/files"
root=${DESTDIR:-}

find . -type f | while read -r file; do
	file=${file#./}
	mkdir -p "$root/$(dirname "$file")"
	case $file in
	etc/blkferry/*) [ ! -e "$root/$file" ] || continue ;;
	esac
	# A program that runs is replaced, not written over.
	cp -p "$file" "$root/$file.new"
	mv "$root/$file.new" "$root/$file"
	echo "installed $root/$file"
done

if [ -z "$root" ] && [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart blkferry-agent.service
fi
[ -e "$root/var/lib/blkferry-agent/machine.pem" ] || echo "next: blkferry token NAME on the receiver, then here
  blkferry-agent enroll RECEIVER TOKEN
  systemctl enable --now blkferry-agent"
