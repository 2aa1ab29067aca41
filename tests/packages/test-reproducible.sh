#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Built again elsewhere, a year later, by somebody with another umask, language and time zone: the same bytes.
. "$(dirname "$0")/functions.sh"
requires dpkg-buildpackage dh rpmbuild faketime
need_static

# elsewhere COMMAND...
elsewhere()
(
	umask 077
	export TZ=Pacific/Kiritimati LANG=C LC_ALL=C HOME=/nonexistent LOGNAME=somebody
	faketime -f +400d "$@"
)

# same FOLDER FOLDER PATTERN
same()
{
	local file count=0
	for file in "$1"/$3; do
		cmp "$file" "$2/${file##*/}" || fail "$(basename "$file") is another one when built again"
		count=$((count + 1))
	done
	say "  $count the same"
}

far=$T/somewhere/else/quite/far/away
mkdir -p "$far"

say "the release archive"
mkdir "$T/dist1"
tar -C "$T/dist1" -xf "$DIST"
(cd "$T/dist1"/* && "$PWD/packaging/source.sh" "$T/dist2")
elsewhere "$T/dist1/blkferry-$(cat "$TOP/VERSION")/packaging/source.sh" "$far/dist"
same "$T/dist2" "$far/dist" '*.tar.gz'
cmp "$DIST" "$T/dist2/$(basename "$DIST")" || fail "an archive of the unpacked archive differs"

say "Debian packages"
"$TOP/packaging/deb/build.sh" "$DIST" "$T/deb"
elsewhere "$TOP/packaging/deb/build.sh" "$DIST" "$far/deb"
same "$T/deb" "$far/deb" '*.deb'

say "the static programs and the agent's archive"
elsewhere "$TOP/packaging/static/build.sh" "$DIST" "$BUILD/static" "$far/static"
same "$STATIC" "$far/static" '*.tar.gz'
same "$PROGRAMS" "$far/static/programs" '*'

say ".rpm packages"
"$TOP/packaging/rpm/build.sh" "$DIST" "$PROGRAMS" "$T/rpm"
elsewhere "$TOP/packaging/rpm/build.sh" "$DIST" "$far/static/programs" "$far/rpm"
same "$T/rpm" "$far/rpm" '*.rpm'
