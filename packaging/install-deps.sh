#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Brings every package that building, testing, linting and benchmarking blkferry needs and that a
# fresh Debian 12 lacks. Safe to run again: it does nothing when all are there. Needs root.
#
# Usage: packaging/install-deps.sh [--build | --all | --vm | --soak | --xo | --packages]
#   --build  only what compiling and running the programs needs
#   --all    also what the tests, the lint and the benchmark need (default)
#   --vm     also what the tests in guest kernels need (make check-vm)
#   --soak   also what the long tests need: PostgreSQL (make soak)
#   --xo     also the clients of Xen Orchestra (npm, into build/xo) and of XAPI's SDK (Debian) that some
#            tests let drive us; those tests are skipped without them
#   --packages  also what making and testing the packages needs (make check-packages)
set -eu

build="gcc make clang llvm libc6-dev linux-libc-dev pkg-config bpftool libbpf-dev libelf-dev
zlib1g-dev libssl-dev liblz4-dev libzstd-dev liburing-dev libinih-dev libxxhash-dev libjansson-dev
libnbd-dev nbdkit nbdkit-plugin-dev libcurl4-openssl-dev"
tests="libcmocka-dev libclang-rt-14-dev clang-format clang-tidy cppcheck shellcheck
libnbd-bin fuse3 qemu-utils fio faketime jq mount util-linux fdisk iproute2 procps e2fsprogs
xfsprogs btrfs-progs gnutls-bin openssl file python3 man-db mandoc busybox-static strace"
packages="debhelper dpkg-dev fakeroot lintian debootstrap musl-tools rpm rpmlint cpio autoconf automake
libtool zsh fish"
vm="qemu-system-x86 busybox-static cpio xz-utils zstd kmod debootstrap mmdebstrap ovmf python3 debhelper dpkg-dev"
soak="postgresql"
xo="python3-os-xenapi"
# Node.js that came from elsewhere will do.
command -v npm >/dev/null || xo="$xo nodejs npm"

case "${1:---all}" in
--build) want=$build ;;
--all) want="$build $tests" ;;
--vm) want="$build $tests $vm" ;;
--soak) want="$build $tests $soak" ;;
--xo) want="$build $tests $xo" ;;
--packages) want="$build $tests $packages" ;;
*)
	echo "usage: install-deps.sh [--build | --all | --vm | --soak | --xo | --packages]" >&2
	exit 2
	;;
esac

missing=
for package in $want; do
	state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
	[ "$state" = "install ok installed" ] || missing="$missing $package"
done

if [ -n "$missing" ]; then
	if [ "$(id -u)" != 0 ]; then
		echo "install-deps: these packages are missing:$missing" >&2
		echo "install-deps: run 'sudo packaging/install-deps.sh', or install them by hand" >&2
		exit 1
	fi
	echo "install-deps: installing$missing"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# shellcheck disable=SC2086  # a list of words on purpose
	apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if [ "${1:-}" = --xo ]; then
	top=$(dirname "$0")/..
	mkdir -p "$top/build/xo"
	cp "$top/tests/xapi/package.json" "$top/build/xo/"
	npm --prefix "$top/build/xo" install --no-audit --no-fund --silent
fi
