#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Fetches a Debian kernel with its modules, and prints the folder: FOLDER/vmlinuz, FOLDER/lib/modules/NAME.
# The machine's own apt is not touched. What was fetched once is used again: remove the folder for a newer
# one. Exit status 77, with the reason as the last line, when it cannot be had.
#
# Usage: tests/vm/get-kernel.sh CACHE_FOLDER SUITE FLAVOUR
#   SUITE    bookworm-security, trixie-backports, sid ...
#   FLAVOUR  amd64, cloud-amd64, rt-amd64
set -euo pipefail

cache=$1 suite=$2 flavour=$3
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

skip()
{
	printf '%s\n' "$*" >&2
	exit 77
}

# The mirror that this machine uses itself, if it is a Debian.
find_mirror()
{
	local wanted=debian\$ default=http://deb.debian.org/debian found
	case $suite in
	*-security)
		wanted=debian-security\$
		default=http://deb.debian.org/debian-security
		;;
	esac
	found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources \
		2>/dev/null | grep -v '^ *#' | grep -oE 'https?://[^] ]+' | sed 's|/*$||' |
		grep -m 1 "$wanted") || found=$default
	echo "$found"
}

# Lists of its own, in a folder of its own.
prepare_apt()
{
	state=$cache/apt/$suite
	mkdir -p "$state/lists/partial" "$state/archives/partial"
	: >"$state/status"
	echo "deb [arch=amd64 signed-by=$keyring] $(find_mirror) $suite main" >"$state/sources.list"
	apt_options=(-q -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
		-o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::State::lists="$state/lists"
		-o Dir::Cache="$state" -o APT::Sandbox::User=root -o APT::Architecture=amd64)
}

# What linux-image-FLAVOUR stands for today.
find_release()
{
	apt-cache "${apt_options[@]}" show "linux-image-$flavour" |
		sed -n 's/^Depends: .*linux-image-\([0-9][^ ,]*\).*/\1/p' | head -n 1
}

# Newer kernels come in several packages. The release is noted last: without it the folder counts for nothing.
fetch()
{
	local release=$1 folder=$2 part packages=() archive image
	for part in image binary modules base; do
		[ -z "$(apt-cache "${apt_options[@]}" madison "linux-$part-$release" 2>/dev/null)" ] ||
			packages+=("linux-$part-$release")
	done
	echo "fetching ${packages[*]} from $suite" >&2
	rm -rf "$folder" "$state/debs"
	mkdir -p "$folder" "$state/debs"
	(cd "$state/debs" && apt-get "${apt_options[@]}" download "${packages[@]}" >/dev/null) || return 1
	for archive in "$state"/debs/*.deb; do
		dpkg-deb -x "$archive" "$folder" || return 1
	done
	rm -rf "$state/debs"
	[ -e "$folder/lib" ] || ln -s usr/lib "$folder/lib"
	image=$(find "$folder" -type f \( -name "vmlinuz-$release" -o -path "*/modules/$release/vmlinuz" \) |
		head -n 1)
	[ -n "$image" ] && ln -f "$image" "$folder/vmlinuz" && depmod -b "$folder" "$release" &&
		echo "$release" >"$folder/release"
}

[ -e "$keyring" ] || skip "$keyring is not there: kernels are fetched from Debian"
mkdir -p "$cache"
folder=$cache/$suite-$flavour
if [ ! -s "$folder/release" ]; then
	prepare_apt
	apt-get "${apt_options[@]}" update >"$state/update.log" 2>&1 ||
		skip "the packages of Debian $suite cannot be had: $(tail -n 1 "$state/update.log")"
	release=$(find_release) || release=
	[ -n "$release" ] || skip "Debian $suite has no kernel linux-image-$flavour"
	fetch "$release" "$folder" || skip "kernel $release cannot be fetched from Debian $suite"
fi
echo "$folder"
