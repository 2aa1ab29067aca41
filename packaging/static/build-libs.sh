#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds the libraries of the static programs with musl, from Debian's own (signed) source packages, into
# DIR/prefix. What was built is kept: a second run does nothing. Takes about five minutes on two cores.
#
# Debian's static libraries are made for glibc, whose getaddrinfo in a static program loads libraries of exactly that
# glibc when it runs; musl's resolver is part of the program. So they are built again.
#
# Usage: packaging/static/build-libs.sh DIR       as anybody; needs the packages of 'install-deps.sh --packages'
# Exit status 77: the source packages cannot be had here.
set -euo pipefail

dir=$(mkdir -p "$1" && cd "$1" && pwd)
prefix=$dir/prefix
jobs=${JOBS:-$(nproc)}
machine=$(uname -m)
packages=(zlib lz4 xxhash jansson libinih openssl elfutils libbpf liburing libxml2 libnbd curl)
export CFLAGS="-O2 -g -fPIC -fstack-protector-strong"
export CC=musl-cc PATH="$dir/bin:$PATH"
# OpenSSL writes it, and CC, into its library. They are the same wherever and whenever it is built.
export SOURCE_DATE_EPOCH=0

say()
{
	printf '  %-8s %s\n' "$1" "$2"
}

# apt_private COMMAND...: with lists of its own: the source packages of this release, or of $suites.
apt_private()
{
	local command=$1
	shift
	"$command" -qq -o Dir::Etc::SourceList="$dir/apt/sources.list" -o Dir::Etc::SourceParts=- \
		-o Dir::State::Lists="$dir/apt/lists" -o Dir::Cache="$dir/apt" -o APT::Sandbox::User= "$@"
}

# use_suites SUITE...
use_suites()
{
	local suite mirror
	mkdir -p "$dir/apt/lists/partial"
	for suite in "$@"; do
		mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
		case $suite in *-security) mirror=${DEBIAN_SECURITY_MIRROR:-$mirror-security} ;; esac
		echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
	done >"$dir/apt/sources.list"
	apt_private apt-get update
}

# fetch_version PACKAGE VERSION FOLDER: the Debian package, or, where the mirror has not all of it, upstream's own
# archive that belongs to it. Either is what the signed index says, by SHA256.
fetch_version()
{
	local package=$1 version=$2 folder=$3 url file size hash
	rm -rf "$folder"
	mkdir -p "$folder"
	cd "$folder"
	if apt_private apt-get source --download-only "$package=$version" >/dev/null 2>&1; then
		dpkg-source --no-check -x ./*.dsc tree >/dev/null
	else
		rm -f ./*
		# shellcheck disable=SC2034  # size
		read -r url file size hash < <(apt_private apt-get source --print-uris "$package=$version" |
			grep -E "\.orig\.tar\.[a-z0-9]+ ") || return 1
		apt_private /usr/lib/apt/apt-helper download-file "${url//\'/}" "$file" "$hash" >/dev/null 2>&1 || return 1
		mkdir tree
		tar -C tree --strip-components=1 -xf "$file"
	fi
	# Patches make the inputs of automake newer than what came out of it: all of one age, or make runs it.
	find tree -type f -exec touch -d @1 {} +
	echo "$version" >tree/.version
}

# fetch_source PACKAGE: the newest version that can be had.
fetch_source()
{
	local package=$1 version
	for version in $(apt_private apt-cache showsrc --only-source "$package" | sed -n 's/^Version: //p' | sort -Vru); do
		if (fetch_version "$package" "$version" "$dir/src/tmp"); then
			say SOURCE "$package $version"
			mv "$dir/src/tmp/tree" "$dir/src/$package"
			return 0
		fi
	done
	return 1
}

# This release's sources; the next one's for what the mirror lacks.
fetch_sources()
{
	local package missing=()
	for package in "${packages[@]}"; do
		[ -d "$dir/src/$package" ] || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	# shellcheck disable=SC1091
	use_suites "$(. /etc/os-release && echo "$VERSION_CODENAME")"{,-security} || return 1
	for package in "${missing[@]}"; do
		fetch_source "$package" || true
	done
	for package in "${missing[@]}"; do
		[ -d "$dir/src/$package" ] && continue
		use_suites trixie || return 1
		fetch_source "$package" || return 1
	done
}

# A compiler that finds our libraries and, behind musl's own headers, the kernel's.
make_compiler()
{
	local folder
	mkdir -p "$prefix/include" "$prefix/lib/pkgconfig" "$dir/kernel-headers" "$dir/bin"
	for folder in linux asm-generic mtd; do
		ln -sfn "/usr/include/$folder" "$dir/kernel-headers/$folder"
	done
	ln -sfn "/usr/include/$machine-linux-gnu/asm" "$dir/kernel-headers/asm"
	cat >"$dir/bin/musl-cc" <<-END
		#!/bin/sh
		exec musl-gcc -isystem $prefix/include -idirafter $dir/kernel-headers -L$prefix/lib \\
			-ffile-prefix-map=$dir=/usr/src "\$@"
	END
	# The programs: static, and still placed at random (static-pie), which Debian's musl-gcc does not offer.
	sed -e 's|/Scrt1.o|/rcrt1.o|' -e 's|-dynamic-linker .*|-nostdlib -static -pie --no-dynamic-linker -z text|' \
		"/usr/lib/$machine-linux-musl/musl-gcc.specs" >"$dir/static-pie.specs"
	sed "s|exec musl-gcc|exec gcc -fPIE -specs $dir/static-pie.specs|" "$dir/bin/musl-cc" >"$dir/bin/musl-pie-cc"
	chmod 755 "$dir/bin"/musl*-cc
	export PKG_CONFIG_LIBDIR=$prefix/lib/pkgconfig PKG_CONFIG_PATH=
}

# pc NAME VERSION LIBS [REQUIRES]
pc()
{
	printf 'Name: %s\nDescription: %s\nVersion: %s\nRequires: %s\nLibs: -L%s/lib %s\nCflags: -I%s/include\n' \
		"$1" "$1" "$2" "${4:-}" "$prefix" "$3" "$prefix" >"$prefix/lib/pkgconfig/$1.pc"
}

configure()
{
	./configure --host="$machine-linux-musl" --prefix="$prefix" --enable-static --disable-shared "$@"
}

build_zlib()
{
	./configure --prefix="$prefix" --static
	make -j"$jobs" libz.a
	make install
}

build_lz4()
{
	make -C lib -j"$jobs" liblz4.a CFLAGS="$CFLAGS"
	make -C lib install PREFIX="$prefix" BUILD_SHARED=no
}

build_xxhash()
{
	make -j"$jobs" libxxhash.a CFLAGS="$CFLAGS"
	install -m 644 xxhash.h "$prefix/include"
	install -m 644 libxxhash.a "$prefix/lib"
	pc libxxhash 0.8 -lxxhash
}

build_jansson()
{
	[ -x configure ] || autoreconf -fi
	configure
	make -j"$jobs" -C src
	make -C src install
	make install-pkgconfigDATA
}

build_libinih()
{
	# shellcheck disable=SC2086  # words
	$CC $CFLAGS -c -o ini.o ini.c
	ar rcs "$prefix/lib/libinih.a" ini.o
	install -m 644 ini.h "$prefix/include"
	pc inih 1 -linih
}

build_openssl()
{
	# What TLS 1.3 between two of our own programs does not need is left out, the parts that read files of
	# the distribution first of all. no-async: musl has no makecontext.
	./Configure "linux-$machine" --prefix=/usr --libdir=lib --openssldir=/etc/ssl no-shared no-dso no-engine \
		no-module no-async no-afalgeng no-tests no-ssl3 no-comp no-legacy no-idea no-seed no-camellia no-aria \
		no-sm2 no-sm3 no-sm4 no-gost no-dtls no-srp no-psk no-ts no-cms no-ui-console
	make -j"$jobs" build_libs
	install -m 644 libssl.a libcrypto.a "$prefix/lib"
	cp -r include/openssl "$prefix/include"
	pc libcrypto 3 -lcrypto
	pc libssl 3 -lssl libcrypto
}

build_elfutils()
{
	# libelf alone; its programs would need argp, fts and obstack, which musl has not.
	configure --disable-debuginfod --disable-libdebuginfod --disable-nls --without-bzlib --without-lzma \
		--without-zstd ac_cv_search_argp_parse='none required' ac_cv_search_fts_close='none required' \
		ac_cv_search__obstack_free='none required'
	make -C lib -j"$jobs" crc32.o crc32_file.o next_prime.o
	make -C libelf -j"$jobs" libelf.a
	cp libelf/libelf.a "$prefix/lib"
	ar rs "$prefix/lib/libelf.a" lib/crc32.o lib/crc32_file.o lib/next_prime.o
	install -m 644 libelf/libelf.h libelf/gelf.h "$prefix/include"
	pc libelf 0.1 "-lelf" zlib
}

build_libbpf()
{
	make -C src -j"$jobs" BUILD_STATIC_ONLY=1 PREFIX="$prefix" LIBDIR="$prefix/lib" install
	pc libbpf 1 -lbpf libelf
}

build_liburing()
{
	./configure --prefix="$prefix" --cc="$CC" --cxx=false
	make -C src -j"$jobs" ENABLE_SHARED=0 CFLAGS="$CFLAGS -D_GNU_SOURCE" liburing.a
	install -m 644 src/liburing.a "$prefix/lib"
	cp -r src/include/liburing.h src/include/liburing "$prefix/include"
	pc liburing 2 -luring
}

build_libxml2()
{
	[ -x configure ] || autoreconf -fi
	# libnbd wants its parser of URIs.
	configure --with-minimum --with-output --with-tree
	make -j"$jobs" libxml2.la
	make install-libLTLIBRARIES
	make -C include install
	make install-pkgconfigDATA
}

build_libnbd()
{
	# Without gnutls: no nbds:// in the static receiver.
	configure --without-gnutls --without-bash-completions --disable-fuse --disable-ocaml --disable-python \
		--disable-golang --disable-rust --disable-ublk
	make -j"$jobs" -C include
	make -j"$jobs" -C common/utils
	make -j"$jobs" -C lib
	make -C lib install
	make -C include install
	pc libnbd 1 -lnbd libxml-2.0
}

build_curl()
{
	# For XAPI: HTTP and HTTPS, also over a unix socket, and nothing else.
	configure --with-openssl="$prefix" --without-zlib --without-brotli --without-zstd --without-libpsl \
		--without-nghttp2 --without-libidn2 --without-librtmp --without-libssh2 --without-libgsasl --disable-manual \
		--disable-{dict,file,ftp,gopher,imap,ldap,ldaps,mqtt,pop3,rtsp,smb,smtp,telnet,tftp,alt-svc,hsts,ntlm} \
		--with-ca-bundle=/etc/ssl/certs/ca-certificates.crt
	make -j"$jobs" -C lib libcurl.la
	make -C lib install-libLTLIBRARIES
	make -C include install
	pc libcurl 7 -lcurl "libssl libcrypto"
}

build()
{
	local package=$1 log=$dir/log/$1.log status
	cmp -s "$dir/src/$package/.version" "$prefix/.$package" && return
	say BUILD "$package"
	# Not behind || or if: there set -e does not hold.
	set +e
	(
		set -ex
		cd "$dir/src/$package"
		"build_$package"
	) >"$log" 2>&1
	status=$?
	set -e
	if [ $status != 0 ]; then
		tail -n 30 "$log" >&2
		echo "build-libs: $package cannot be built: $log" >&2
		exit 1
	fi
	cp "$dir/src/$package/.version" "$prefix/.$package"
}

command -v musl-gcc >/dev/null || {
	echo "build-libs: musl-gcc is missing: packaging/install-deps.sh --packages"
	exit 77
}
mkdir -p "$dir/log"
make_compiler
fetch_sources || {
	echo "build-libs: the source packages cannot be fetched"
	exit 77
}
for package in "${packages[@]}"; do
	build "$package"
done
