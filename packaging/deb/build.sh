#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds the Debian packages from the release archive ARCHIVE, in a folder of its own, and leaves them in OUT.
#
# Usage: SOURCE_DATE_EPOCH=... packaging/deb/build.sh ARCHIVE OUT
# The unit tests are left out (make check has run them); DEB_BUILD_OPTIONS= runs them, too.
set -euo pipefail
archive=$(realpath "$1")
out=$(mkdir -p "$2" && cd "$2" && pwd)
export DEB_BUILD_OPTIONS=${DEB_BUILD_OPTIONS-nocheck}
unset MAKEFLAGS MFLAGS BUILD SAN

command -v dpkg-buildpackage >/dev/null && command -v dh >/dev/null || {
	echo "deb: dpkg-buildpackage or debhelper is missing: packaging/install-deps.sh --packages"
	exit 77
}
work=$(mktemp -d "$out/build-XXXXXX")
trap 'rm -rf "$work"' EXIT
tar -C "$work" -xf "$archive"
version=$(basename "$archive" .tar.gz)
version=${version#blkferry-}
cp "$archive" "$work/blkferry_$version.orig.tar.gz"
cd "$work/blkferry-$version"
cp -r packaging/deb debian
rm debian/build.sh
dpkg-buildpackage --no-sign --build=full >"$out/build.log" 2>&1 || {
	tail -n 60 "$out/build.log"
	echo "deb: the packages cannot be built: $out/build.log"
	exit 1
}
cd ..
rm -f "$out"/*.deb "$out"/*.changes "$out"/*.dsc "$out"/*.buildinfo
mv ./*.deb ./*.dsc ./*.orig.tar.gz ./*.debian.tar.* ./*.changes ./*.buildinfo "$out"
