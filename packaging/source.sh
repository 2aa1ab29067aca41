#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Writes the release archive, blkferry-VERSION.tar.gz, into FOLDER: the files that are, or are about to be, in the tree.
# The same tree gives the same bytes, whoever packs it, where and when.
#
# Usage: SOURCE_DATE_EPOCH=... packaging/source.sh FOLDER
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/.."
PWD=$(pwd -P)
name=blkferry-$(cat VERSION)

# Without git (we are in a release archive already): all but the builds.
files()
{
	if [ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$PWD" ]; then
		git ls-files --cached --others --exclude-standard
	else
		find . -path './build*' -prune -o -path ./debian -prune -o -type f -print | sed 's|^\./||'
	fi | LC_ALL=C sort -u | while read -r file; do
		[ ! -f "$file" ] || echo "$file"
	done
}

files | tar --create --no-recursion --transform "s|^|$name/|" --format=gnu \
	--mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u+rw,go=rX --files-from=- |
	gzip -9n >"$folder/$name.tar.gz.tmp"
mv "$folder/$name.tar.gz.tmp" "$folder/$name.tar.gz"
