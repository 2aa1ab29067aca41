#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds the .rpm packages from the release archive ARCHIVE and the static programs in PROGRAMS
# (packaging/static/build.sh), and leaves them in OUT: blkferry, blkferry-agent and blkferry-receiver for EL8 and EL9,
# blkferry-receiver-dom0 for XCP-ng.
#
# Usage: SOURCE_DATE_EPOCH=... packaging/rpm/build.sh ARCHIVE PROGRAMS OUT
set -euo pipefail
archive=$(realpath "$1")
programs=$(realpath "$2")
out=$(mkdir -p "$3" && cd "$3" && pwd)
spec=$(realpath "$(dirname "$0")/blkferry.spec")
version=$(basename "$archive" .tar.gz)
version=${version#blkferry-}
unset MAKEFLAGS MFLAGS BUILD SAN

command -v rpmbuild >/dev/null || {
	echo "rpm: rpmbuild is missing: packaging/install-deps.sh --packages"
	exit 77
}
work=$(mktemp -d "$out/build-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/SOURCES"
cp "$archive" "$work/SOURCES"
: >"$out/build.log"
for with in "--without dom0" "--with dom0"; do
	# shellcheck disable=SC2086  # two words
	# gzip: dom0's rpm knows no zstd.
	rpmbuild -bb $with --nodeps --define "_topdir $work" --define "_tmppath $work" --define "release_version $version" \
		--define "programs $programs" --define "_binary_payload w9.gzdio" "$spec" >>"$out/build.log" 2>&1 || {
		tail -n 60 "$out/build.log"
		echo "rpm: the packages cannot be built: $out/build.log"
		exit 1
	}
done
rm -f "$out"/*.rpm
mv "$work"/RPMS/*/*.rpm "$out"
