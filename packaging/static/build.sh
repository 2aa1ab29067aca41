#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds the static programs from the release archive ARCHIVE with the libraries in LIBS (build-libs.sh), and leaves
# in OUT:
#   blkferry-agent-VERSION-MACHINE.tar.gz     the agent for distributions that have no package, with install.sh
#   programs/                                 the programs, stripped, for the .rpm
#
# Usage: SOURCE_DATE_EPOCH=... packaging/static/build.sh ARCHIVE LIBS OUT
set -euo pipefail
archive=$(realpath "$1")
libs=$(realpath "$2")
out=$(mkdir -p "$3" && cd "$3" && pwd)
unset MAKEFLAGS MFLAGS BUILD SAN
export PATH="$libs/bin:$PATH" PKG_CONFIG_LIBDIR="$libs/prefix/lib/pkgconfig" PKG_CONFIG_PATH=

work=$(mktemp -d "$out/build-XXXXXX")
trap 'rm -rf "$work"' EXIT
tar -C "$work" -xf "$archive"
name=$(basename "$archive" .tar.gz)
cd "$work/$name"
make -j"${JOBS:-$(nproc)}" BUILD=build CC=musl-pie-cc PKG_CONFIG='pkg-config --static' PREFIX=/usr/local \
	UNITDIR=/etc/systemd/system SHUTDOWNDIR=/usr/lib/systemd/system-shutdown INITRAMFSDIR=/etc/initramfs-tools \
	DRACUTDIR=/usr/lib/dracut/modules.d ZSHCOMPDIR=/usr/local/share/zsh/site-functions DESTDIR="$work/root" VIEW_PLUGIN= install \
	CFLAGS="-O2 -g -include packaging/static/musl_compat.h -ffile-prefix-map=$PWD=." >"$out/build.log" 2>&1 || {
	tail -n 60 "$out/build.log"
	echo "static: the programs cannot be built: $out/build.log"
	exit 1
}
rm -rf "$out/programs"
mkdir "$out/programs"
for program in blkferry-agent blkferry-early blkferry-receiver blkferry; do
	strip -o "$out/programs/$program" "build/$program"
done

package=blkferry-agent-${name#blkferry-}-$(uname -m)
mkdir "$work/$package"
(cd "$work/root" && { find . -type f -path '*agent*' ! -path '*-preset/*' ! -path './usr/local/share/doc/*' \
	! -path './usr/local/lib/*' && find ./etc/initramfs-tools ./usr/lib -type f; } | cpio --quiet -pdm "$work/$package/files")
cp "$out/programs/blkferry-agent" "$work/$package/files/usr/local/sbin/blkferry-agent"
mkdir -p "$work/$package/files/usr/local/lib/blkferry"
cp "$out/programs/blkferry-early" "$work/$package/files/usr/local/lib/blkferry/blkferry-early"
cp packaging/static/install.sh README.md NEWS LICENSE "$work/$package"
tar -C "$work" --create --sort=name --format=gnu --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
	--mode=u+rw,go=rX "$package" | gzip -9n >"$out/$package.tar.gz"
