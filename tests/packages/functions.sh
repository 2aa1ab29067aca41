# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the tests of the packages share, beside ../functions.sh. They are run by `make check-packages`, which says in
# DIST which release archive is meant.

. "$(dirname "$0")/../functions.sh"

[ -n "${DIST:-}" ] || skip "is run by make check-packages"
export SOURCE_DATE_EPOCH
# Trees of a system do not fit into memory everywhere, and /dev/shm may forbid device nodes.
TREES=$BUILD/packages/trees
CODENAME=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

# make_tree: sets TREE to a fresh minimal Debian of this release, which the test may change as it likes.
make_tree()
{
	local cache=$BUILD/packages/debian-$CODENAME.tar
	requires ROOT debootstrap unshare
	mkdir -p "$TREES"
	TREE=$(mktemp -d "$TREES/tree-XXXXXX")
	cleanup_fn rm -rf --one-file-system "$TREE"
	if [ ! -e "$cache" ]; then
		debootstrap --variant=minbase "$CODENAME" "$TREE" "$MIRROR" >"$T/debootstrap.log" 2>&1 ||
			skip "debootstrap cannot get $CODENAME from $MIRROR"
		tar -C "$TREE" --one-file-system -cf "$cache.tmp" .
		mv "$cache.tmp" "$cache"
	else
		tar -C "$TREE" -xpf "$cache"
	fi
	chmod 755 "$TREE"
	cp /etc/resolv.conf "$TREE/etc/"
	printf '#!/bin/sh\nexit 101\n' >"$TREE/usr/sbin/policy-rc.d"
	chmod 755 "$TREE/usr/sbin/policy-rc.d"
}

# in_tree COMMAND...: its processes and mounts end with it.
in_tree()
{
	unshare --mount --pid --fork --kill-child --mount-proc="$TREE/proc" \
		env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
		chroot "$TREE" "$@"
}

# need_static: sets PROGRAMS to the folder of the static programs, built from DIST, and STATIC to what else
# packaging/static/build.sh leaves. The libraries are built once (ten minutes), and kept.
need_static()
{
	STATIC=$BUILD/packages/static
	# shellcheck disable=SC2034  # the tests use it
	PROGRAMS=$STATIC/programs
	requires musl-gcc
	local status=0
	"$TOP/packaging/static/build-libs.sh" "$BUILD/static" || status=$?
	[ $status != 77 ] || skip "the libraries of the static programs cannot be had here"
	[ $status = 0 ] || fail "the libraries of the static programs"
	if ! cmp -s "$DIST" "$STATIC/.made-from"; then
		"$TOP/packaging/static/build.sh" "$DIST" "$BUILD/static" "$STATIC"
		cp "$DIST" "$STATIC/.made-from"
	fi
}

# stub_systemctl: from here on what systemctl is asked in the tree is written down; nothing is ever started there.
stub_systemctl()
{
	rm -f "$TREE/usr/sbin/policy-rc.d"
	mkdir -p "$TREE/run/systemd/system"
	# shellcheck disable=SC2016  # the stub's own
	printf '#!/bin/sh\necho "$*" >>/systemctl.log\n' >"$TREE/usr/bin/systemctl"
	chmod 755 "$TREE/usr/bin/systemctl"
	: >"$TREE/systemctl.log"
}

# asked WORD: was systemctl asked to, for one of ours?
asked()
{
	grep -qE "(^| )$1 .*blkferry" "$TREE/systemctl.log"
}

# has PATH MODE OWNER
has()
{
	[ "$(in_tree stat -c '%a %U:%G' "$1")" = "$2 $3" ] ||
		fail "$1 is $(in_tree stat -c '%a %U:%G' "$1"), not $2 $3"
}
